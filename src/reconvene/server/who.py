"""Who asks, for the routes of the HTTP API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from reconvene.errors import ReconveneError
from reconvene.server.gate import Principal
from reconvene.sessions.rows import Who


def principal_of(request: Request) -> Principal:
    principal: Principal = request.scope["state"]["principal"]
    return principal


def who_asks(request: Request) -> Who:
    principal = principal_of(request)
    return Who(principal.owner, _name_of(principal))


def who_reads(request: Request, session_id: str) -> Who:
    """For what only reads a session: whoever has a link to it reads it as its owner does."""
    principal = principal_of(request)
    return Who(principal.viewed(session_id) or principal.owner, _name_of(principal))


def _name_of(principal: Principal) -> str:
    return "http" if principal.runs_the_server else principal.name


def peer_of(request: Request) -> str:
    """The address a request came from."""
    return request.client.host if request.client is not None else ""


def with_token(request: Request) -> None:
    """For what changes the server itself: a page in a browser, ours included, may not, and nobody but who runs it."""
    principal = principal_of(request)
    if principal.kind != "bearer" or not principal.runs_the_server:
        raise ReconveneError(
            "forbidden", "This takes the token of the data folder, not a cookie. Use the command line."
        )


def who_runs_it(request: Request) -> None:
    """For what changes the server for everybody and may be done on the page."""
    if not principal_of(request).runs_the_server:
        raise ReconveneError("forbidden", "Whoever runs this server sets that, for everybody.")


Asking = Annotated[Who, Depends(who_asks)]
Reading = Annotated[Who, Depends(who_reads)]
