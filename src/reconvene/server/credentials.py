"""Who may speak to this server: the owner's token in the data folder, those of the people who were added, one-time sign-in links, the
cookie they turn into, and links that show a session.

Nothing that opens a door is stored or logged except the token file itself: of cookies the log keeps the SHA-256, of links the
memory does. A sign-in lasts 30 days of the server's uptime after its last use, like every other lifetime, so that neither a clock
that jumps nor a month of downtime signs anybody out; the browser forgets its cookie by its own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconvene.errors import ReconveneError
from reconvene.server.audit import Audit
from reconvene.server.gate import OWNER, Principal
from reconvene.server.people import People, hash_of
from reconvene.server.small_store import SmallStore
from reconvene.server.views import View, Views

LINK_TIME = 300.0
LINKS_KEPT = 64
SIGN_IN_TIME = 30 * 86400.0
LOOK_EVERY = 1.0
"""Seconds between two looks at what other servers wrote."""
MOST_VIEWS = 8
"""Links to sessions that a browser keeps; of more, the oldest is forgotten."""
SEEN_EVERY = 3600.0
"""Seconds of uptime between two notes that a sign-in is still used."""
_INSTANCE = "server.instance"
_SIGN_IN = "sign_in:"
_TOKEN_OF = "owner_token:"  # noqa: S105
_LINK = "sign_in_link:"


@dataclass(slots=True)
class SignIn:
    """Whose it is; seconds of uptime when it was made, and when its last use was noted."""

    owner: str
    created: float
    seen: float


Gone = Callable[[Principal], bool]
"""Whether a principal's credential is the one that ended."""


def owner_token(data_dir: Path) -> str:
    """The token of `owner.token`, made at first: 256 random bits, readable by its owner only.

    Raises:
        ReconveneError: `unsafe_permissions` when others can read it or it is not a plain file of ours, `data_dir_unusable`.
    """
    path = data_dir / "owner.token"
    try:
        with contextlib.suppress(FileNotFoundError):
            if token := _read_token(path):
                return token
        token = secrets.token_urlsafe(32)
        fresh = data_dir / f".owner.token.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as e:
        raise ReconveneError(
            "data_dir_unusable", f"{path} cannot be read or written: {e.strerror}. Give it to your user with mode 600."
        ) from e
    return token


