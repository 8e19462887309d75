"""A resumable client's half of the protocol, without I/O: what to send, what a frame means, what to do after a close.

A `Link` holds what survives a connection: what is known of the session (a `Follower`) and the outbox. It is given each
frame and each close and answers with what happened and what to do; `following.py` moves the bytes. So every cut, overlap
and repeat is tested without a network.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconvene.client.refused import refusal
from reconvene.errors import KINDS, ReconveneError
from reconvene.protocol.follower import Follower

PROTO = 1
HELD_BACK = frozenset({"rate_limited", "starting", "draining", "store_busy"})
"""Refusals that mean "not now": the frame stays in the outbox."""

Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """The server's first frame: which session this is now, and how it was attached (fresh, resume, snapshot)."""

    session_id: str
    mode: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A snapshot: forget what was folded and fold these events instead."""

    events: list[Frame]
    synced: bool


@dataclass(frozen=True, slots=True)
class Advanced:
    """A batch that joins on exactly: fold these events on top."""

    events: list[Frame]
    synced: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """`status`: accepted, duplicate or noop; `seq` and `run_id` where the frame became one; `session_id` where it is known."""

    status: str
    seq: int | None
    run_id: str | None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A frame of the outbox is done with: it has a receipt, or an error says why not."""

    id: str
    receipt: Receipt | None = None
    error: ReconveneError | None = None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The server asks to send this frame again in `after` seconds."""

    id: str
    after: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth showing that is not part of the session."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream does not join on: close the connection with `code` and resume."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class After:
    """What to do after a close: reconnect in `delay` seconds, or (`error`) stop and show it."""

    delay: float = 0.0
    error: ReconveneError | None = None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The server refuses the attaching frame itself; sending it again would change nothing."""

    error: ReconveneError


Happening = Opened | Replaced | Advanced | Settled | HeldBack | Notice | Broken | TurnedAway


