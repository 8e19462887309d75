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
    return Who(principal_of(request).owner, "http")


def with_token(request: Request) -> None:
    """For what changes the server itself: a page in a browser, ours included, may not."""
    if principal_of(request).kind != "bearer":
        raise ReconveneError(
            "forbidden", "This takes the token of the data folder, not a cookie. Use the command line."
        )


Asking = Annotated[Who, Depends(who_asks)]
