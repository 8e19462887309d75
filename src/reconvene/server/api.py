"""The HTTP API (PROTOCOL §3) on FastAPI. Imported after the socket listens: nothing that a page needs first is in here."""

from __future__ import annotations

import asyncio
import functools
import getpass
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from starlette.responses import StreamingResponse

from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.protocol.parsing import parse_resumable
from reconvene.protocol.schema import client_frames, protocol_schema
from reconvene.server import api_models as models
from reconvene.server.asgi import Receive, Scope, Send, headers
from reconvene.server.audit import Deed
from reconvene.server.code_api import add_code_routes
from reconvene.server.commands import carry_out
from reconvene.server.events_http import PAGE, find_place, page, stream
from reconvene.server.examples import as_text, with_examples
from reconvene.server.finding_api import add_finding_routes
from reconvene.server.gate import OWNER
from reconvene.server.indexing import Indexing, shown
from reconvene.server.listing import MOST, page_of
from reconvene.server.model_choice import change_model, model_state
from reconvene.server.people_api import add_people_routes
from reconvene.server.problems import answer_with_problems, read_body, read_text, takes
from reconvene.server.quoted import blob
from reconvene.server.quoted import current as current_file
from reconvene.server.services import Services
from reconvene.server.who import Asking, Reading, peer_of, principal_of, who_runs_it, with_token
from reconvene.sessions.kept import patch
from reconvene.sessions.rows import Who
from reconvene.sessions.stay import stay
from reconvene.workspace.contents import Contents

_SILENT: Any = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}
"""FastAPI would record requests, bodies included, for whatever telemetry is configured in the process."""


def build_api(services: Services) -> FastAPI:
    """The application for everything below `/api`."""
    api = FastAPI(
        title="Reconvene",
        version=services.version,
        summary="Sessions that cannot be lost, over HTTP",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_SILENT,
        responses={"default": {"model": models.Problem, "description": "Problem details (RFC 9457)."}},
    )
    answer_with_problems(api, services.metrics)
    _described(api)
    _server_routes(api, services)
    add_people_routes(api, services)
    add_finding_routes(api, services)
    _session_routes(api, services)
    add_code_routes(api, services)
    return api


def _server_routes(api: FastAPI, services: Services) -> None:
    roots = services.sessions.roots

    async def noted(request: Request, deed: Deed, **about: Any) -> None:
        await services.credentials.audit.note(deed, principal_of(request).name, peer_of(request), about)

    def served() -> list[models.Root]:
        return [models.Root(root=str(w.root), name=w.name) for w in roots.all()]

    def elsewhere() -> list[models.RootElsewhere]:
        nodes = services.sessions.all_elsewhere()
        only = services.sessions.only_elsewhere()
        return [models.RootElsewhere(root=root, name=name, nodes=list(nodes[root])) for root, name in only.items()]

    @api.get("/api/me")
    async def me(request: Request) -> models.Me:
        """Who asks, and what this server serves. 401 here means: sign in again."""
        principal = principal_of(request)
        return models.Me(
            owner=principal.owner,
            name=_user_name() if principal.runs_the_server else principal.name,
            role="viewer" if principal.kind == "view" else "owner" if principal.runs_the_server else "user",
            views=[id for id, owner, _ in principal.views if owner != principal.owner],
            version=services.version,
            boot=services.boot,
            roots=[] if principal.kind == "view" else [*served(), *elsewhere()],
            model=services.providers.model,
            sample=True,
        )

    @api.get("/api/roots")
    async def list_roots() -> models.Roots:
        """The code bases that are served."""
        return models.Roots(roots=served(), elsewhere=elsewhere())

    @api.post("/api/roots", status_code=201, dependencies=[Depends(with_token)], openapi_extra=takes(models.NewRoot))
    async def add_root(request: Request) -> models.Root:
        """Serve one more code base."""
        new = await read_body(request, models.NewRoot)
        if not os.path.isabs(new.path):
            raise ReconveneError(
                "invalid_field", "path must begin with /: the server does not know where you are.", path="path"
            )
        workspace = await asyncio.to_thread(roots.add, new.path)
        await noted(request, "root_added", root=str(workspace.root))
        for tell in services.on_root:
            await tell(str(workspace.root))
        return models.Root(root=str(workspace.root), name=workspace.name)

    @api.get("/api/model")
    async def model() -> models.ModelState:
        """The model that answers where a prompt names none, and for which providers something is set."""
        return await asyncio.to_thread(model_state, services.providers)

    @api.patch("/api/model", dependencies=[Depends(who_runs_it)], openapi_extra=takes(models.ModelChange))
    async def set_model(request: Request) -> models.ModelState:
        """Choose the model, give a key. Holds from the next run on; a run that waits for a key goes on with `retry`."""
        change = await read_body(request, models.ModelChange)
        of_page = principal_of(request).kind != "bearer"
        await asyncio.to_thread(change_model, services.providers, change, of_page)
        told = change.model_dump(exclude_unset=True, exclude={"key"})
        await noted(request, "model_changed", **told, **({"key": "set"} if change.key else {}))
        return await asyncio.to_thread(model_state, services.providers)

    def indexing() -> Indexing:
        if services.indexing is None:
            raise ReconveneError("starting", "The server is still starting. Ask again in a moment.")
        return services.indexing

    @api.get("/api/indexes")
    async def list_indexes() -> models.Indexes:
        """How much is known of each code base that is served, and how far the reading is."""
        return models.Indexes(indexes=[models.Index(**shown(state)) for state in indexing().indexes.states()])

    @api.post("/api/indexes", openapi_extra=takes(models.IndexWish))
    async def change_index(request: Request) -> models.Index:
        """Look for changes now, pause, go on, or build an index from nothing. What takes long goes on behind the answer."""
        wish = await read_body(request, models.IndexWish)
        if wish.do != "refresh":
            who_runs_it(request)
        return models.Index(**shown(await indexing().wish(wish.root, wish.do)))

    @api.post(
        "/api/sign-in-links", status_code=201, dependencies=[Depends(with_token)], openapi_extra=takes(models.NewLink)
    )
    async def new_link(request: Request) -> models.Link:
        """A link that signs a browser in, once, within five minutes: the owner's, or that of somebody who was added."""
        wish = await read_body(request, models.NewLink)
        credentials = services.credentials
        owner = OWNER if wish.user is None else credentials.people.named(wish.user).id
        return models.Link(url=await credentials.new_shared_link(services.addresses.url, owner))

    @api.post("/api/sign-out", status_code=204, openapi_extra=takes(models.SignOut))
    async def sign_out(request: Request) -> Response:
        """End this sign-in, or all; connections that were made with it are closed with 4401."""
        wish = await read_body(request, models.SignOut)
        principal = principal_of(request)
        if wish.everywhere or principal.sign_in is not None:
            await services.credentials.revoke(None if wish.everywhere else principal.sign_in, principal.owner)
            await noted(request, "signed_out", everywhere=wish.everywhere)
        response = Response(status_code=204)
        if headers(request.scope, b"cookie"):
            cookie = services.credentials.set_cookie("", secure=services.addresses.secure(request.scope))
            response.headers.append("set-cookie", cookie.decode())
        return response

    @api.post("/api/stop", status_code=202, dependencies=[Depends(with_token)], openapi_extra=takes(models.Stop))
    async def stop(request: Request) -> dict[str, str]:
        """Drain and end; with `restart`, start again in the same place."""
        wish = await read_body(request, models.Stop)
        await noted(request, "server_stopped", restart=wish.restart)
        services.stop(wish.restart)
        return {"status": "restarting" if wish.restart else "stopping"}

    @api.get("/api/protocol.json")
    async def protocol() -> dict[str, Any]:
        """JSON Schema of every frame and event."""
        return protocol_schema()


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"


