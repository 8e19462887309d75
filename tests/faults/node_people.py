"""People at a node that is not killed, as they are there: over its WebSocket, as a page is, and with `reconvene attach` in a terminal.

A person asks for the change of three files, answers a question, sends the change back, accepts it in part; and checks in the end what was
delivered to both (no gap, no repeat), what the log holds, and what the files are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delivered import Delivered, check_events

import threefiles
from house import check_log, contents
from reconvene.client.following import Address, Following
from reconvene.client.link import Frame, new_id
from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.log.postgres import PostgresLog
from reconvene.server.lifecycle import Server

STUCK = 120.0
"""Seconds without any event, or without an answer to what a person sent, after which a session counts as stuck."""
STUCK_FILE = "stuck"
"""Made beside the code bases when a session counts as stuck: every node then says what each of its tasks waits for."""
PROMPT = "Change the three files."
TAKEN = ("already_answered", "already_decided", "question_closed")


@dataclass
class Tally:
    kills: int = 0
    working: int = 0
    """Kills of a node that had a run."""
    database_kills: int = 0
    runs: int = 0
    acknowledged: int = 0
    connections: int = 0
    attached: int = 0
    """Terminals that saw a session to its end."""
    takeovers: list[float] = field(default_factory=list)
    """Seconds from a kill to the first event that another node wrote for the run."""
    violations: list[str] = field(default_factory=list)


def print_tasks(name: str) -> None:
    """What every task of this process waits for: for whoever looks into a violation."""
    print(f"tasks of {name}")
    for task in asyncio.all_tasks():
        print(f"- {task.get_name()}, {task.cancelling()} times to be cancelled")
        waiting: Any = task.get_coro()
        while waiting is not None:
            frame = next((f for n in ("cr_frame", "gi_frame", "ag_frame") if (f := getattr(waiting, n, None))), None)
            print(
                f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
                if frame
                else f"    {waiting!r}"
            )
            waiting = next(
                (w for n in ("cr_await", "gi_yieldfrom", "ag_await") if (w := getattr(waiting, n, None))), None
            )
    sys.stdout.flush()


class Terminal:
    """`reconvene attach --json`, a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[Frame] = []
        self.news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def attach(cls, session: str, data_dir: Path) -> Terminal:
        program = [sys.executable, "-c", "from reconvene.cli.main import main; main()"]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")}
        process = await asyncio.create_subprocess_exec(
            *program, "attach", session, "--json", "--data-dir", str(data_dir),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environ, limit=1 << 24,
        )  # fmt: skip
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            frame = json.loads(line)
            if "seq" in frame:
                self.events.append(frame)
            self.news.set()
        self.news.set()

    async def completed(self) -> None:
        """Until it has shown the end of the run. Raises AssertionError when it ended, or shows nothing new any more."""
        try:
            while not self.events or self.events[-1]["type"] != "completed":
                assert not self._reading.done(), "attach ended by itself"
                self.news.clear()
                async with asyncio.timeout(STUCK):
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"attach is stuck after {len(self.events)} events") from None

    async def leave(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading


class Page(Delivered):
    """A page's connection. `told` gets a line whenever a run is recovered."""

    def __init__(self, root: Path, told: Path) -> None:
        super().__init__("page", root=root.name)
        self._told = told

    def came(self, fresh: Sequence[Frame]) -> None:
        for e in fresh:
            if e["type"] == "run" and e["content"]["status"] == "recovering":
                with self._told.open("a") as file:
                    file.write(json.dumps({"session": self.link.session_id, "recovering": e["at"]}) + "\n")


class Person:
    """One session at a time: asks, answers, decides, and checks. `told`: see Page."""

    def __init__(self, server: Server, address: Address, root: Path, tally: Tally, told: Path) -> None:
        self.server, self.address, self.root, self.tally, self.told = server, address, root, tally, told
        self.page = Page(root, told)
        self.terminal: Terminal | None = None
        self._begun: set[str] = set()

    async def session(self) -> None:
        self._prepare()
        try:
            async with Following(self._where, self.page.link, self.page.happened) as client:
                await self._surely(
                    client, {"type": "default", "content": PROMPT, "config": {"review": True, "max_iterations": 3}}
                )
                assert self.page.link.session_id is not None
                self.terminal = await Terminal.attach(self.page.link.session_id, self.server.settings.data_dir)
                await self._follow(client)
                self.tally.connections += client.connections
            await self.terminal.completed()
            assert self.server.services is not None
            self._check(await self._rows(), self.terminal.events)
            self.tally.attached += 1
        except Exception as e:
            self.tally.violations.append(f"{self.page.link.session_id}: {type(e).__name__}: {str(e)[:500]}")
            print(self.tally.violations[-1], flush=True)
            await self._say_more()
        finally:
            if self.terminal is not None:
                await self.terminal.leave()
        self.tally.runs += 1

    def _prepare(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                path.unlink()
        for name, text in threefiles.FILES.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(text.encode())
        self.page, self.terminal, self._begun = Page(self.root, self.told), None, set()

    async def _where(self) -> Address:
        return self.address

    async def _surely(self, client: Following, frame: Frame) -> None:
        """Send it until the store takes it; with the same id, so it is done once."""
        frame = {"id": new_id(), **frame}
        try:
            async with asyncio.timeout(STUCK):
                while not await self._taken(client, frame):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"stuck: nobody says that {json.dumps(frame)[:300]} was taken") from None

    async def _taken(self, client: Following, frame: Frame) -> bool:
        try:
            await client.submit(frame)
        except ReconveneError as e:
            if e.code in TAKEN:
                return True
            if not e.retryable:
                raise
            return False
        self.tally.acknowledged += 1
        return True

    async def _follow(self, client: Following) -> None:
        """Answer and decide, each thing once, until the run has ended."""
        diffs = 0
        while True:
            view = self.page.view
            if view.runs and all(run.get("outcome") for run in view.runs.values()):
                return
            for item in view.pending():
                if item["id"] in self._begun:
                    continue
                self._begun.add(item["id"])
                if item["type"] == "diff":
                    decided = threefiles.decision(item, diffs)
                    await self._surely(client, {"type": "decision", "reply_to": item["id"], "content": decided})
                    diffs += 1
                else:
                    value = "yes" if "Really" in item["text"] else "retry"
                    await self._surely(client, {"type": "answer", "reply_to": item["id"], "content": value})
            self.page.news.clear()
            waiting = asyncio.ensure_future(self.page.news.wait())
            try:
                async with asyncio.timeout(STUCK):
                    await client.until(waiting)
            except TimeoutError:
                raise AssertionError(f"stuck: it shows {json.dumps(view.to_json())[-700:]}") from None

    async def _rows(self) -> list[Row]:
        assert self.server.services is not None and self.page.link.session_id is not None
        async with asyncio.timeout(STUCK):
            while True:
                try:
                    return await self.server.services.sessions.log.read(self.page.link.session_id, 0)
                except ReconveneError as e:
                    if not e.retryable:
                        raise
                    await asyncio.sleep(0.1)

    async def _say_more(self) -> None:
        """Into this node's output, and into the others': who waits for what, and what the database has of it."""
        (self.root.parent / STUCK_FILE).touch()
        print_tasks("the people's node")
        assert self.server.services is not None
        with contextlib.suppress(Exception):
            log = self.server.services.sessions.log
            assert isinstance(log, PostgresLog)
            print("followed:", log.follower.known)
            db = await log.address.connect()
            for table in ("pgqueuer", "node", "fence"):
                print(table, [dict(row) for row in await db.fetch(f"select * from {table} limit 50")])
            for row in await db.fetch("select id, status, run_id, head, stateful, claims from session order by n desc"):
                print("session", dict(row))
            await db.close()
        sys.stdout.flush()
        await asyncio.sleep(1.0)  # the others look every now and then

    def _check(self, log: list[Row], attached: list[Frame]) -> None:
        check_log(log)
        self.page.check(log)
        check_events("attach", attached, log)
        if [c["outcome"] for c in contents(log, "completed")] != ["success"]:
            raise AssertionError(f"it ended as {contents(log, 'completed')}")
        files = {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        if files != threefiles.WANTED:
            raise AssertionError(f"the files are {sorted(files)}, or not what was accepted")
