"""The thin end of `reconvene acp`, without I/O: what an editor's lines and the server's frames mean, over however many servers.

The server holds the sessions. This holds only what one connection to it knows and the next one has to be told: the editor's greeting,
the sessions it has open and how far it has seen each, what it asked and has no answer to, and what it was asked. After a reconnect the
editor gets what it missed, once, and notices nothing else.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from reconvene.cli.jsonrpc import Message

CURSOR, ASKS, ID, CLIENT, REPLAY_FROM, ALL = (
    f"_reconvene/{name}" for name in ("cursor", "asks", "id", "client", "replayFrom", "all")
)
_OPENS = frozenset({"session/load", "session/resume"})
_OWN = "reconvene:"
"""What the ids of the relay's own requests begin with."""


@dataclass(slots=True)
class Out:
    """What to do: messages for the editor and for the server, in order."""

    editor: list[Message] = field(default_factory=list)
    server: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class _Asked:
    """A request of a server that the editor was given. `theirs`: its id on the connection that is up, if it was asked there.

    `answer`: what the editor said; it is kept, as the server may have died before it took it. `delivered`: sent on this connection.
    """

    ours: int
    theirs: Any = None
    answer: Message | None = None
    delivered: bool = False


class Relay:
    """Feed it `from_editor`, `connected`, `from_server` and `lost`; do what it says."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self._greeting: Message | None = None
        self._open: dict[str, str | None] = {}
        """By session the editor has open: the cursor of what it has seen."""
        self._cwd: dict[str, str] = {}
        self._unanswered: dict[Any, Message] = {}
        """The editor's requests, by their ids, as they are sent."""
        self._waiting: list[Message] = []
        """Notifications of the editor that came while there was no connection."""
        self._held: dict[str, list[Message]] = {}
        """Updates that came after the last cursor: given to the editor once the next one has come."""
        self._asked: dict[str, _Asked] = {}
        self._numbers = 0
        self._up = False
        self._returning: list[Any] = []
        """Own requests that the server must answer before the editor's are sent again."""
        self._resumes: dict[Any, str] = {}

    @property
    def idle(self) -> bool:
        """Whether the editor waits for nothing."""
        return not self._unanswered

    @property
    def folders(self) -> set[str]:
        """The code bases of the sessions that are open."""
        return {self._cwd[i] for i in self._open if i in self._cwd}

    # -- the editor

    def from_editor(self, message: Message) -> Out:
        method, id = message.get("method"), message.get("id")
        if method is None:
            return self._answered(message)
        if "id" not in message:
            if self._up:
                return Out(server=[message])
            self._waiting.append(message)
            return Out()
        message = self._marked(message)
        if method == "initialize":
            self._greeting = message
        elif method in _OPENS and (session_id := _of(message)) is not None:
            self._open.pop(session_id, None)  # the editor begins with it anew
        self._unanswered[id] = message
        return Out(server=[message]) if self._up else Out()

    def _marked(self, message: Message) -> Message:
        """With an id of its own, so that the server does it once however often it is sent."""
        method, params = message["method"], dict(message.get("params") or {})
        meta = dict(params.get("_meta") or {})
        if method == "initialize":
            meta[CLIENT] = self.token
        elif method in ("session/prompt", "session/fork"):
            self._numbers += 1
            meta.setdefault(ID, f"{self.token}.{self._numbers}")
        else:
            return message
        return {**message, "params": {**params, "_meta": meta}}

    def _answered(self, message: Message) -> Out:
        asked = next((a for a in self._asked.values() if a.ours == message.get("id")), None)
        if asked is None or asked.answer is not None:
            return Out()
        asked.answer = message
        if asked.theirs is None:
            return Out()  # until the server asks again
        asked.delivered = True
        return Out(server=[{**message, "id": asked.theirs}])

    # -- the server

    def connected(self) -> Out:
        """A connection is up: introduce the editor again and pick up its sessions where they are, before anything else."""
        self._up = False
        self._returning.clear()
        self._resumes.clear()
        self._held.clear()
        if self._greeting is None:
            return self._go_on([])
        if self._greeting["id"] in self._unanswered:
            return self._go_on([self._greeting])
        out = Out(server=[{**self._greeting, "id": self._own_id()}])
        for session_id, cursor in self._open.items():
            loading = any(_of(m) == session_id and m["method"] in _OPENS for m in self._unanswered.values())
            if cursor is None and loading:
                continue  # nothing of it has come: it is asked for again as it was
            meta: Message = {} if cursor is None else {"_meta": {REPLAY_FROM: cursor}}
            if cursor is not None and any(_loads(m, session_id) for m in self._unanswered.values()):
                meta["_meta"][ALL] = (
                    True  # the editor shows its own prompts by itself, but not those of a session it loads
                )
            params = {"sessionId": session_id, "cwd": self._cwd.get(session_id, "/"), "mcpServers": [], **meta}
            id = self._own_id()
            self._resumes[id] = session_id
            out.server.append({"jsonrpc": "2.0", "id": id, "method": "session/resume", "params": params})
        return out

    def _own_id(self) -> str:
        self._numbers += 1
        id = f"{_OWN}{self._numbers}"
        self._returning.append(id)
        return id

    def _go_on(self, first: list[Message]) -> Out:
        self._up = True
        known = {id(m) for m in first}
        rest = [m for m in self._unanswered.values() if id(m) not in known]
        return Out(server=[*first, *rest, *self._drained()])

    def _drained(self) -> list[Message]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def from_server(self, message: Message) -> Out:
        method = message.get("method")
        if method is None:
            return self._response(message)
        if "id" in message:
            return self._request(message)
        if method == "session/update":
            return self._update(message)
        return Out(editor=[message])

    def _update(self, message: Message) -> Out:
        params = message["params"]
        session_id, cursor = params["sessionId"], (params["update"].get("_meta") or {}).get(CURSOR)
        held = self._held.setdefault(session_id, [])
        held.append(message)
        if cursor is None:
            return Out()
        self._open[session_id] = cursor
        return Out(editor=self._held.pop(session_id))

    def _request(self, message: Message) -> Out:
        key = ((message.get("params") or {}).get("_meta") or {}).get(ASKS) or f"{message['id']}"
        asked = self._asked.get(key)
        if asked is not None and asked.answer is not None and not asked.delivered:
            asked.delivered = True
            return Out(server=[{**asked.answer, "id": message["id"]}])
        if asked is not None and asked.answer is None:
            asked.theirs = message["id"]  # the editor shows it already
            return Out()
        self._numbers += 1
        self._asked[key] = _Asked(self._numbers, message["id"])
        return Out(editor=[{**message, "id": self._numbers}])

    def _response(self, message: Message) -> Out:
        id = message.get("id")
        if isinstance(id, str) and id.startswith(_OWN):
            return self._returned(id, message)
        request = self._unanswered.pop(id, None)
        if request is None:
            return Out()
        held: list[Message] = []
        method, session_id = request["method"], _of(request)
        if "result" in message:
            session_id = (message["result"] or {}).get("sessionId") or session_id
            if method in ("session/new", "session/fork", *_OPENS) and session_id is not None:
                told = ((message["result"] or {}).get("_meta") or {}).get(CURSOR)
                self._open[session_id] = self._open.get(session_id) or told  # an update's is later
                self._cwd[session_id] = (request.get("params") or {}).get("cwd") or "/"
            elif method in ("session/close", "session/delete") and session_id is not None:
                self._open.pop(session_id, None)
        if session_id is not None:
            held = self._held.pop(session_id, [])
        return Out(editor=[*held, message])

    def _returned(self, id: str, message: Message) -> Out:
        """The answer to a request of the relay's own; after the last one the editor's are sent again."""
        out = Out()
        session_id = self._resumes.pop(id, None)
        if session_id is not None:
            out.editor += self._held.pop(session_id, [])
            if "error" in message:
                self._open.pop(session_id, None)  # deleted meanwhile: whatever the editor asks of it is told so
            else:
                for request_id, request in list(self._unanswered.items()):
                    if request["method"] in _OPENS and _of(request) == session_id:
                        # It was being loaded when the connection broke: now all of it has come.
                        del self._unanswered[request_id]
                        out.editor.append({**message, "id": request_id})
        if id in self._returning:
            self._returning.remove(id)
        if not self._returning and not self._up:
            on = self._go_on([])
            out.server += on.server
        return out

    def lost(self) -> None:
        """The connection is gone. What came without a cursor after it comes again, so it is dropped here."""
        self._up = False
        self._held.clear()
        for asked in self._asked.values():
            asked.theirs, asked.delivered = None, False


def _loads(message: Message, session_id: str) -> bool:
    return message["method"] == "session/load" and _of(message) == session_id


def _of(message: Message) -> str | None:
    found = (message.get("params") or {}).get("sessionId")
    return found if isinstance(found, str) else None