def _read_token(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        what = os.fstat(descriptor)
        if not stat.S_ISREG(what.st_mode) or what.st_mode & 0o077 or what.st_uid != os.geteuid():
            raise ReconveneError(
                "unsafe_permissions", f"{path} must be a file that only you can read. Run: chmod 600 {path}"
            )
        text = file.read(1024).strip()
    return text.decode("ascii", "replace") if len(text) >= 32 else ""


class Credentials:
    """The gate's authenticator. `open` it once the log is open; checking a credential never waits."""

    def __init__(
        self,
        store: SmallStore,
        token: str,
        instance: str,
        sign_ins: dict[str, SignIn],
        people: People,
        views: Views,
        audit: Audit,
        uptime: Callable[[], float],
        clock: Callable[[], float],
        node: str | None,
    ) -> None:
        self._store = store
        self._node = node
        self._of_nodes: frozenset[str] = frozenset()
        """Hashes of the owner's tokens in the data folders of other servers on the same store."""
        self._token = token.encode()
        self._sign_ins = sign_ins
        self._uptime = uptime
        self._clock = clock
        self._links: dict[bytes, tuple[float, str]] = {}
        self._looked = clock()
        self.instance = instance
        self.people, self.views, self.audit = people, views, audit
        self.accounts = False
        """Whether a provider of accounts is set."""
        self.on_revoked: list[Callable[[Gone], None]] = []
        """Called when a sign-in, a person's token or a link ended, with what tells who came with it."""

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        store: SmallStore,
        uptime: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        node: str | None = None,
    ) -> Credentials:
        """Args:
        uptime: the server's total uptime in seconds; sign-ins are counted by it.
        clock: monotonic seconds; links are counted by it.
        node: names this server among several on the same store: then each takes the others' tokens and sign-in links.
        """
        token = owner_token(data_dir)
        instance = await store.get(_INSTANCE)
        if instance is None:
            instance = secrets.token_hex(4)
            await store.put(_INSTANCE, instance)
        sign_ins = await _sign_ins(store)
        for name, sign_in in list(sign_ins.items()):
            if uptime() - sign_in.seen > SIGN_IN_TIME:
                await store.put(_SIGN_IN + name, None)
                del sign_ins[name]
        people, views, audit = await People.open(store), await Views.open(store, uptime), await Audit.open(store)
        made = cls(store, token, instance, sign_ins, people, views, audit, uptime, clock, node)
        if node is not None:
            await store.put(_TOKEN_OF + node, hash_of(token.encode()))
            await made._look()
        return made

    async def look_again(self) -> bool:
        """Take in what other servers on the same store wrote: who signed in there, and what was revoked. At most once a second."""
        now = self._clock()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        await self._look()
        self._tell(lambda p: not self.still(p))
        return True

    async def _look(self) -> None:
        self._sign_ins = await _sign_ins(self._store)
        await self.people.look_again()
        await self.views.look_again()
        if self._node is not None:
            self._of_nodes = frozenset((await self._store.scan(_TOKEN_OF)).values())

    @property
    def several(self) -> bool:
        """Whether others than the owner may sign in."""
        return self.accounts or len(self.people) > 0

    @property
    def cookie_name(self) -> str:
        """Of this data folder, not of the port: cookies of one host name are shared by all its ports."""
        return f"reconvene_{self.instance}"

    @property
    def views_cookie(self) -> str:
        """The cookie that holds the secrets of links to sessions."""
        return f"{self.cookie_name}_views"

    # -- the gate's questions

    def by_bearer(self, token: bytes) -> Principal | None:
        """Compared as bytes and in constant time: a str with a non-ASCII character would raise."""
        if hmac.compare_digest(token, self._token) or hash_of(token) in self._of_nodes:
            return Principal(OWNER, "bearer")
        person = self.people.by_token(token)
        return None if person is None else Principal(person.id, "bearer", name=person.name)

    def by_cookies(self, cookie_headers: list[bytes]) -> Principal | None:
        views = tuple((v.session, v.owner, v.secret) for v in self._views(cookie_headers))
        for value in self._candidates(self.cookie_name, cookie_headers):
            name = hash_of(value)
            sign_in = self._sign_ins.get(name)
            if sign_in is None or self._uptime() - sign_in.seen > SIGN_IN_TIME:
                continue
            if sign_in.owner == OWNER:
                return Principal(OWNER, "cookie", name, views=views)
            if (person := self.people.active(sign_in.owner)) is not None:
                return Principal(person.id, "cookie", name, person.name, views)
        return Principal(f"view:{views[-1][2][:16]}", "view", None, "viewer", views) if views else None

    def still(self, principal: Principal) -> bool:
        """Whether what somebody came with some time ago still opens the door."""
        if principal.kind == "view":
            return any(self.views.holds(secret) for _, _, secret in principal.views)
        if principal.sign_in is not None and principal.sign_in not in self._sign_ins:
            return False
        return principal.owner == OWNER or self.people.active(principal.owner) is not None

    def _views(self, cookie_headers: list[bytes]) -> list[View]:
        given = (
            s for value in self._candidates(self.views_cookie, cookie_headers) for s in value.split(b".")[:MOST_VIEWS]
        )
        return [view for secret in given if (view := self.views.by_secret(secret)) is not None]

    @staticmethod
    def _candidates(cookie_name: str, cookie_headers: list[bytes]) -> list[bytes]:
        """Another server on this host can set a cookie of our name too, for another path: any of them may be ours."""
        prefix = cookie_name.encode() + b"="
        pairs = (pair.strip() for header in cookie_headers for pair in header.split(b";"))
        return [pair[len(prefix) :] for pair in pairs if pair.startswith(prefix)][:8]

    # -- sign-in

    async def new_shared_link(self, url: str, owner: str = OWNER) -> str:
        """Like `new_link`; with several servers, whichever of them the browser comes to takes it."""
        link = self.new_link(url, owner)
        if self._node is not None:
            secret = link.partition("?t=")[2].encode()
            await self._store.put(_LINK + hash_of(secret), json.dumps([self._uptime() + LINK_TIME, owner]))
            del self._links[hashlib.sha256(secret).digest()]  # it works once, wherever
        return link

    def new_link(self, url: str, owner: str = OWNER) -> str:
        """A one-time sign-in link below `url` for the owner or a person, good for five minutes."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        self._links = {k: link for k, link in self._links.items() if link[0] > now}
        while len(self._links) >= LINKS_KEPT:
            del self._links[min(self._links, key=self._links.__getitem__)]
        self._links[hashlib.sha256(secret.encode()).digest()] = (now + LINK_TIME, owner)
        return f"{url}/sign-in?t={secret}"

    async def redeem(self, secret: bytes) -> tuple[str, str]:
        """Burn a link; the value of a new sign-in's cookie, and whose it is.

        Raises:
            ReconveneError: `link_used` when it was used before, expired, or never was.
        """
        end, owner = self._links.pop(hashlib.sha256(secret).digest(), (None, OWNER))
        good = end is not None and end >= self._clock()
        if self._node is not None and (kept := await self._store.get(_LINK + hash_of(secret))) is not None:
            await self._store.put(_LINK + hash_of(secret), None)
            until, owner = json.loads(kept)
            good = until >= self._uptime()
        if not good or (owner != OWNER and self.people.active(owner) is None):
            raise ReconveneError(
                "link_used", "A sign-in link works once, and for five minutes. Run `reconvene open` for another."
            )
        return await self.sign_in(owner), owner

    async def sign_in(self, owner: str) -> str:
        """The value of the cookie of a new sign-in of the owner or a person."""
        value = secrets.token_urlsafe(32)
        name, now = hash_of(value.encode()), self._uptime()
        await self._store.put(_SIGN_IN + name, _text(SignIn(owner, now, now)))
        self._sign_ins[name] = SignIn(owner, now, now)
        return value

    async def seen(self, principal: Principal) -> bool:
        """Note that a sign-in is in use, at most once an hour; True when its cookie should be renewed in the browser too."""
        sign_in = self._sign_ins.get(principal.sign_in or "")
        if sign_in is None or self._uptime() - sign_in.seen < SEEN_EVERY:
            return False
        sign_in.seen = self._uptime()
        await self._store.put(f"{_SIGN_IN}{principal.sign_in}", _text(sign_in))
        return True

    async def revoke(self, sign_in: str | None, owner: str) -> None:
        """End one sign-in of somebody, or (None) all of theirs; who is connected with it is told by `on_revoked`."""
        ending = {name for name, s in self._sign_ins.items() if s.owner == owner and sign_in in (None, name)}
        for name in ending:
            await self._store.put(_SIGN_IN + name, None)
            self._sign_ins.pop(name, None)
        self._tell(lambda p: p.sign_in in ending)

    async def disable(self, name: str, disabled: bool) -> None:
        """Let nobody in as a person, or again. Ends what is open.

        Raises:
            ReconveneError: `no_such_user`.
        """
        person = await self.people.disable(name, disabled)
        if disabled:
            await self.revoke(None, person.id)
            self._tell(lambda p: p.owner == person.id)

    async def renew_token(self, name: str) -> str:
        """A person's new token. Ends what is open with the one before.

        Raises:
            ReconveneError: `no_such_user`.
        """
        person, token = await self.people.renew(name)
        self._tell(lambda p: p.owner == person.id and p.kind == "bearer")
        return token

    async def revoke_view(self, session: str, id: str) -> None:
        """Take a link to a session back. Ends what is open with it.

        Raises:
            ReconveneError: `not_found`.
        """
        view = await self.views.revoke(session, id)
        self._tell(lambda p: any(secret == view.secret for _, _, secret in p.views))

    @contextlib.contextmanager
    def until_revoked(self, principal: Principal) -> Iterator[asyncio.Event]:
        """An event that is set when what somebody came with ends, for connections that nobody else counts."""
        revoked = asyncio.Event()

        def told(gone: Gone) -> None:
            if gone(principal):
                revoked.set()

        self.on_revoked.append(told)
        try:
            yield revoked
        finally:
            self.on_revoked.remove(told)

    def _tell(self, gone: Gone) -> None:
        for tell in tuple(self.on_revoked):
            tell(gone)

    def set_cookie(self, value: str, *, secure: bool) -> bytes:
        """`Set-Cookie` for a sign-in's cookie; an empty value removes it."""
        return _set_cookie(self.cookie_name, value, secure)

    def set_views(self, secret: str, cookie_headers: list[bytes], *, secure: bool) -> bytes:
        """`Set-Cookie` for the cookie of links, with one more. The newest is the last."""
        kept = b".".join(self._candidates(self.views_cookie, cookie_headers)).decode("ascii", "ignore").split(".")
        alive = [s for s in kept if s != secret and self.views.by_secret(s.encode()) is not None]
        return _set_cookie(self.views_cookie, ".".join([*alive, secret][-MOST_VIEWS:]), secure)

    def cookie_value(self, principal: Principal, cookie_headers: list[bytes]) -> str | None:
        """The value with which a principal came, to be set again with a new age."""
        return next(
            (
                v.decode("ascii")
                for v in self._candidates(self.cookie_name, cookie_headers)
                if hash_of(v) == principal.sign_in
            ),
            None,
        )


def _set_cookie(name: str, value: str, secure: bool) -> bytes:
    age = int(SIGN_IN_TIME) if value else 0
    return f"{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{'; Secure' if secure else ''}".encode()


async def _sign_ins(store: SmallStore) -> dict[str, SignIn]:
    """By name, all that can be read: whoever has another signs in again."""
    found = {name.removeprefix(_SIGN_IN): _sign_in(text) for name, text in (await store.scan(_SIGN_IN)).items()}
    return {name: sign_in for name, sign_in in found.items() if sign_in is not None}


def _sign_in(text: str) -> SignIn | None:
    """None for what a repaired database may hold instead."""
    try:
        stored = json.loads(text)
        return SignIn(str(stored.get("owner", OWNER)), float(stored["created"]), float(stored["seen"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _text(sign_in: SignIn) -> str:
    return json.dumps({"owner": sign_in.owner, "created": round(sign_in.created, 3), "seen": round(sign_in.seen, 3)})
