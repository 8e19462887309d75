"""One session on one ACP connection: its updates go out in order, what waits for a person is asked, and prompts learn how they ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from reconvene.adapters.acp import requests
from reconvene.adapters.acp.translation import Ended, Translator, Update
from reconvene.adapters.following import chunks
from reconvene.errors import ReconveneError
from reconvene.log.feed import Chunk
from reconvene.log.port import SessionRow
from reconvene.protocol.cursor import Cursor
from reconvene.server.services import Services
from reconvene.sessions.rows import Who
from reconvene.sessions.state import Pending

CURSOR = "_reconvene/cursor"
"""In `_meta` of an update: with it everything up to this place has come, and `_reconvene/replayFrom` may name it."""
_log = structlog.get_logger("reconvene.acp")


class Attached:
    """`begin` it once; `close` it when the connection or the editor leaves. The session does not notice either.

    Args:
        notify, request: to the client; `request` returns its result.
        own: whether this client itself sent the prompt with this id, so that it is not shown it again, unless it asks for
            everything (`begin`).
        forms: whether the client shows forms.
    """

    def __init__(
        self,
        services: Services,
        who: Who,
        session: SessionRow,
        *,
        notify: Callable[[str, Update], Awaitable[None]],
        request: Callable[[str, Update], Awaitable[Any]],
        own: Callable[[str], bool],
        forms: bool,
    ) -> None:
        self.session = session
        self.translator = Translator(session.root, self._said)
        self.seq = 0
        self._all_upto = 0
        self._services, self._who = services, who
        self._notify, self._request, self._own, self._forms = notify, request, own, forms
        self._task: asyncio.Task[None] | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[asyncio.Future[Ended | None]]] = {}
        self._moved = asyncio.Event()

    async def begin(self, after: int, *, all_upto: int = 0) -> None:
        """Go on after this seq: what lies before it the client has already. Up to `all_upto` its own prompts are sent too."""
        self._all_upto = all_upto
        await self._fold(after)
        self.seq = after
        self._task = asyncio.create_task(self._follow(), name="acp session")

    async def _fold(self, upto: int) -> None:
        rows = await self._services.sessions.log.read(self.session.id, 0, upto=upto, public=True) if upto else []
        for n, row in enumerate(rows):
            self.translator.apply(json.loads(row.wire()))
            if n % 500 == 499:
                await asyncio.sleep(0)

    async def caught_up(self, seq: int) -> None:
        """Wait until the client was sent everything up to this seq."""
        while self.seq < seq and self._task is not None and not self._task.done():
            self._moved.clear()
            moved = asyncio.create_task(self._moved.wait())
            await asyncio.wait({moved, self._task}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()

    async def ended(self, run_id: str) -> Ended | None:
        """Wait for a run's end, after all its updates were sent; None: it waits for something this client cannot be asked."""
        if run_id in self.translator.ended:
            return self.translator.ended[run_id]
        future: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, []).append(future)
        await self._ask()
        return await future

    async def close(self) -> None:
        tasks = [t for t in (self._task, *self._asking.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()

    # -- out

    async def _follow(self) -> None:
        try:
            await self._ask()
            async for chunk in chunks(self._services, self.session.id, self.seq):
                if chunk is not None:
                    await self._deliver(chunk)
        except ConnectionError:
            pass  # the client left
        except ReconveneError as error:
            _log.info("a session ended under an editor", session_id=self.session.id, code=error.code)
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    async def _deliver(self, chunk: Chunk) -> None:
        updates: list[Update] = []
        for row in chunk.rows:
            event = json.loads(row.wire())
            translated = self.translator.apply(event)
            if row.type == "prompt" and row.seq > self._all_upto and self._own(event["content"]["id"]):
                translated = [u for u in translated if u["sessionUpdate"] != "user_message_chunk"]
            updates += translated
        if updates:
            # A chunk's deltas may be folded into its messages: only its end is a place to go on from.
            updates[-1] = {**updates[-1], "_meta": {CURSOR: self._cursor(chunk)}}
        for update in updates:
            await self._notify("session/update", {"sessionId": self.session.id, "update": update})
        self.seq = chunk.upto
        self._moved.set()
        await self._ask()
        for run_id in [r for r in self._waiting if r in self.translator.ended]:
            for future in self._waiting.pop(run_id):
                if not future.done():
                    future.set_result(self.translator.ended[run_id])

    def _cursor(self, chunk: Chunk) -> str:
        return str(Cursor(self.session.epoch, chunk.upto, chunk.upto_tag))

    # -- what waits for a person

    async def _ask(self) -> None:
        """Ask what was not asked on this connection yet, and only what the client has been shown."""
        state = await self._services.sessions.state(self.session.id)
        open_ = {p.id: p for p in state.pending.values() if p.seq <= self.seq}
        for id in [i for i, task in self._asking.items() if i not in open_ and not task.done()]:
            self._asking[id].cancel()  # somebody else was faster
        for pending in open_.values():
            if pending.id not in self._asking:
                task = asyncio.create_task(self._settle(pending), name="acp question")
                self._asking[pending.id] = task
        for pending in open_.values():
            if pending.run_id in self._waiting and self.unaskable(pending):
                for future in self._waiting.pop(pending.run_id):
                    if not future.done():
                        future.set_result(None)

    def _said(self, event: Mapping[str, Any]) -> bool:
        content = event["content"]
        return self.unaskable(
            Pending(content["id"], "question", event["run_id"], event["seq"], content["text"], content.get("schema"))
        )

    def unaskable(self, pending: Pending) -> bool:
        """A question that has no request in ACP for this client: it is said as text, and the next prompt answers it."""
        if pending.kind == "diff":
            return False
        return requests.of_question(self.session.id, pending, forms=self._forms) is None

    async def open_text_question(self) -> Pending | None:
        """The question that the next prompt answers."""
        state = await self._services.sessions.state(self.session.id)
        return next((p for p in state.pending.values() if p.seq <= self.seq and self.unaskable(p)), None)

    async def _settle(self, pending: Pending) -> None:
        try:
            if pending.kind == "diff":
                await self._settle_diff(pending)
            else:
                await self._settle_question(pending)
        except ReconveneError as error:  # another client was faster, or the answer does not fit
            _log.info("an editor's answer was not taken", session_id=self.session.id, code=error.code)
            if error.code == "invalid_field":
                await self._say(pending.id, error.message)
        except ConnectionError:
            pass
        except Exception as error:
            # The client has no such request, or answered it with an error: the question stays open for other clients.
            _log.info("an editor cannot be asked", session_id=self.session.id, error=str(error)[:200])

    async def _settle_question(self, pending: Pending) -> None:
        ask = requests.of_question(self.session.id, pending, forms=self._forms)
        if ask is None:
            return  # it was said as text
        done, value = requests.answer(ask, await self._request(ask.method, ask.params))
        if done:
            await self._services.sessions.answer(self._who, self.session.id, id=None, reply_to=pending.id, value=value)

    async def _settle_diff(self, pending: Pending) -> None:
        """Every file is asked for by itself; the diff is decided once, when all of them are answered."""
        sessions, id = self._services.sessions, self.session.id
        rows = await sessions.log.read(id, pending.seq - 1, upto=pending.seq, public=True)
        files = json.loads(rows[0].content)["files"]
        asks = requests.of_files(id, pending.id, files, self.translator)
        results = await asyncio.gather(*(self._request(ask.method, ask.params) for ask in asks))
        answers = [requests.answer(ask, result) for ask, result in zip(asks, results, strict=True)]
        if not all(done for done, _ in answers):
            return
        accepted = [f for f, (_, yes) in zip(files, answers, strict=True) if yes]
        hunks = None if len(accepted) == len(files) else [h["id"] for f in accepted for h in f["hunks"]]
        if any(r["outcome"].get("optionId") == requests.ACCEPT_ALL for r in results):
            await sessions.act(self._who, id, id=None, name="edit_mode", args={"mode": "accept"})
        verdict: Any = "accept" if accepted else "reject"
        await sessions.decide(
            self._who, id, id=None, reply_to=pending.id, verdict=verdict, hunks=hunks if accepted else None
        )

    async def _say(self, message_id: str, text: str) -> None:
        chunk: Update = {
            "sessionUpdate": "agent_message_chunk",
            "messageId": message_id,
            "content": {"type": "text", "text": f"\n\n{text}\n"},
        }
        await self._notify("session/update", {"sessionId": self.session.id, "update": chunk})
