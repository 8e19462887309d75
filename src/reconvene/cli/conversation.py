"""`ask` and `attach`: a session followed on a terminal, and what it asks answered there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from reconvene.cli import terminal
from reconvene.cli.client import Address, Client, Lost
from reconvene.cli.link import Advanced, Frame, Happening, Link, Notice, Opened, Replaced, new_id
from reconvene.cli.transcript import Piece, Transcript
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
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._left.set)
        async with Client(self._where, self._link, self._happened) as client:
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

    async def _follow(self, client: Client) -> int:
        if self._prompt is not None:
            receipt = await client.submit(self._prompt)
            if receipt.run_id is not None:
                self._run_is(receipt.run_id)
            elif self._prompt["type"] == "action":
                return DONE  # what it did needed no run
        async with _lines() if self._screen.asks else contextlib.nullcontext(None) as lines:
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
                        _print(self._transcript.question(pending[0]))
                    await self._ask(client, pending[0], lines)
                    self._news.set()

    def _to_answer(self) -> list[Item]:
        """What waits for a person in what is shown; of a prompt that is queued also what the run before it waits for."""
        pending = self._transcript.pending(self._view)
        if not pending and self._prompt is not None and self._transcript.run(self._view).get("status") == "queued":
            return self._view.pending()
        return pending

    async def _ask(self, client: Client, item: Item, lines: asyncio.Queue[str | None]) -> None:
        """Ask until the answer is taken or somebody else gave one."""
        while not lines.empty():
            lines.get_nowait()  # typed before the question was there: it is no answer to it
        while True:
            print(f"{_hint(item)}> ", end="", file=sys.stderr, flush=True)
            typed = asyncio.create_task(lines.get())
            gone = asyncio.create_task(self._settled(item["key"]))
            try:
                await asyncio.wait({typed, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                if not typed.done():
                    typed.cancel()
            if not typed.done() or typed.cancelled():
                return
            if (line := typed.result()) is None:
                self._left.set()
                return
            answer = _answer(item, line)
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
            _print(self._transcript.news(self._view))
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
            _print(self._transcript.news(self._view))

    def _emit_held(self) -> None:
        run_id = self._transcript.run_id
        if self._prompt is not None and run_id is None:
            return
        for event in self._held:
            if self._prompt is None or event["run_id"] == run_id:
                terminal.emit(event)
        self._held.clear()


def _print(pieces: list[Piece]) -> None:
    for piece in pieces:
        if piece.kind == "answer":
            terminal.out(piece.text)
        else:
            terminal.say(terminal.dim(piece.text) if piece.text.startswith("·") else piece.text)


def _hint(item: Item) -> str:
    if item["type"] == "diff":
        parts = sum(len(file["hunks"]) for file in item["files"])
        return "y, n, the parts to accept (1 3 …) or what to change " if parts > 1 else "y, n or what to change "
    if item["type"] == "confirmation" or (item["schema"] or {}).get("type") == "boolean":
        return "y or n "
    return ""


def _answer(item: Item, typed: str) -> Frame | str:
    """The frame for what was typed, or a sentence why it cannot be one."""
    word = typed.strip()
    if not word:
        return "Type an answer, or Ctrl-C to leave; the question waits."
    yes_or_no = {"y": True, "yes": True, "n": False, "no": False}.get(word.lower())
    if item["type"] == "diff":
        return _decision(item, word, yes_or_no)
    value: Any = word
    kind = (item.get("schema") or {}).get("type")
    if item["type"] == "confirmation" or kind == "boolean":
        if yes_or_no is None:
            return "Answer y or n."
        value = yes_or_no
    elif kind == "object":
        try:
            value = json.loads(word)
        except ValueError as e:
            return f"This needs a JSON object ({e})."
    return {"type": "answer", "reply_to": item["id"], "content": value}


def _decision(item: Item, word: str, yes_or_no: bool | None) -> Frame | str:
    """What was typed at a diff: yes, no, the numbers of the parts to accept, or (with or without f before it) what to change."""
    hunks = [hunk["id"] for file in item["files"] for hunk in file["hunks"]]
    content: dict[str, Any] = {"verdict": "reject" if yes_or_no is False else "accept", "hunks": None, "feedback": None}
    first, _, rest = word.partition(" ")
    if yes_or_no is None and re.fullmatch(r"[\d\s,]+", word):
        numbers = [int(n) for n in re.findall(r"\d+", word)]
        if not numbers or not all(1 <= n <= len(hunks) for n in numbers):
            return f"The parts are 1 to {len(hunks)}."
        content["hunks"] = [hunks[n - 1] for n in sorted(set(numbers))]
    elif yes_or_no is None:
        said = rest.strip() if first.lower() in ("f", "feedback") else word
        if not said:
            return "Type what should be different."
        content.update(verdict="feedback", feedback=said)
    return {"type": "decision", "reply_to": item["id"], "content": content}


@contextlib.asynccontextmanager
async def _lines() -> AsyncIterator[asyncio.Queue[str | None] | None]:
    """The lines typed on stdin, read without a thread, so that a question answered elsewhere can be taken back."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    rest = bytearray()

    def ready() -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            loop.remove_reader(sys.stdin.fileno())
            lines.put_nowait(None)
            return
        rest.extend(data)
        while b"\n" in rest:
            line, _, after = bytes(rest).partition(b"\n")
            rest[:] = after
            lines.put_nowait(line.decode("utf-8", "replace"))

    loop.add_reader(sys.stdin.fileno(), ready)
    try:
        yield lines
    finally:
        loop.remove_reader(sys.stdin.fileno())
