"""Exit codes of commands that ended with an error."""

from __future__ import annotations

from reconvene.errors import ReconveneError

FAILED, USAGE, CANNOT_START = 1, 2, 3
_USAGE_CODES = frozenset(
    {"invalid_field", "root_not_found", "not_a_directory", "root_not_allowed", "root_required", "empty_prompt"}
)
_START_CODES = frozenset(
    {
        "port_in_use",
        "already_running",
        "data_dir_unusable",
        "unsafe_permissions",
        "store_corrupt",
        "store_foreign",
        "store_newer",
    }
)


def exit_code(error: ReconveneError) -> int:
    """The exit code of a command that ended with this error."""
    if error.code in _START_CODES:
        return CANNOT_START
    return USAGE if error.code in _USAGE_CODES else FAILED
