"""Bodies of the routes about people, links to sessions, and what was done."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(_Taken):
    name: Annotated[str, Field(min_length=1, max_length=64)]


class UserChange(_Taken):
    disabled: StrictBool


class NewView(_Taken):
    """`days` of the server's uptime for which it opens; null: for as long as the session is there."""

    days: Annotated[float, Field(gt=0, le=3650)] | None = 7


class User(BaseModel):
    """`account`: the issuer of the account this person signs in with. `bytes` of all sessions' events."""

    id: str
    name: str
    created_at: float
    disabled: bool
    account: str | None
    sessions: int
    running: int
    waiting: int
    bytes: int
    connections: int


class Users(BaseModel):
    users: list[User]


class UserWithToken(User):
    token: str


class AuditEntry(BaseModel):
    """`at`: seconds since the epoch. `by`: a person's name, `owner`, or `viewer`. `peer`: the address it came from."""

    at: float
    deed: str
    by: str
    peer: str
    about: dict[str, Any]


class Audit(BaseModel):
    entries: list[AuditEntry]


class View(BaseModel):
    """`left`: seconds of the server's uptime until it ends; null: it ends with the session."""

    id: str
    created_at: float
    left: float | None


class NewlyMadeView(View):
    url: str


class Views(BaseModel):
    links: list[View]
