"""`ask` and `attach`: a session followed on a terminal, and what it asks answered there."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reconvene.cli import terminal
from reconvene.cli.deciding import Parts, answer_of, edited, hint
from reconvene.cli.keyboard import Keyboard, keyboard
from reconvene.cli.printing import Printer
from reconvene.cli.transcript import Transcript
from reconvene.client.following import Address, Following, Lost
from reconvene.client.link import Advanced, Frame, Happening, Link, Notice, Opened, Replaced, new_id
from reconvene.errors import ReconveneError
from reconvene.protocol.view import Item, View

DONE, RUN_FAILED, WAITING, DETACHED = 0, 4, 5, 130


@dataclass(frozen=True, slots=True)
class Screen:
    """How to show: `json`: events as JSON lines; `asks`: a person is there to answer; `again`: the command that attaches;
    `live`: somebody watches the answer come."""

    json: bool
    asks: bool
    again: Callable[[str], str]
    live: bool = True


class Conversation:
    """One session on the screen, until the run that was asked for ends or the person leaves.

    `prompt`: what is asked; or a frame that begins a run, such as an action; None: only follow.
    """

    def __init__(
        self, where: Callable[[], Awaitable[Address | None]], link: Link, screen: Screen, prompt: str | Frame | None
    ) -> None:
        self._link = link
        self._screen = screen
        self._prompt: Frame | None = {"type": "default", "content": prompt} if isinstance(prompt, str) else prompt
        if self._prompt is not None:
            self._prompt = {"id": new_id(), **self._prompt}
        self._transcript = Transcript(one_run=prompt is not None, live=screen.live)
        self._printer = Printer()
        self._held: list[Frame] = []
        """Events for JSON that came before the run was known."""
        self._seq = 0
        self._outage = False
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        """The person wants to go: Ctrl-C, or the end of what they type."""
        self._where = where

    @property
    def _view(self) -> View:
        return self._link.follower.view

    async def run(self) -> int:
        """Follow; returns the exit code.

        Raises:
            ReconveneError: the prompt was refused or the session cannot be followed.
        """
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._left.set)
        async with Following(self._where, self._link, self._happened) as client:
            follow = asyncio.create_task(self._follow(client))
            stop = asyncio.create_task(client.stopped())
            leave = asyncio.create_task(self._left.wait())
            try:
                await asyncio.wait({follow, stop, leave}, return_when=asyncio.FIRST_COMPLETED)
                if follow.done():
                    return follow.result()
                if stop.done():
                    stop.result()
                return self._detach()
            finally:
                for task in (follow, stop, leave):
                    task.cancel()
                await asyncio.gather(follow, stop, leave, return_exceptions=True)
                self._printer.end()

    async def _follow(self, client: Following) -> int:
        if self._prompt is not None:
            receipt = await client.submit(self._prompt)
            if receipt.run_id is not None:
                self._run_is(receipt.run_id)
            elif self._prompt["type"] == "action":
                return DONE  # what it did needed no run
        async with keyboard() if self._screen.asks else contextlib.nullcontext(None) as lines:
            asked: str | None = None
            while True:
                await self._news.wait()
                self._news.clear()
                if (
                    self._prompt is not None
                    and (outcome := self._transcript.run(self._view).get("outcome")) is not None
                ):
                    return DONE if outcome == "success" else RUN_FAILED
                pending = self._to_answer()
                if not pending:
                    asked = None
                    continue
                if lines is None:
                    if self._prompt is None:
                        continue  # somebody else may answer; attach only follows
                    terminal.say(f"It waits for an answer: {self._screen.again(self._link.session_id or '')}")
                    return WAITING
                if asked != pending[0]["key"]:
                    asked = pending[0]["key"]
                    if not self._screen.json:
                        self._printer.show(self._transcript.question(pending[0]))
                    await self._ask(client, pending[0], lines)
                    self._news.set()

    def _to_answer(self) -> list[Item]:
        """What waits for a person in what is shown; of a prompt that is queued also what the run before it waits for."""
        pending = self._transcript.pending(self._view)
        if not pending and self._prompt is not None and self._transcript.run(self._view).get("status") == "queued":
            return self._view.pending()
        return pending

    async def _ask(self, client: Following, item: Item, typed: Keyboard) -> None:
        """Ask until the answer is taken or somebody else gave one."""
        typed.forget()
        parts: Parts | None = None
        while True:
            if parts:
                self._printer.change(parts.shown())
            print(f"{parts.hint() if parts else hint(item)}> ", end="", file=sys.stderr, flush=True)
            reading = asyncio.create_task(typed.get())
            gone = asyncio.create_task(self._settled(item["key"]))
            try:
                await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                if not reading.done():
                    reading.cancel()
            if not reading.done() or reading.cancelled():
                return
            line = reading.result()
            word = "" if line is None else line.strip().lower()
            of_diff = item["type"] == "diff"
            if line is None or (of_diff and parts is None and word == "q"):
                self._left.set()
                return
            answer: Frame | str | None
            if parts is not None:
                if word == "e":
                    with typed.lent():
                        answer = await asyncio.to_thread(parts.edited)
                else:
                    answer = parts.take(line)
                if answer is None:
                    if not parts.open:
                        parts = None  # back to the whole
                    continue
            elif of_diff and word == "s":
                parts = Parts(item)
                continue
            elif of_diff and word == "e":
                with typed.lent():
                    answer = await asyncio.to_thread(edited, item)
            else:
                answer = answer_of(item, line)
            if isinstance(answer, str):
                terminal.say(answer)
                continue
            try:
                await client.submit(answer)
                return
            except ReconveneError as e:
                terminal.say(f"✗ {e.message}")
                if e.code not in ("invalid_field", "invalid_message"):
                    return

    async def _settled(self, key: str) -> None:
        while key in {i["key"] for i in self._to_answer()}:
            await self._news.wait()
            self._news.clear()

    def _detach(self) -> int:
        self._printer.end()
        session = self._link.session_id
        if session is None or (self._prompt is not None and self._prompt["id"] in self._link.outbox):
            terminal.say("\nThe prompt did not reach the server; nothing was started.")
        else:
            terminal.say(f"\nDetached; nothing is lost. Follow it again: {self._screen.again(session)}")
        return DETACHED

    def _happened(self, happening: Happening | Lost) -> None:
        match happening:
            case Opened(session_id, mode, reason):
                if self._outage:
                    terminal.say(terminal.dim("· connected again"))
                self._outage = False
                if reason in ("epoch", "rollback", "diverged"):
                    self._seq = 0  # another log: its seqs say nothing about what was emitted
                if self._screen.json:
                    terminal.emit(
                        {"type": "session", "content": {"session_id": session_id, "mode": mode, "reason": reason}}
                    )
            case Replaced(events) | Advanced(events):
                self._show(events)
            case Notice(_, message):
                terminal.say(terminal.dim(f"· {terminal.safe(message)}"))
            case Lost(reason, _):
                if not self._outage:
                    terminal.say(
                        terminal.dim(f"· connection lost ({terminal.safe(reason)}); trying again, Ctrl-C detaches")
                    )
                self._outage = True

    def _show(self, events: list[Frame]) -> None:
        self._news.set()
        if self._screen.json:
            # A snapshot repeats what was emitted: each event goes out once.
            self._held += [e for e in events if e["seq"] > self._seq]
            self._seq = max([self._seq, *(e["seq"] for e in events)])
            self._emit_held()
        else:
            self._printer.show(self._transcript.news(self._view))
        if self._prompt is not None and self._transcript.run_id is None:
            own = self._view.items.get(f"prompt:{self._prompt['id']}")
            if own is not None and own["run_id"] is not None:
                self._run_is(own["run_id"])

    def _run_is(self, run_id: str) -> None:
        self._transcript.run_id = run_id
        self._news.set()
        if self._screen.json:
            self._emit_held()
        else:
            self._printer.show(self._transcript.news(self._view))

    def _emit_held(self) -> None:
        run_id = self._transcript.run_id
        if self._prompt is not None and run_id is None:
            return
        for event in self._held:
            if self._prompt is None or event["run_id"] == run_id:
                terminal.emit(event)
        self._held.clear()