@dataclass
class Link:
    """What a client keeps of its session between connections.

    Args:
        client: `{"id", "name"}`; a second connection with the same id replaces the first.
        config: of a session that is created here: root_directory, recovery.
        follower: the session; one without an id makes a new session, one without a cursor asks for a snapshot.
        random: a float in [0, 1) for pacing.
    """

    client: Frame
    config: Frame = field(default_factory=dict)
    follower: Follower = field(default_factory=Follower)
    random: Callable[[], float] = random.random
    outbox: dict[str, Frame] = field(default_factory=dict)
    """Frames without an answer yet, in the order of sending, by id."""
    heartbeat: float = 15.0
    """Seconds; silence of 10 s more means that the connection is dead."""
    _base: float = 0.3
    _cap: float = 10.0
    _spread: float = 0.0
    _tries: int = 0
    _attached: bool = False
    """Whether the server has said which session this connection is on."""

    @property
    def session_id(self) -> str | None:
        return self.follower.session_id

    def put(self, frame: Frame) -> Frame:
        """Put a command in the outbox, with an id of its own if it has none, and return what to send now."""
        frame = {"id": frame.get("id") or new_id(), **frame}
        if frame["type"] == "default":
            # Which session and which code base are part of every sending alike: the server compares bodies by id.
            frame["config"] = {**self.config, **(frame.get("config") or {})}
        self.outbox[frame["id"]] = frame
        return frame

    def opening(self) -> list[Frame]:
        """What to send on a new connection: the attaching frame, then everything that has no answer yet."""
        known = self.follower.connect()
        self._attached = False
        binding = {"proto": PROTO, "client": self.client}
        waiting = list(self.outbox.values())
        first = next((f for f in waiting if f["type"] == "default"), None) if known["session_id"] is None else None
        if first is not None:
            # The prompt itself attaches: its id finds the session again when only the answer was lost.
            waiting.remove(first)
            return [{**binding, **first}, *waiting]
        config = {k: v for k, v in (self.config | known).items() if v is not None}
        return [{"type": "hello", **binding, "config": config}, *waiting]

    def receive(self, text: str | bytes) -> list[Happening]:
        """What one frame of the server means. Frames of unknown types are passed over."""
        try:
            frame = json.loads(text)
            kind, content = frame["type"], frame["content"]
            match kind:
                case "session":
                    return [self._session(frame)]
                case "snapshot" | "batch":
                    return self._durable(frame)
                case "ack" | "nack":
                    return self._settle(kind, frame["reply_to"], content)
                case "error":  # a server that took our first frame for that of a plain client
                    return self._settle("nack", None, content)
                case "notice" if content["code"] == "index":
                    return []  # how far the reading of the code is, several times a second: for a page that draws it in one place
                case "notice":
                    return [Notice(content["code"], content["message"])]
                case "hb" if content.get("retry"):
                    self._pace(content["retry"])
                case "goodbye":
                    self._spread = max(self._spread, float(content.get("retry_ms") or 0) / 1000)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            return [Broken(4002, f"a frame that cannot be read: {type(e).__name__}: {e}")]
        return []

    def _session(self, frame: Frame) -> Opened:
        content = frame["content"]
        if content["session_id"] != self.session_id:
            # A session of another name has another log: the cursor means nothing there.
            self.follower.cursor = None
        self.follower.receive(frame)
        self._attached = True
        self.heartbeat = content["hb_ms"] / 1000
        self._pace(content["retry"])
        return Opened(content["session_id"], content["mode"], content.get("reason"))

    def _pace(self, retry: Frame) -> None:
        self._base, self._cap, self._spread = (retry[k] / 1000 for k in ("base_ms", "cap_ms", "spread_ms"))

    def _durable(self, frame: Frame) -> list[Happening]:
        content = frame["content"]
        match self.follower.receive(frame):
            case "applied":
                made = Replaced if frame["type"] == "snapshot" else Advanced
                return [made(content["events"], bool(content.get("synced")))]
            case "gap":
                return [Broken(4002, "a batch does not join on to what is known")]
        return []

    def _settle(self, kind: str, id: str | None, content: Frame) -> list[Happening]:
        if kind == "nack" and id is None and len(self.outbox) == 1:
            id = next(iter(self.outbox))  # so broken that the server could not read its id; only one can be meant
        if kind == "nack" and id in self.outbox and content["code"] in HELD_BACK:
            after = content.get("details", {}).get("retry_after", 1.0)
            return [HeldBack(id, float(after))]
        if id is None or self.outbox.pop(id, None) is None:
            if kind == "ack":
                return []  # a second one
            return [Notice(content["code"], content["message"]) if self._attached else TurnedAway(refusal(content))]
        if kind == "ack":
            return [Settled(id, Receipt(content["status"], content.get("seq"), content.get("run_id")))]
        return [Settled(id, error=refusal(content))]

    def too_big(self) -> Settled | None:
        """After close 1009: the frame that was over the limit is failed, so that it is not sent for ever."""
        if not self.outbox:
            return None
        # The largest of those without an answer; after a reopening it need not be the last one sent.
        id = max(self.outbox, key=lambda i: len(json.dumps(self.outbox[i])))
        del self.outbox[id]
        return Settled(id, error=ReconveneError("too_large", "The server takes no frame of this size. Shorten it."))

    def closed(self, code: int | None, reason: str = "", *, lived: float = 0.0) -> After:
        """What to do after a connection that lived `lived` seconds was closed with `code` (None: it broke)."""
        if lived >= 5.0:
            self._tries = 0
        code = code or 1006
        if 4200 <= code < 4300:
            self.follower.cursor = None
        if 4300 <= code < 4400:
            return After(error=ReconveneError("no_such_session", reason or "The session was deleted."))
        if 4400 <= code < 4500 or code in (1002, 1003, 1007, 1008):
            known = {4401: "unauthorized", 4403: "forbidden_origin", 4429: "limit_reached"}.get(code, "invalid_message")
            said = reason or "no reason was given"
            return After(error=ReconveneError(known, f"The server ended the connection ({code}): {said}.", close=code))
        if (4000 <= code < 4100 or code == 1009) and self._tries == 0:
            # At once, but only once: what breaks again and again is not reopened in a tight loop.
            self._tries = 1
            return After(0.0)
        return After(self._wait())

    def refused(self, status: int | None, retry_after: float | None = None) -> After:
        """What to do after a handshake that was answered with an HTTP status (None: nobody answered)."""
        if status in (401, 403, 421, 426):
            code = {401: "unauthorized", 403: "forbidden_origin", 421: "forbidden_host", 426: "upgrade_required"}[
                status
            ]
            return After(
                error=ReconveneError(code, f"The server refuses the connection ({status}). {KINDS[code].meaning}")
            )
        wait = self._wait()
        return After(max(wait, retry_after or 0.0))

    def _wait(self) -> float:
        first = self._tries == 0
        longest = max(self._base, self._spread) if first else min(self._cap, self._base * 2.0**self._tries)
        self._tries = min(self._tries + 1, 30)
        return self.random() * longest


def new_id(now: Callable[[], float] = time.time) -> str:
    """A UUIDv7 (RFC 9562 §5.7): made when the person presses Enter, and never for a second command.

    >>> new_id(lambda: 0.0).startswith("00000000-0000-7")
    True
    """
    ms = int(now() * 1000)
    bits = ms << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
