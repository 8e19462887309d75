"""A code base on disk: the path jail, listing, reading, fingerprints. Everything here blocks; nothing leaves the root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconvene.workspace.listing import FileStat, Listing
    from reconvene.workspace.names import display_path, parse_path
    from reconvene.workspace.reading import FileSlice, blob_id, decode_text
    from reconvene.workspace.roots import Roots
    from reconvene.workspace.secret_files import is_secret
    from reconvene.workspace.workspace import Workspace

_WHERE = {
    "listing": ("FileStat", "Listing"),
    "names": ("display_path", "parse_path"),
    "reading": ("FileSlice", "blob_id", "decode_text"),
    "roots": ("Roots",),
    "secret_files": ("is_secret",),
    "workspace": ("Workspace",),
}

__all__ = [
    "FileSlice",
    "FileStat",
    "Listing",
    "Roots",
    "Workspace",
    "blob_id",
    "decode_text",
    "display_path",
    "is_secret",
    "parse_path",
]


def __getattr__(name: str) -> Any:
    """Imported when it is used: commands that want a permission, or a name to show, start often and want nothing else."""
    import importlib

    for module, names in _WHERE.items():
        if name in names:
            return getattr(importlib.import_module(f"reconvene.workspace.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