def _session_routes(api: FastAPI, services: Services) -> None:
    sessions, limits = services.sessions, services.settings.limits

    async def shown(row: SessionRow) -> models.Session:
        pending = 0 if row.status == "idle" else len((await sessions.state(row.id)).pending)
        kept = stay(
            row,
            now=sessions.uptime.now(),
            retention=services.settings.retention,
            is_open=sessions.memory.is_connected(row.id),
        )
        return models.Session.of(row, pending, models.Stay(reason=kept.reason, left=kept.left, sentence=kept.sentence))

    async def current(who: Who, session_id: str) -> models.Session:
        return await shown(await sessions.get(who.owner, session_id))

    @api.get("/api/sessions")
    async def list_sessions(
        request: Request,
        who: Asking,
        archived: bool | None = None,
        after: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int | None, Query(ge=1, le=MOST)] = None,
    ) -> models.SessionList:
        """Newest activity first; by pages with `limit`, and `next` as `after`. `archived` leaves out the others. Who has links to
        sessions, and no sign-in, is shown those."""
        principal = principal_of(request)
        rows = await sessions.list(who.owner, archived=archived)
        if principal.kind == "view":
            found = [(await sessions.find(owner, id))[0] for id, owner, _ in principal.views]
            rows = [row for row in found if row is not None]
        shown_now, next = page_of(rows, after, limit)
        return models.SessionList(sessions=[await shown(row) for row in shown_now], next=next)

    @api.post("/api/sessions", status_code=201, openapi_extra=takes(models.NewSession))
    async def new_session(request: Request, who: Asking) -> models.Session:
        """An empty session. It is listed from its first prompt on."""
        new = await read_body(request, models.NewSession)
        attached = await sessions.attach(who, session_id=None, root=new.root_directory, recovery=new.recovery)
        if new.title is not None:
            await sessions.act(who, attached.session.id, id=None, name="rename", args={"title": new.title})
        return await current(who, attached.session.id)

    @api.get("/api/sessions/{session_id}")
    async def get_session(session_id: str, who: Reading) -> models.Session:
        """One session as it is now."""
        return await current(who, session_id)

    @api.patch("/api/sessions/{session_id}", openapi_extra=takes(models.SessionChange))
    async def change_session(session_id: str, request: Request, who: Asking) -> models.Session:
        """Rename, pin or archive a session, or undo that."""
        change = await read_body(request, models.SessionChange)
        actions: dict[str, tuple[str, dict[str, Any]]] = {
            "title": ("rename", {"title": change.title}),
            "pinned": ("pin", {"pinned": change.pinned}),
            "archived": ("archive", {"archived": change.archived}),
        }
        for field in change.model_fields_set:
            if getattr(change, field) is not None:
                name, args = actions[field]
                await sessions.act(who, session_id, id=None, name=name, args=args)
        return await current(who, session_id)

    @api.delete("/api/sessions/{session_id}", status_code=204)
    async def delete_session(session_id: str, request: Request, who: Asking) -> Response:
        """Gone for good; a run that is going on is stopped first."""
        await sessions.delete(who, session_id)
        await services.credentials.audit.note(
            "session_deleted", principal_of(request).name, peer_of(request), {"session": session_id}
        )
        return Response(status_code=204)

    @api.post("/api/sessions/{session_id}/messages", openapi_extra={"requestBody": _FRAME})
    async def send_message(session_id: str, request: Request, who: Asking) -> models.Accepted:
        """Any command frame of the WebSocket. The frame's `id` makes sending it again harmless."""
        await sessions.get(who.owner, session_id)
        frame = parse_resumable(
            await read_text(request), first=False, limits_json_depth=limits.json_depth, limits_prompt=limits.prompt
        )
        info = getattr(frame, "client", None)
        if info is not None:
            who = Who(who.owner, info.name, info.id)
        receipt = await carry_out(sessions, who, session_id, frame)
        return models.Accepted(
            status=receipt.status, seq=receipt.seq, run_id=receipt.run_id, session_id=receipt.session_id
        )

    @api.get("/api/sessions/{session_id}/events", response_model=models.EventPage, responses={200: _STREAM})
    async def events(
        session_id: str,
        request: Request,
        who: Reading,
        after: Annotated[str | None, Query(max_length=96)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 500,
    ) -> Response:
        """What comes after a cursor or a seq: a page of JSON, or a live stream for `Accept: text/event-stream`."""
        session = await sessions.get(who.owner, session_id)
        if "text/event-stream" not in request.headers.get("accept", ""):
            return Response(await page(services, session, after, limit), media_type="application/json")
        place = await find_place(services, session, request.headers.get("last-event-id") or after)
        principal = principal_of(request)
        events = stream(services, session, place, lambda: services.credentials.still(principal))
        return _LiveEvents(services, principal.owner, events)

    @api.get("/api/sessions/{session_id}/blobs/{hash}")
    async def blob_of_session(session_id: str, hash: str, who: Reading) -> models.Blob:
        """A file's content that the session quoted, proposed or wrote, as it was then; `hash` is git's blob id."""
        return await blob(services, who, session_id, hash)

    @api.get("/api/sessions/{session_id}/file")
    async def file_of_session(
        session_id: str, who: Asking, path: Annotated[str, Query(min_length=1, max_length=4096)]
    ) -> models.CurrentFile:
        """A file of the session's code base as it is now."""
        return await current_file(services, who, session_id, path)

    @api.get("/api/sessions/{session_id}/patch", response_class=Response, responses={200: as_text("text/x-diff")})
    async def patch_of_session(session_id: str, who: Reading) -> Response:
        """Everything the session changed and did not take back, as one patch for `git apply`."""
        session = await sessions.get(who.owner, session_id)
        rows = await sessions.log.read(session.id, 0, upto=session.head, types=("applied",))
        if sessions.contents is not None:
            await sessions.contents.fetch(session.id)  # another node may have written them
        text = await asyncio.to_thread(patch, rows, Contents(services.settings.data_dir / "contents"))
        name = f'attachment; filename="{session_id}.patch"'
        return Response(text, media_type="text/x-diff", headers={"content-disposition": name})

    @api.post("/api/sessions/{session_id}/fork", status_code=201, openapi_extra=takes(models.Fork))
    async def fork(session_id: str, request: Request, who: Asking) -> models.Session:
        """A new session that begins with a copy of this one."""
        wish = await read_body(request, models.Fork)
        return await shown(await sessions.fork(who, session_id, upto=wish.upto))


def _described(api: FastAPI) -> None:
    """The frames of the WebSocket are part of the description: it refers to nothing outside of itself, which tools could not read."""
    describe = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            schemas = describe()["components"]["schemas"]
            for name, schema in client_frames(_SCHEMAS).items():
                assert schemas.setdefault(name, schema) is schema, name
            with_examples(describe())
        return describe()

    api.openapi = openapi  # type: ignore[method-assign]


_SCHEMAS = "#/components/schemas/"
_FRAME = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}ClientFrame"}}},
}
_STREAM: dict[str, Any] = as_text("text/event-stream")


class _LiveEvents(StreamingResponse):
    """A stream that holds a place among the connections for as long as it lasts."""

    def __init__(self, services: Services, owner: str, events: AsyncIterator[bytes]) -> None:
        fresh = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=fresh)
        self._leave = functools.partial(services.capacity.leave, owner)
        services.capacity.enter(owner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()
