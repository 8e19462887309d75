"""File contents for the page: as a session quoted or changed them, and as they are now."""

from __future__ import annotations

import asyncio

from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.errors import ReconveneError
from reconvene.server import api_models as models
from reconvene.server.services import Services
from reconvene.sessions.kept import HELD, OUTCOME, PLAN, needed
from reconvene.sessions.rows import Who
from reconvene.workspace import display_path
from reconvene.workspace.contents import Contents
from reconvene.workspace.reading import blob_id

SHOWN = 1024**2
"""Characters of a content that are shown."""


async def blob(services: Services, who: Who, session_id: str, name: str) -> models.Blob:
    """A content that this session quoted, proposed, wrote or ran into.

    Raises:
        ReconveneError: `no_such_session`; `not_found` when the session names no such content, or it is not kept any more.
    """
    sessions = services.sessions
    session = await sessions.get(who.owner, session_id)
    # A hash opens nothing by itself: another owner's session may have kept the same store full.
    rows = await sessions.log.read(session.id, 0, upto=session.head, types=(HELD, PLAN, OUTCOME))
    named = await asyncio.to_thread(needed, rows)
    content = None
    if name in named:
        kept = Contents(services.settings.data_dir / "contents")
        content = await asyncio.to_thread(kept.get, name)
        if content is None and sessions.contents is not None:
            await sessions.contents.fetch(session.id)  # another node wrote it
            content = await asyncio.to_thread(kept.get, name)
    if content is None:
        raise ReconveneError("not_found", "This session keeps no content with this hash.")
    return await asyncio.to_thread(_shown, name, content)


async def current(services: Services, who: Who, session_id: str, path: str) -> models.CurrentFile:
    """A file of the session's code base as it is now. `hash` is null when there is none (any more).

    Raises:
        ReconveneError: `no_such_session`, `workspace_gone`, and those of `Workspace.read_bytes`, but for `file_not_found`.
    """
    session = await services.sessions.get(who.owner, session_id)
    workspace = services.sessions.roots.by_root(session.root)
    if workspace is None:
        raise ReconveneError("workspace_gone", "This session's code base is not served now.")

    def read() -> models.CurrentFile:
        shown = display_path(path)
        try:
            content = workspace.read_bytes(path, max_bytes=SHOWN)
        except ReconveneError as e:
            if e.code != "file_not_found":
                raise
            return models.CurrentFile(path=shown, hash=None, size=0, text=None, truncated=False)
        return models.CurrentFile(path=shown, **_shown(None, content).model_dump())

    return await asyncio.to_thread(read)


def _shown(name: str | None, content: bytes) -> models.Blob:
    """As text, secrets hidden as everywhere a code base is shown; null for what is no text."""
    text: str | None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None if b"\0" in content[:8192] else content.decode(errors="replace")
    if text is not None and "\0" in text:
        text = None
    cut = text is not None and len(text) > SHOWN
    if text is not None:
        text = redact(scrub(text[:SHOWN]))
    return models.Blob(hash=name or blob_id(content), size=len(content), text=text, truncated=cut)
