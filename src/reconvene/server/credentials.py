"""Who may speak to this server: the owner's token in the data folder, one-time sign-in links, and the cookie they turn into.

Nothing that opens a door is stored or logged except the token file itself: of cookies the log keeps the SHA-256, of links the
memory does. A sign-in lasts 30 days of the server's uptime after its last use, like every other lifetime, so that neither a clock
that jumps nor a month of downtime signs anybody out; the browser forgets its cookie by its own clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconvene.errors import ReconveneError
from reconvene.server.gate import Principal

OWNER = "owner"
"""The one user of a server on one machine."""
LINK_TIME = 300.0
LINKS_KEPT = 64
SIGN_IN_TIME = 30 * 86400.0
SEEN_EVERY = 3600.0
"""Seconds of uptime between two notes that a sign-in is still used."""
_INSTANCE = "server.instance"
_SIGN_IN = "sign_in:"


class Store(Protocol):
    """The part of the log that is used here."""

    async def get(self, name: str) -> str | None: ...

    async def put(self, name: str, value: str | None) -> None: ...

    async def scan(self, prefix: str) -> dict[str, str]: ...


@dataclass(slots=True)
class SignIn:
    """Seconds of uptime: when it was made, and when its last use was noted."""

    created: float
    seen: float


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
        store: Store,
        token: str,
        instance: str,
        sign_ins: dict[str, SignIn],
        uptime: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._token = token.encode()
        self._sign_ins = sign_ins
        self._uptime = uptime
        self._clock = clock
        self._links: dict[bytes, float] = {}
        self.instance = instance
        self.on_revoked: list[Callable[[str | None], None]] = []
        """Called with the name of a sign-in that ended (None: all of them)."""

    @classmethod
    async def open(
        cls, data_dir: Path, store: Store, uptime: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> Credentials:
        """Args:
        uptime: the server's total uptime in seconds; sign-ins are counted by it.
        clock: monotonic seconds; links are counted by it.
        """
        token = owner_token(data_dir)
        instance = await store.get(_INSTANCE)
        if instance is None:
            instance = secrets.token_hex(4)
            await store.put(_INSTANCE, instance)
        sign_ins: dict[str, SignIn] = {}
        for name, text in (await store.scan(_SIGN_IN)).items():
            sign_in = _sign_in(text)
            if sign_in is None or uptime() - sign_in.seen > SIGN_IN_TIME:
                await store.put(name, None)
            else:
                sign_ins[name.removeprefix(_SIGN_IN)] = sign_in
        return cls(store, token, instance, sign_ins, uptime, clock)

    @property
    def cookie_name(self) -> str:
        """Of this data folder, not of the port: cookies of one host name are shared by all its ports."""
        return f"reconvene_{self.instance}"

    # -- the gate's questions

    def by_bearer(self, token: bytes) -> Principal | None:
        """Compared as bytes and in constant time: a str with a non-ASCII character would raise."""
        return Principal(OWNER, "bearer") if hmac.compare_digest(token, self._token) else None

    def by_cookies(self, cookie_headers: list[bytes]) -> Principal | None:
        for value in self._candidates(cookie_headers):
            name = _hash(value)
            sign_in = self._sign_ins.get(name)
            if sign_in is not None and self._uptime() - sign_in.seen <= SIGN_IN_TIME:
                return Principal(OWNER, "cookie", name)
        return None

    def _candidates(self, cookie_headers: list[bytes]) -> list[bytes]:
        """Another server on this host can set a cookie of our name too, for another path: any of them may be ours."""
        prefix = self.cookie_name.encode() + b"="
        pairs = (pair.strip() for header in cookie_headers for pair in header.split(b";"))
        return [pair[len(prefix) :] for pair in pairs if pair.startswith(prefix)][:8]

    # -- sign-in

    def new_link(self, url: str) -> str:
        """A one-time sign-in link below `url`, good for five minutes."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        self._links = {k: end for k, end in self._links.items() if end > now}
        while len(self._links) >= LINKS_KEPT:
            del self._links[min(self._links, key=self._links.__getitem__)]
        self._links[hashlib.sha256(secret.encode()).digest()] = now + LINK_TIME
        return f"{url}/sign-in?t={secret}"

    async def redeem(self, secret: bytes) -> str:
        """Burn a link and return the value of a new sign-in's cookie.

        Raises:
            ReconveneError: `link_used` when it was used before, expired, or never was.
        """
        end = self._links.pop(hashlib.sha256(secret).digest(), None)
        if end is None or end < self._clock():
            raise ReconveneError(
                "link_used", "A sign-in link works once, and for five minutes. Run `reconvene open` for another."
            )
        value = secrets.token_urlsafe(32)
        name, now = _hash(value.encode()), self._uptime()
        await self._store.put(_SIGN_IN + name, _text(SignIn(now, now)))
        self._sign_ins[name] = SignIn(now, now)
        return value

    async def seen(self, principal: Principal) -> bool:
        """Note that a sign-in is in use, at most once an hour; True when its cookie should be renewed in the browser too."""
        sign_in = self._sign_ins.get(principal.sign_in or "")
        if sign_in is None or self._uptime() - sign_in.seen < SEEN_EVERY:
            return False
        sign_in.seen = self._uptime()
        await self._store.put(f"{_SIGN_IN}{principal.sign_in}", _text(sign_in))
        return True

    async def revoke(self, sign_in: str | None) -> None:
        """End one sign-in, or (None) every one; who is connected with it is told by `on_revoked`."""
        for name in [sign_in] if sign_in is not None else list(self._sign_ins):
            await self._store.put(_SIGN_IN + name, None)
            self._sign_ins.pop(name, None)
        for tell in self.on_revoked:
            tell(sign_in)

    def set_cookie(self, value: str, *, secure: bool) -> bytes:
        """`Set-Cookie` for a cookie's value; an empty one removes it."""
        age = int(SIGN_IN_TIME) if value else 0
        return f"{self.cookie_name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{'; Secure' if secure else ''}".encode()

    def cookie_value(self, principal: Principal, cookie_headers: list[bytes]) -> str | None:
        """The value with which a principal came, to be set again with a new age."""
        return next(
            (v.decode("ascii") for v in self._candidates(cookie_headers) if _hash(v) == principal.sign_in), None
        )


def _hash(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _sign_in(text: str) -> SignIn | None:
    """None for what a repaired database may hold instead: that browser signs in again."""
    try:
        stored = json.loads(text)
        return SignIn(float(stored["created"]), float(stored["seen"]))
    except (ValueError, TypeError, KeyError):
        return None


def _text(sign_in: SignIn) -> str:
    return json.dumps({"created": round(sign_in.created, 3), "seen": round(sign_in.seen, 3)})
