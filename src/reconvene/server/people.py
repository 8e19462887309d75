"""The people besides the owner of a server: their names, their tokens, the accounts of others they sign in with.

A server that nobody was added to has one user, its owner, and this is empty. Each person's sessions carry the person's id as their
owner, and everything that reads sessions asks for an owner; so a person comes to no session of another's. Tokens are stored as
SHA-256: they are 256 random bits, which nobody guesses, so a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, replace

from reconvene.errors import ReconveneError
from reconvene.server.small_store import SmallStore

TOKEN_MARK = "rcv_"  # noqa: S105
"""A token begins with it, so that scanners for leaked secrets, ours included, find one."""
LONGEST_NAME = 64
_PERSON = "person:"


@dataclass(frozen=True, slots=True)
class Person:
    """`id` is the owner of the person's sessions. `created`: seconds since the epoch, for showing. `account`: issuer and subject of
    the account the person signs in with, or None."""

    id: str
    name: str
    created: float
    disabled: bool = False
    token: str | None = None
    """SHA-256 of the token, in hex."""
    account: tuple[str, str] | None = None


class People:
    """Everybody who was added. Kept in memory, as the gate asks with every request; written before it is told."""

    def __init__(self, store: SmallStore, known: dict[str, Person]) -> None:
        self._store = store
        self._take(known)

    @classmethod
    async def open(cls, store: SmallStore) -> People:
        return cls(store, await _read(store))

    async def look_again(self) -> None:
        """Take in what other servers on the same store wrote."""
        self._take(await _read(self._store))

    def _take(self, known: dict[str, Person]) -> None:
        self._known = known
        self._by_token = {p.token: p for p in known.values() if p.token is not None}

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Person]:
        """In the order of their names."""
        return sorted(self._known.values(), key=lambda p: p.name.casefold())

    def active(self, id: str) -> Person | None:
        """The person, unless unknown or disabled."""
        person = self._known.get(id)
        return None if person is None or person.disabled else person

    def by_token(self, token: bytes) -> Person | None:
        # Looked up by its hash: how long that takes says nothing about the token.
        person = self._by_token.get(hash_of(token))
        return None if person is None or person.disabled else person

    def named(self, name: str) -> Person:
        """By name, in any case, or id.

        Raises:
            ReconveneError: `no_such_user`.
        """
        for person in self._known.values():
            if person.id == name or person.name.casefold() == name.strip().casefold():
                return person
        raise ReconveneError("no_such_user", f"Nobody called {name!r} was added. `reconvene users list` shows who was.")

    async def add(self, name: str) -> tuple[Person, str]:
        """A new person, and the token, which is not kept and cannot be shown again.

        Raises:
            ReconveneError: `invalid_field` when the name cannot be used or is taken.
        """
        person = self._new(name)
        token = TOKEN_MARK + secrets.token_urlsafe(32)
        return await self._keep(replace(person, token=hash_of(token.encode()))), token

    async def of_account(self, issuer: str, subject: str, name: str) -> Person:
        """Who signed in elsewhere: known by issuer and subject, which never change; added when this is the first time.

        Raises:
            ReconveneError: `forbidden` when the person is disabled.
        """
        account = (issuer, subject)
        person = next((p for p in self._known.values() if p.account == account), None)
        if person is not None and person.disabled:
            raise ReconveneError("forbidden", "This account is disabled here. Ask whoever runs the server.")
        return person or await self._keep(replace(self._new(self._free(name)), account=account))

    async def renew(self, name: str) -> tuple[Person, str]:
        """A new token; the one before is worth nothing from now on."""
        token = TOKEN_MARK + secrets.token_urlsafe(32)
        return await self._keep(replace(self.named(name), token=hash_of(token.encode()))), token

    async def disable(self, name: str, disabled: bool) -> Person:
        """Let nobody in as this person, or again. The sessions stay."""
        return await self._keep(replace(self.named(name), disabled=disabled))

    def _new(self, name: str) -> Person:
        name = name.strip()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise ReconveneError("invalid_field", f"A name has 1 to {LONGEST_NAME} printable characters.", path="name")
        if any(p.name.casefold() == name.casefold() for p in self._known.values()):
            raise ReconveneError("invalid_field", f"Somebody called {name!r} is here already.", path="name")
        return Person(f"u_{secrets.token_urlsafe(12)}", name, time.time())

    def _free(self, name: str) -> str:
        """A name that can be used and nobody has, most like this one."""
        name = "".join(c for c in name if c.isprintable()).strip()[: LONGEST_NAME - 4] or "somebody"
        taken = {p.name.casefold() for p in self._known.values()}
        return next(n for n in (name, *(f"{name} {i}" for i in range(2, 1000))) if n.casefold() not in taken)

    async def _keep(self, person: Person) -> Person:
        await self._store.put(_PERSON + person.id, json.dumps(asdict(person)))
        self._take({**self._known, person.id: person})
        return person


def hash_of(token: bytes) -> str:
    """SHA-256 in hex: what is kept of a secret that is only ever compared."""
    return hashlib.sha256(token).hexdigest()


async def _read(store: SmallStore) -> dict[str, Person]:
    found = (_person(text) for text in (await store.scan(_PERSON)).values())
    return {person.id: person for person in found if person is not None}


def _person(text: str) -> Person | None:
    """None for what a repaired database may hold instead."""
    try:
        kept = json.loads(text)
        account = kept.get("account")
        return Person(
            id=str(kept["id"]),
            name=str(kept["name"]),
            created=float(kept["created"]),
            disabled=bool(kept["disabled"]),
            token=kept["token"] if isinstance(kept.get("token"), str) else None,
            account=(str(account[0]), str(account[1])) if account else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None
