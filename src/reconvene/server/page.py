"""The page's files, as Vite built them, and the sample client. All of it is behind the gate."""

from __future__ import annotations

import gzip
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Headers, Scope, Send, header, headers, respond
from reconvene.server.credentials import Credentials
from reconvene.server.gate import Addresses
from reconvene.server.pages import not_built

STATIC = Path(__file__).parent.parent / "static"
SAMPLE = Path(__file__).parent / "sample"
SAMPLE_PATHS = ("/sample", "/sample/page.js", "/sample/page.css", "/sample/sample.js")
LOOK_AGAIN = 1.0
"""Seconds after which a file that was not there is looked for again: the page may be built while the server runs."""

_SHRINKS = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".webmanifest"})
_WORTH = 1024
"""Bytes below which a file is sent as it is."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class _File:
    """`small`: the body compressed, where that is worth it. It is made once, and the same for everybody: nothing of a request is in it."""

    path: Path
    changed: int
    body: bytes
    etag: bytes
    small: bytes | None = None


class Files:
    """The files of a folder, found by listing it: what a request says is compared with names, never opened as a path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._read: dict[str, _File] = {}
        self._looked = float("-inf")

    def find(self, name: str) -> _File | None:
        """The file with this name below the folder ("assets/app-1a2b.js"), as it is now."""
        if name not in self._paths:
            if time.monotonic() - self._looked < LOOK_AGAIN:
                return None
            self._looked = time.monotonic()
            paths = (p for p in self._folder.rglob("*") if p.suffix in _TYPES and p.is_file() and not p.is_symlink())
            self._paths = {p.relative_to(self._folder).as_posix(): p for p in paths}
            if name not in self._paths:
                return None
        path = self._paths[name]
        try:
            changed = path.stat().st_mtime_ns
            file = self._read.get(name)
            if file is None or file.changed != changed:
                body = path.read_bytes()
                etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'.encode()
                shrinks = path.suffix in _SHRINKS and len(body) >= _WORTH
                file = _File(path, changed, body, etag, gzip.compress(body, 9, mtime=0) if shrinks else None)
                self._read[name] = file
        except OSError:  # deleted since
            del self._paths[name]
            return None
        return file


class Page:
    """Answers GET and HEAD for everything that is not the API."""

    def __init__(self, credentials: Credentials, addresses: Addresses, *, static: Path = STATIC) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._static = Files(static)
        self._sample = Files(SAMPLE)

    async def __call__(self, scope: Scope, send: Send) -> None:
        path = scope["path"]
        if path in SAMPLE_PATHS:
            file = self._sample.find("page.html" if path == "/sample" else path.removeprefix("/sample/"))
        elif path == "/" or (path.startswith("/s/") and "/" not in path[3:]):
            # The page reads the session's name from its address: every deep link is the same file.
            file = self._static.find("index.html")
            if file is None:
                await not_built(scope, send)
                return
        else:
            file = self._static.find(path[1:])
        if file is None:
            raise ReconveneError("not_found", "There is nothing at this address.")
        await self._send(scope, send, file)

    async def _send(self, scope: Scope, send: Send, file: _File) -> None:
        body, etag = file.body, file.etag
        extra: Headers = []
        if file.small is not None:
            extra.append((b"vary", b"accept-encoding"))
            if _takes_gzip(header(scope, b"accept-encoding") or b""):
                body, etag = file.small, file.etag[:-1] + b'-gzip"'
                extra.append((b"content-encoding", b"gzip"))
        extra.append((b"etag", etag))
        if file.path.parent.name == "assets":  # Vite puts a hash of the content in these names
            extra.append((b"cache-control", b"private, max-age=31536000, immutable"))
        else:
            extra.append((b"cache-control", b"private, no-cache"))
        if file.path.suffix == ".html":
            extra += await self._renewed(scope)
        if header(scope, b"if-none-match") == etag:
            await respond(scope, send, 304, b"", _TYPES[file.path.suffix], extra)
            return
        await respond(scope, send, 200, body, _TYPES[file.path.suffix], extra)

    async def _renewed(self, scope: Scope) -> Headers:
        """The cookie once more, so that a sign-in that is used lasts."""
        principal = scope["state"]["principal"]
        try:
            if principal.kind != "cookie" or not await self._credentials.seen(principal):
                return []
        except ReconveneError:  # the store does not take it now: no reason to withhold the page
            return []
        value = self._credentials.cookie_value(principal, headers(scope, b"cookie"))
        if value is None:
            return []
        return [(b"set-cookie", self._credentials.set_cookie(value, secure=self._addresses.secure(scope)))]


def _takes_gzip(accepted: bytes) -> bool:
    """RFC 9110 §12.5.3, as far as programs write it: named, and not with a weight of nothing."""
    for part in accepted.lower().split(b","):
        name, _, weight = part.replace(b" ", b"").partition(b";q=")
        if name == b"gzip":
            return weight.rstrip(b"0.") != b"" if weight else True
    return False
