"""The client for programs that use asyncio.

    async with AsyncReconvene.local() as reconvene:
        session = await reconvene.create(root="/home/me/shop")
        answer = await session.ask("How are prices rounded?")
        print(answer.text)

Everything here goes on through cuts, restarts and kills of the server: what is sent has an id and is sent until the server has it,
what comes is followed by cursor.
"""

from __future__ import annotations

import asyncio
import collections
import math
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlencode

from reconvene.client.folder import usual_data_dir
from reconvene.client.following import Address, Following, Lost
from reconvene.client.http import Endpoint, parsed, session_path
from reconvene.client.link import HELD_BACK, Advanced, Happening, Link, Opened, Receipt, Replaced, new_id
from reconvene.client.local import find
from reconvene.client.told import Answer, Event, Hit, Me, Pending, Root, SessionInfo
from reconvene.client.unseen import Unseen
from reconvene.errors import ReconveneError
from reconvene.protocol.follower import Follower
from reconvene.protocol.view import View

Verdict = Literal["accept", "reject", "feedback"]
MOST_UNREAD = 2_000
"""Events that wait for a program that reads slowly; then the connection is not read either."""
_CAP = 5.0
"""Seconds between two tries of a request, at most."""


class AsyncReconvene:
    """A server.

    Args:
        url: its address, such as `http://localhost:8000`.
        token: the owner's: the file `owner.token` in the server's data folder.
        name: how others are told who asked.
        patience: seconds that a server may be away before calls fail with `starting`; without end if not said.

    Raises:
        ReconveneError: `invalid_field`: this is no address.
    """

    def __init__(self, url: str, token: str, *, name: str = "python", patience: float = math.inf) -> None:
        parsed(url)
        self._find: Callable[[], Endpoint | None] = lambda: Endpoint(url, token)
        self._name = name
        self.patience = patience

    @classmethod
    def local(
        cls, data_dir: str | Path | None = None, *, name: str = "python", patience: float = math.inf
    ) -> AsyncReconvene:
        """The server of a data folder of this machine (default: the usual one), on whatever port it is at the time."""
        folder = Path(data_dir).expanduser().absolute() if data_dir is not None else usual_data_dir()
        made = cls("http://localhost", "", name=name, patience=patience)

        def endpoint() -> Endpoint | None:
            server = find(folder)
            return server.endpoint if server else None

        made._find = endpoint
        return made

    async def __aenter__(self) -> AsyncReconvene:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Nothing is held between calls; `async with` is for the eye, and for what may come."""

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Any request of the HTTP API, sent again while the server is away; returns the JSON of the answer.

        Raises:
            ReconveneError: what the server refuses.
        """
        started, tries = time.monotonic(), 0
        while True:
            try:
                endpoint = await asyncio.to_thread(self._find)
                if endpoint is None:
                    raise ReconveneError("starting", "No server is running for this data folder.")
                return await asyncio.to_thread(endpoint.call, method, path, body)
            except ReconveneError as e:
                wait = float(e.details.get("retry_after", 0.0)) or random.random() * min(_CAP, 0.2 * 2.0**tries)
                if e.code not in HELD_BACK or time.monotonic() - started + wait > self.patience:
                    raise
                if method == "DELETE" and tries and e.code == "no_such_session":
                    return None
                tries = min(tries + 1, 30)
            await asyncio.sleep(wait)

    async def me(self) -> Me:
        """Who the server takes this program for, and what it serves."""
        return Me.of(await self.call("GET", "/api/me"))

    async def add_root(self, path: str | Path) -> Root:
        """Serve one more code base."""
        return Root.of(await self.call("POST", "/api/roots", {"path": str(path)}))

    async def create(self, root: str | Path | None = None, *, title: str | None = None) -> AsyncSession:
        """A new session.

        Args:
            root: name or path of a code base that is served; may be left out when there is one.
        """
        given = {"root_directory": str(root) if root is not None else None, "title": title}
        body = {name: value for name, value in given.items() if value is not None}
        return self.session((await self.call("POST", "/api/sessions", body))["session_id"])

    def session(self, session_id: str) -> AsyncSession:
        """A session that exists. Nothing is asked of the server yet."""
        return AsyncSession(self, session_id)

    async def sessions(self, *, archived: bool | None = None) -> AsyncGenerator[SessionInfo, None]:
        """Every session, the one used last first. `archived`: only those that are, or are not."""
        asked = {} if archived is None else {"archived": "true" if archived else "false"}
        after: str | None = None
        while True:
            query = urlencode(asked | ({"after": after} if after else {}) | {"limit": 200})
            page = await self.call("GET", f"/api/sessions?{query}")
            for said in page["sessions"]:
                yield SessionInfo.of(said)
            if (after := page.get("next")) is None:
                return

    async def find(self, words: str, *, limit: int = 20) -> list[Hit]:
        """Where all these words were said at one place, in any session; best first."""
        found = await self.call("GET", f"/api/sessions/search?{urlencode({'q': words, 'limit': limit})}")
        return [
            Hit(s["session_id"], h["seq"], h["kind"], h["at"], tuple(h["pieces"]))
            for s in found["sessions"]
            for h in s["hits"]
        ]

    async def _address(self) -> Address | None:
        endpoint = await asyncio.to_thread(self._find)
        return Address(endpoint.ws_url, endpoint.token) if endpoint else None

    def _following(
        self,
        session_id: str,
        cursor: str | None,
        on: Callable[[Happening | Lost], None],
        room: Callable[[], Awaitable[object]] | None = None,
    ) -> Following:
        follower = Follower(session_id)
        follower.cursor = cursor

        def happened(happening: Happening | Lost) -> None:
            if isinstance(happening, Opened) and happening.session_id != session_id:
                raise ReconveneError("no_such_session", f"There is no session {session_id}.")
            on(happening)

        link = Link(client={"id": new_id(), "name": self._name}, follower=follower)
        return Following(self._address, link, happened, room=room, patience=self.patience)


