"""People, links to sessions, and the account of what was done, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response

from reconvene.server import people_models as models
from reconvene.server.audit import KEPT, Deed
from reconvene.server.people import Person
from reconvene.server.problems import read_body, takes
from reconvene.server.services import Services
from reconvene.server.views import View
from reconvene.server.who import Asking, peer_of, principal_of, with_token

_RUNS_IT: Any = [Depends(with_token)]


def add_people_routes(api: FastAPI, services: Services) -> None:
    """Everything below `/api/users` and `/api/audit`, and a session's links."""
    sessions = services.sessions

    async def noted(request: Request, deed: Deed, **about: Any) -> None:
        await services.credentials.audit.note(deed, principal_of(request).name, peer_of(request), about)

    async def shown(person: Person) -> models.User:
        rows = await sessions.log.sessions(owner=person.id)
        return models.User(
            id=person.id,
            name=person.name,
            created_at=person.created,
            disabled=person.disabled,
            account=person.account[0] if person.account else None,
            sessions=sum(1 for row in rows if row.head),
            running=sum(1 for row in rows if row.status == "running"),
            waiting=sum(1 for row in rows if row.status == "waiting"),
            bytes=sum(row.bytes for row in rows),
            connections=services.capacity.of(person.id),
        )

    @api.get("/api/users", dependencies=_RUNS_IT)
    async def list_users() -> models.Users:
        """Who was added, with how much of what: never what was asked or answered."""
        return models.Users(users=[await shown(person) for person in services.credentials.people.all()])

    @api.post("/api/users", status_code=201, dependencies=_RUNS_IT, openapi_extra=takes(models.NewUser))
    async def add_user(request: Request) -> models.UserWithToken:
        """Add somebody. The token is shown this once; whoever has it is that person."""
        person, token = await services.credentials.people.add((await read_body(request, models.NewUser)).name)
        await noted(request, "user_added", user=person.name)
        return models.UserWithToken(**(await shown(person)).model_dump(), token=token)

    @api.patch("/api/users/{name}", dependencies=_RUNS_IT, openapi_extra=takes(models.UserChange))
    async def change_user(name: str, request: Request) -> models.User:
        """Let nobody in as this person any more, and end what is open; or let them in again. The sessions stay."""
        change = await read_body(request, models.UserChange)
        await services.credentials.disable(name, change.disabled)
        await noted(
            request,
            "user_disabled" if change.disabled else "user_enabled",
            user=services.credentials.people.named(name).name,
        )
        return await shown(services.credentials.people.named(name))

    @api.post("/api/users/{name}/token", status_code=201, dependencies=_RUNS_IT)
    async def new_token(name: str, request: Request) -> models.UserWithToken:
        """Another token; the one before opens nothing from now on."""
        token = await services.credentials.renew_token(name)
        person = services.credentials.people.named(name)
        await noted(request, "user_token", user=person.name)
        return models.UserWithToken(**(await shown(person)).model_dump(), token=token)

    @api.get("/api/audit", dependencies=_RUNS_IT)
    async def audit(limit: Annotated[int, Query(ge=1, le=KEPT)] = 100) -> models.Audit:
        """What was done to the server, by whom, when and from where; the newest first."""
        found = await services.credentials.audit.newest(limit)
        return models.Audit(
            entries=[models.AuditEntry(**{f: getattr(e, f) for f in models.AuditEntry.model_fields}) for e in found]
        )

    def link(view: View) -> models.View:
        return models.View(id=view.id, created_at=view.made, left=services.credentials.views.left(view))

    @api.get("/api/sessions/{session_id}/links")
    async def list_links(session_id: str, who: Asking) -> models.Views:
        """The read-only links of a session that still open."""
        await sessions.get(who.owner, session_id)
        return models.Views(links=[link(view) for view in services.credentials.views.of(session_id)])

    @api.post("/api/sessions/{session_id}/links", status_code=201, openapi_extra=takes(models.NewView))
    async def new_link(session_id: str, request: Request, who: Asking) -> models.NewlyMadeView:
        """A link with which anybody sees this session, live, and can change nothing. It is shown this once."""
        wish = await read_body(request, models.NewView)
        session = await sessions.get(who.owner, session_id)
        view, secret = await services.credentials.views.make(session.id, session.owner, wish.days)
        await noted(request, "link_made", session=session.id, link=view.id, days=wish.days)
        return models.NewlyMadeView(**link(view).model_dump(), url=f"{services.addresses.url}/shared?t={secret}")

    @api.delete("/api/sessions/{session_id}/links/{id}", status_code=204)
    async def revoke_link(session_id: str, id: str, request: Request, who: Asking) -> Response:
        """Nobody comes in with this link any more; who looks on with it is sent away."""
        session = await sessions.get(who.owner, session_id)
        await services.credentials.revoke_view(session.id, id)
        await noted(request, "link_revoked", session=session.id, link=id)
        return Response(status_code=204)
