"""Finding sessions by what was said in them, taking them along, and how long they stay, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Response
from starlette.responses import StreamingResponse

from reconvene.log.port import SessionRow
from reconvene.protocol.view import View
from reconvene.server.api_models import FoundSessions, Hit, SessionHits
from reconvene.server.events_http import PAGE
from reconvene.server.examples import as_text
from reconvene.server.services import Services
from reconvene.server.who import Asking
from reconvene.sessions.document import DOCUMENTS
from reconvene.sessions.finding import MOST, MOST_ASKED, Finding

_BYTES = 1024**2
Format = Literal["jsonl", "markdown", "html"]
_KINDS: dict[str, tuple[str, str]] = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "markdown": ("text/markdown", "md"),
    "html": ("text/html", "html"),
}
_MEDIA = [media for media, _ in _KINDS.values()]


def add_finding_routes(api: FastAPI, services: Services) -> None:
    """Before the routes of a single session: `/api/sessions/search` would be taken for one."""
    sessions = services.sessions
    finding = Finding(sessions, services.settings.data_dir / "finding.db")
    services.on_close.append(finding.close)

    @api.get("/api/sessions/search", response_model=FoundSessions)
    async def search_sessions(
        who: Asking, q: Annotated[str, Query(max_length=MOST_ASKED)], limit: Annotated[int, Query(ge=1, le=MOST)] = 20
    ) -> Response:
        """Sessions in which all these words were said at one place, or the beginnings of longer ones, best first."""
        found = await finding.find(who.owner, q, limit=limit)
        body = FoundSessions(
            sessions=[
                SessionHits(
                    session_id=session.session_id,
                    hits=[Hit(seq=h.seq, kind=h.kind, at=h.at, pieces=list(h.pieces)) for h in session.hits],
                    more=session.more,
                )
                for session in found.sessions
            ],
            searched=found.searched,
            of=found.of,
        )
        return Response(body.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})

    @api.get("/api/sessions/{session_id}/export", response_class=Response, responses={200: as_text(*_MEDIA)})
    async def export(session_id: str, who: Asking, format: Format = "jsonl") -> Response:
        """A session to take along: every public event as it was stored, one JSON object a line; or as a document, Markdown or one HTML
        file that loads nothing."""
        session = await sessions.get(who.owner, session_id)
        kind, ending = _KINDS[format]
        headers = {"content-disposition": f'attachment; filename="{session_id}.{ending}"'}
        if format == "jsonl":
            return StreamingResponse(_lines(services, session), media_type=kind, headers=headers)
        text = await _document(services, session, format)
        return Response(text, media_type=kind, headers=headers)


async def _lines(services: Services, session: SessionRow) -> AsyncIterator[str]:
    seq = 0
    while rows := await services.sessions.log.read(
        session.id, seq, upto=session.head, public=True, max_events=PAGE, max_bytes=_BYTES
    ):
        seq = rows[-1].seq
        yield "".join(f"{row.wire()}\n" for row in rows)


async def _document(services: Services, session: SessionRow, format: Format) -> str:
    view = View()
    async for lines in _lines(services, session):
        await asyncio.to_thread(_apply, view, lines)
    return await asyncio.to_thread(DOCUMENTS[format], session.title or session.id, view)


def _apply(view: View, lines: str) -> None:
    for line in lines.split("\n")[:-1]:
        view.apply(json.loads(line))