class AsyncSession:
    """One session of a server; made by `AsyncReconvene.create` and `.session`."""

    def __init__(self, reconvene: AsyncReconvene, session_id: str) -> None:
        self.id = session_id
        self._reconvene = reconvene

    async def info(self) -> SessionInfo:
        """The session as it is now."""
        return SessionInfo.of(await self._call("GET"))

    async def events(self, after: str | Event | None = None) -> AsyncGenerator[Event, None]:
        """The session from its beginning, then live, each event once, without end; it reconnects and resumes by itself.

        What was said before comes folded: finished texts without the pieces they came in, of `run`, `plan` and `usage` the last of
        each run. An event of type `snapshot` says that the log is another one now (a backup was restored): forget what came before.

        Args:
            after: an event, its `place`, or a cursor: go on behind it.
        """
        unseen = Unseen(after.place if isinstance(after, Event) else after)
        arrived = collections.deque[tuple[Replaced | Advanced, str, str | None]]()
        news, room = asyncio.Event(), asyncio.Event()
        room.set()
        reason: str | None = None
        waiting = 0

        def happened(happening: Happening | Lost) -> None:
            nonlocal reason, waiting
            match happening:
                case Opened():
                    reason = happening.reason
                case Replaced() | Advanced():
                    arrived.append((happening, following.link.follower.cursor or "", reason))
                    waiting += len(happening.events)
                    if waiting > MOST_UNREAD:
                        room.clear()
                    news.set()

        following = self._reconvene._following(self.id, unseen.cursor or None, happened, room.wait)
        async with following:
            while True:
                while arrived:
                    happening, cursor, why = arrived.popleft()
                    new = (
                        unseen.snapshot(happening.events, cursor, why)
                        if isinstance(happening, Replaced)
                        else unseen.batch(happening.events, cursor)
                    )
                    for event in new:
                        yield event
                    waiting -= len(happening.events)
                    if waiting <= MOST_UNREAD:
                        room.set()
                news.clear()
                await following.until(news.wait())

    async def ask(
        self, text: str, *, on_event: Callable[[Event], object] | None = None, config: Mapping[str, Any] | None = None
    ) -> Answer:
        """Send a prompt and wait for what becomes of it: an answer, or something that a person has to answer first.

        Args:
            on_event: is called with every event of its run, as it comes.
            config: of this turn: `model`, `max_iterations`, `review`.

        Raises:
            ReconveneError: the server refuses the prompt.
        """
        info = await self.info()
        frame = {"type": "default", "content": text, **({"config": dict(config)} if config else {})}
        # What the session said before is not needed, unless something of it has to be answered first.
        return await self._run(None, None if info.pending else info.cursor, on_event, frame)

    async def wait(self, run_id: str | None = None, *, on_event: Callable[[Event], object] | None = None) -> Answer:
        """What becomes of a run (default: the current one, else the last one).

        Raises:
            ReconveneError: `no_such_run`.
        """
        return await self._run(run_id, None, on_event, None)

    async def prompt(self, text: str, *, delivery: Literal["queue", "steer"] = "queue") -> Receipt:
        """Send a prompt; returns as soon as it is on the server's disk. `steer` speaks into the run that goes on."""
        return await self._send({"type": "default", "content": text, "delivery": delivery})

    async def pending(self) -> list[Pending]:
        """What waits for a person, oldest first."""
        view = View()
        after, before = "0", None
        while after != before:
            page = await self._call("GET", f"/events?{urlencode({'after': after, 'limit': 1000})}")
            if page["snapshot"] is not None:
                view = View()
            for event in page["events"]:
                view.apply(event)
            after, before = page["next"], after
        return [Pending.of(item) for item in view.pending()]

    async def answer(self, question: str | Pending, value: str | bool | dict[str, Any]) -> Receipt:
        """Answer a question or a confirmation.

        Raises:
            ReconveneError: `already_answered`, `question_closed`, `invalid_field` when it does not fit the schema.
        """
        return await self._send({"type": "answer", "reply_to": _id(question), "content": value})

    async def decide(
        self, diff: str | Pending, verdict: Verdict, *, hunks: list[str] | None = None, feedback: str | None = None
    ) -> Receipt:
        """Decide on a change. `hunks`: the ids of those to accept, None for all; `feedback`: what should be different.

        Raises:
            ReconveneError: `already_decided`, `no_such_diff`.
        """
        content = {"verdict": verdict, "hunks": hunks, "feedback": feedback}
        return await self._send({"type": "decision", "reply_to": _id(diff), "content": content})

    async def cancel(self, run_id: str | None = None) -> Receipt:
        """Stop a run (default: the current one). Nothing runs: the receipt's status is `noop`."""
        return await self._send({"type": "cancel", "content": {"run_id": run_id}})

    async def act(self, name: str, **args: Any) -> Receipt:
        """Everything else that a person can do: `docs/reference/events.md`, "Actions"."""
        return await self._send({"type": "action", "content": {"name": name, "args": args}})

    async def change(
        self, *, title: str | None = None, pinned: bool | None = None, archived: bool | None = None
    ) -> SessionInfo:
        """Rename, pin or archive it."""
        given = {"title": title, "pinned": pinned, "archived": archived}
        return SessionInfo.of(await self._call("PATCH", "", {k: v for k, v in given.items() if v is not None}))

    async def fork(self, upto: int | None = None) -> AsyncSession:
        """A new session that begins with a copy of this one, up to the event with this seq."""
        receipt = await self.act("fork", **({} if upto is None else {"upto": upto}))
        assert receipt.session_id is not None
        return AsyncSession(self._reconvene, receipt.session_id)

    async def delete(self) -> None:
        """Delete it for good. A run that is going on is stopped first."""
        await self._call("DELETE")

    async def _call(self, method: str, rest: str = "", body: Mapping[str, Any] | None = None) -> Any:
        return await self._reconvene.call(method, session_path(self.id, rest), body)

    async def _send(self, frame: dict[str, Any]) -> Receipt:
        """Send a command, under one id, until the server has it."""
        frame = {"id": new_id(), **frame}
        if frame["type"] == "default":
            frame["client"] = {"id": new_id(), "name": self._reconvene._name}
        said = await self._call("POST", "/messages", frame)
        return Receipt(said["status"], said["seq"], said["run_id"], said["session_id"])

    async def _run(
        self,
        run_id: str | None,
        cursor: str | None,
        on_event: Callable[[Event], object] | None,
        frame: dict[str, Any] | None,
    ) -> Answer:
        news = asyncio.Event()
        unseen, held = Unseen(cursor), list[Event]()
        reason: str | None = None

        def happened(happening: Happening | Lost) -> None:
            nonlocal reason
            if isinstance(happening, Opened):
                reason = happening.reason
            elif isinstance(happening, Replaced | Advanced):
                if on_event is not None:
                    at = following.link.follower.cursor or ""
                    new = (
                        unseen.snapshot(happening.events, at, reason)
                        if isinstance(happening, Replaced)
                        else unseen.batch(happening.events, at)
                    )
                    held.extend(new)
                news.set()

        following = self._reconvene._following(self.id, cursor, happened)
        view = following.link.follower
        async with following:
            if frame is not None:
                run_id = (await following.submit(frame)).run_id
            else:
                await following.synced()
                run_id = run_id or _current(view.view)
                if run_id not in view.view.runs:
                    raise ReconveneError("no_such_run", f"There is no run {run_id} in this session.")
            assert run_id is not None
            while True:
                news.clear()
                if on_event is not None:
                    for event in held:
                        if event.run_id == run_id:
                            on_event(event)
                    held.clear()
                if (answer := _outcome(view.view, run_id)) is not None:
                    return answer
                await following.until(news.wait())


def _id(of: str | Pending) -> str:
    return of.id if isinstance(of, Pending) else of


def _current(view: View) -> str:
    """The run that is not over, else the last one."""
    open_ones = [id for id, run in view.runs.items() if run["outcome"] is None and run["status"] != "queued"]
    known = open_ones or sorted(view.runs, key=lambda id: (len(id), id))
    return known[-1] if known else "r0"


def _outcome(view: View, run_id: str) -> Answer | None:
    """None: it goes on by itself."""
    run = view.runs.get(run_id)
    if run is None:
        return None
    if run["outcome"] is not None:
        errors = [
            i["content"]["message"] for i in view.items.values() if i["type"] == "error" and i["run_id"] == run_id
        ]
        reason = None if run["outcome"] == "success" else (errors[-1] if errors else run["ended"])
        return Answer(run_id, run["outcome"], run["text"], reason, run["usage"])
    asked = view.pending()
    mine = [item for item in asked if item["run_id"] == run_id] or (asked if run["status"] == "queued" else [])
    if mine:
        return Answer(run_id, "waiting", run["text"], usage=run["usage"], pending=tuple(map(Pending.of, mine)))
    return None
