"""One request to a server's HTTP API. Standard library only, so that what needs nothing else starts fast."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconvene.client.refused import refusal
from reconvene.errors import ReconveneError

TIMEOUT = 30.0
NO_ANSWER = frozenset({502, 503, 504})
"""Statuses of something between the client and a server that is not there just now."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address (`http://localhost:8000`) and the credential for it.

    >>> Endpoint("https://box.example/reconvene/", "secret").ws_url
    'wss://box.example/reconvene/ws'
    """

    url: str
    token: str

    @property
    def ws_url(self) -> str:
        """Of the WebSocket."""
        return f"ws{self.url.removeprefix('http').rstrip('/')}/ws"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = TIMEOUT) -> Any:
        """One request; returns the JSON of the answer, None when there is none. Blocking.

        Raises:
            ReconveneError: what the server's problem document says; `starting` when it does not answer.
        """
        return as_json(self._request(method, path, body, timeout))

    def text(self, method: str, path: str, *, timeout: float = TIMEOUT) -> str:
        """Like `call`, for an answer that is no JSON."""
        return self._request(method, path, None, timeout).decode("utf-8", "replace")

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> bytes:
        place = parsed(self.url)
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.hostname or "localhost", place.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self.token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            connection.request(method, place.path.rstrip("/") + path, body=data, headers=headers)
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as e:
            reason = str(e) or type(e).__name__
            where = f"port {place.port}" if place.hostname in ("localhost", "127.0.0.1", "::1") else place.netloc
            raise ReconveneError(
                "starting", f"The server on {where} does not answer ({reason}). Try again in a moment."
            ) from e
        finally:
            connection.close()
        if answer.status >= 400:
            raise _refused(answer, raw, f"{method} {path.partition('?')[0]}")
        return raw


def parsed(url: str) -> urllib.parse.SplitResult:
    """
    Raises:
        ReconveneError: `invalid_field` when this is no http address.
    """
    place = urllib.parse.urlsplit(url)
    try:
        usable = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise ReconveneError("invalid_field", f"{url} is no address of a server, such as http://localhost:8000.")
    return place


def session_path(session_id: str, rest: str = "") -> str:
    return f"/api/sessions/{urllib.parse.quote(session_id, safe='')}{rest}"


def as_json(raw: bytes) -> Any:
    """The value of an answer; None when it is no JSON."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _refused(answer: http.client.HTTPResponse, raw: bytes, what: str) -> ReconveneError:
    said = as_json(raw)
    if isinstance(said, dict) and "code" in said:
        error = refusal(said)
    else:
        unsaid = f"The server answered {answer.status} to {what}."
        error = ReconveneError("starting" if answer.status in NO_ANSWER else "internal", unsaid)
    wait = answer.headers.get("Retry-After", "")
    if wait.isdigit():
        error.details.setdefault("retry_after", float(wait))
    return error
