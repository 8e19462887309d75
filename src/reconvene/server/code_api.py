"""What is known of a code base, over HTTP: for the page's map, its completion and its first minute."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel

from reconvene.agents.redact import redact
from reconvene.errors import ReconveneError
from reconvene.index.root import RootIndex
from reconvene.repomap import repo_map
from reconvene.repomap.map import MOST_TOKENS
from reconvene.repomap.names import MOST, MOST_TYPED, complete, gather
from reconvene.repomap.picture import MOST as MOST_FILES
from reconvene.repomap.picture import picture
from reconvene.repomap.welcome import welcome
from reconvene.search import search
from reconvene.search.context import SearchContext
from reconvene.search.symbols import symbol_places
from reconvene.server import code_models as models
from reconvene.server.api_models import Index
from reconvene.server.indexing import Indexing, shown
from reconvene.server.services import Services
from reconvene.server.who import Asking
from reconvene.sessions.rows import Who
from reconvene.workspace import Workspace
from reconvene.workspace.names import display_path

_SEARCHED = "searched"
"""Private row of a session: what one search found."""
RootName = Annotated[
    str | None, Query(max_length=4096, description="Name or path; may be left out when one is served.")
]
PageCursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before, for the same question.")
]
SessionId = Annotated[str | None, Query(max_length=64, description="Whose files count as seen.")]


def add_code_routes(api: FastAPI, services: Services) -> None:
    """Everything below `/api/code`."""

    def indexing() -> Indexing:
        if services.indexing is None:
            raise ReconveneError("starting", "The server is still starting. Ask again in a moment.")
        return services.indexing

    def workspace_of(root: str | None) -> Workspace:
        return indexing().served(root)

    async def opened(root: str | None) -> RootIndex:
        return await indexing().indexes.get(workspace_of(root))

    async def seen_by(who: Who, session_id: str | None) -> tuple[str, ...]:
        if session_id is None:
            return ()
        session = await services.sessions.get(who.owner, session_id)
        rows = await services.sessions.log.read(session.id, 0, upto=session.head, types=(_SEARCHED,))
        return tuple(SearchContext.fold(row.content for row in rows).paths())

    gathering: dict[RootIndex, asyncio.Task[None]] = {}

    async def gathered() -> None:
        await asyncio.gather(*gathering.values(), return_exceptions=True)

    services.on_close.append(gathered)

    def unchanged(request: Request, mark: str) -> bool:
        return request.headers.get("if-none-match") == mark

    @api.get("/api/code")
    async def code(root: RootName = None) -> models.Welcome:
        """A code base before anything is asked: how much there is, in which languages, and what could be asked first."""
        workspace = workspace_of(root)
        index = await indexing().indexes.get(workspace)
        made = await asyncio.to_thread(welcome, index)
        state = next((s for s in indexing().indexes.states() if s.root == str(workspace.root)), None)
        return models.Welcome(
            root=str(workspace.root),
            name=workspace.name,
            index=Index(**shown(state)) if state else None,
            **asdict(made),
        )

    @api.get("/api/code/map", response_model=models.CodeMap, responses={304: {"description": "As before."}})
    async def code_map(
        request: Request,
        who: Asking,
        root: RootName = None,
        tokens: Annotated[int, Query(ge=64, le=MOST_TOKENS)] = 1024,
        query: Annotated[str | None, Query(max_length=8192)] = None,
        focus: Annotated[list[str] | None, Query(max_length=20)] = None,
        session_id: SessionId = None,
        cursor: PageCursor = None,
        text: Annotated[bool, Query(description="Also as a model is told it.")] = False,
    ) -> Response:
        """The files and definitions that matter, best first, within a budget of tokens. `query`: for what; `focus`: files to begin with,
        folders to stay in. Answered 304 while the code is as the ETag given in `If-None-Match` says."""
        index = await opened(root)
        seen = await seen_by(who, session_id)
        mark = _mark(index, tokens, query, focus, seen, cursor, text)
        if unchanged(request, mark):
            return Response(status_code=304, headers={"etag": mark})
        wanted = query if query and query.strip() else None
        # Who asks for something wants what has to do with that, whatever was seen before.
        made = await repo_map(
            index, tokens=tokens, query=wanted, focus=focus or (), seen=() if wanted or focus else seen, cursor=cursor
        )
        known = {*seen, *map(display_path, seen)}
        usage = index.view.usage
        rows = [
            models.MapRow(
                path=row.path, line=row.line, name=row.name, kind=row.kind, score=row.score,
                why=[w for w in row.why.split(", ") if w],
                used=usage.of_name(row.name) if row.kind != "file" else 0, seen=row.path in known,
            )
            for row in made.rows
        ]  # fmt: skip
        found = models.CodeMap(
            rows=rows,
            files=made.files,
            symbols=made.symbols,
            tokens=made.tokens,
            epoch=index.epoch,
            partial=index.partial,
            text=redact(made.text) if text else None,
            next=made.next,
            moved=made.moved,
        )
        return _answer(found, mark)

    @api.get("/api/code/search")
    async def code_search(
        who: Asking,
        q: Annotated[str, Query(max_length=8192, description="As the agent's search takes it.")],
        root: RootName = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 8,
        session_id: SessionId = None,
        cursor: PageCursor = None,
    ) -> models.CodeSearch:
        """Places in the code, best first, from the files as they are now. Secrets in what is shown are hidden."""
        index = await opened(root)
        if not index.partial:
            await index.refresh()
        found = await search(index, q, limit=limit, seen=await seen_by(who, session_id), cursor=cursor)
        places = [
            models.Place(
                path=display_path(s.path), start=s.start, end=s.end, score=s.score, symbol=s.symbol,
                text=redact(s.text), why=list(s.why),
            )
            for s in found.snippets
        ]  # fmt: skip
        return models.CodeSearch(
            places=places,
            total=found.total,
            truncated=found.truncated,
            partial=found.partial,
            further=list(found.further),
            next=found.next,
            moved=found.moved,
        )

    @api.get("/api/code/files", response_model=models.Picture, responses={304: {"description": "As before."}})
    async def files(
        request: Request,
        who: Asking,
        root: RootName = None,
        most: Annotated[int, Query(ge=1, le=MOST_FILES)] = 300,
        session_id: SessionId = None,
    ) -> Response:
        """The files that matter most and those that the session has seen, with how much each matters. 304 as for the map."""
        index = await opened(root)
        seen = await seen_by(who, session_id)
        mark = _mark(index, most, seen)
        if unchanged(request, mark):
            return Response(status_code=304, headers={"etag": mark})
        made = await asyncio.to_thread(picture, index, most=most, seen=seen)
        return _answer(models.Picture.model_validate(asdict(made)), mark)

    @api.get("/api/code/symbol")
    async def symbol(name: Annotated[str, Query(max_length=300)], root: RootName = None) -> models.Symbol:
        """Where a name is defined and where it is used, from the files as they are now."""
        found = await symbol_places(await opened(root), name)
        definitions = [
            models.Definition(path=d.path, start=d.start, end=d.end, symbol=d.symbol, text=redact(d.text))
            for d in found.definitions
        ]
        uses = [models.Use(path=u.path, line=u.line, text=redact(u.text), symbol=u.symbol) for u in found.uses]
        return models.Symbol(
            name=found.name, definitions=definitions, uses=uses, files=found.files, truncated=found.truncated
        )

    @api.get("/api/code/names", response_model=models.Completions)
    async def names(
        q: Annotated[str, Query(max_length=MOST_TYPED)] = "",
        root: RootName = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 12,
    ) -> Response:
        """Files, folders and symbols whose name the typed text may become."""
        index = await opened(root)
        found = await complete(index, q, limit)
        body = models.Completions.model_validate({**asdict(found), "items": [asdict(item) for item in found.items]})
        if found.partial and index not in gathering:
            gathering[index] = asyncio.create_task(gather(index), name="gather names")
            gathering[index].add_done_callback(lambda _: gathering.pop(index, None))
        return Response(
            body.model_dump_json(),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )


def _mark(index: RootIndex, *of: object) -> str:
    """An ETag: the same as long as the code and the question are."""
    told = repr((str(index.workspace.root), index.epoch, index.partial, of))
    return f'"{hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]}"'


def _answer(body: BaseModel, mark: str) -> Response:
    fresh = {"etag": mark, "cache-control": "private, no-cache"}
    return Response(body.model_dump_json(), media_type="application/json", headers=fresh)
