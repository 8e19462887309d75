"""The project's own notes to agents: `AGENTS.md` at the root, as prose and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvene.agents.scrub import scrub
from reconvene.errors import ReconveneError

if TYPE_CHECKING:
    from reconvene.workspace import Workspace

FILE = "AGENTS.md"
MAX_BYTES = 8 * 1024


def project_notes(workspace: Workspace) -> str:
    """The text of `AGENTS.md`, at most 8 KiB of it; "" when there is none that can be read. Blocking."""
    try:
        notes = workspace.read(FILE, max_bytes=MAX_BYTES)
    except ReconveneError:
        return ""
    text = scrub(notes.text).encode()[:MAX_BYTES].decode(errors="ignore").strip()
    return f"{text}\n[cut: the file is longer]" if text and notes.truncated else text
