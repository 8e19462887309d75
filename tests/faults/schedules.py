"""The real server and the real client under a clock, a disk and a network of a seed's making.

The event loop keeps its own order; what comes from outside of it (the disk, threads, the network, timers) comes when the seed says. Time
is virtual. The server is everything from a WebSocket connection down to SQLite; its runs are played by a script through the same
calls that runs make. Two clients, as tabs, follow one session while the network is cut, goes silent, and the server dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import random
import selectors
import shutil
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from playing import play

from house import check_log
from reconvene.client.link import Broken, HeldBack, Link, Settled, TurnedAway
from reconvene.config import Limits, Settings
from reconvene.log import sqlite, writer
from reconvene.log.feed import Feed
from reconvene.log.port import Row
from reconvene.log.sqlite import SqliteLog
from reconvene.log.uptime import Uptime
from reconvene.protocol.follower import Follower
from reconvene.protocol.frames import ServerInfo
from reconvene.protocol.view import reduce
from reconvene.server.capacity import Capacity
from reconvene.server.connection import Connection
from reconvene.server.connections import Connections
from reconvene.server.gate import Principal
from reconvene.server.metrics import Metrics
from reconvene.sessions.service import Sessions
from reconvene.workspace.roots import Roots

PROMPTS, WORDS = 2, 5
TICK = 1e-6
"""Seconds between what must stay in order: timers of one moment have none."""
LIMITS = Limits(heartbeat=4.0)


class Loop(asyncio.SelectorEventLoop):
    """Virtual time: it goes on to the next timer when nothing is ready. Threads' work is done here, after a while of the seed's choice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(selectors.SelectSelector())
        self.rng, self.clock = rng, 0.0
        self.dead: Callable[[], bool] = lambda: False
        """Whether the server that is running now has died, asked later."""
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout:
                self.clock += timeout
            assert timeout is not None, "everybody waits for nothing"
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.clock

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done, dead = self.create_future(), self.dead

        def work() -> None:
            if done.cancelled() or dead():
                return  # what a dead process had asked is answered to nobody
            try:
                done.set_result(func(*args))
            except BaseException as e:
                done.set_exception(e)

        self.call_later(self.rng.choice((0.0, 0.001, 0.02, 0.3)) * self.rng.random(), work)
        return done


class Disk:
    """Stands in for the writer's thread: a batch is taken, committed and told of at times of the seed's choice, in order."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.dead = loop, False
        self._told_until = 0.0

    def run(self, w: writer.Writer) -> None:
        if self.dead:
            return
        taken: list[Any] = []
        with contextlib.suppress(queue.Empty):
            while len(taken) < w.batch:
                taken.append(w._queue.get_nowait())
        if taken:
            answers, commits = w._write([t for t in taken if t is not None])
            self._told_until = max(self._told_until + TICK, self.loop.time() + self.delay())

            def tell() -> None:
                if not self.dead:
                    w._deliver(answers, commits)

            self.loop.call_at(self._told_until, tell)

    def delay(self) -> float:
        return self.loop.rng.choice((0.0, 0.002, 0.05)) * self.loop.rng.random()


class NoWatchdog:
    def __init__(self, *_: Any) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def without_threads(loop: Loop, disks: list[Disk]) -> Iterator[None]:
    class NoThread:
        def __init__(self, **_: Any) -> None: ...

        def start(self) -> None: ...

        def join(self) -> None: ...

    def submit(self: writer.Writer, request: Any) -> None:
        disk = disks[-1]
        if self._queue.empty():
            loop.call_later(disk.delay(), disk.run, self)
        self._queue.put(request)

    fake = types.SimpleNamespace(Thread=NoThread, Lock=threading.Lock, Event=threading.Event)
    with (
        mock.patch.object(writer, "threading", fake),
        mock.patch.object(writer.Writer, "submit", submit),
        mock.patch.object(sqlite, "Watchdog", NoWatchdog),
    ):
        yield


class Pipe:
    """One connection: frames in order, each after a while, until it is `cut`; nobody hears of that if it is `silent`."""

    def __init__(self, net: Net, heard: Callable[[str | None, int | None], None]) -> None:
        self.net, self._heard = net, heard
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.open = True
        self.silent = False
        self._last = {"up": 0.0, "down": 0.0}
        # the server's side: a Wire
        self.on_writable: Callable[[], None] | None = None
        self.blocked = False
        self.buffered = self.flushed = 0

    def _later(self, way: str, work: Callable[[], None]) -> None:
        loop = self.net.loop
        self._last[way] = max(
            self._last[way] + TICK, loop.time() + loop.rng.choice((0.001, 0.01, 0.2)) * loop.rng.random()
        )
        loop.call_at(self._last[way], work)

    def write(self, frame: bytes) -> bool:
        size = frame[1] & 0x7F
        payload = frame[2 if size < 126 else 4 if size == 126 else 10 :].decode()
        self.flushed += len(frame)
        self._later("down", lambda: self._heard(payload, None) if self.open and not self.silent else None)
        return self.open

    def close(self, code: int, reason: str = "") -> None:
        self._later("down", lambda: self.cut(code))

    def abort(self) -> None:
        self.cut()

    def send(self, frame: dict[str, Any]) -> None:
        text = json.dumps(frame)

        def arrive() -> None:
            if self.open and not self.silent:
                self.inbox.put_nowait({"type": "websocket.receive", "text": text})

        self._later("up", arrive)

    def cut(self, code: int | None = None) -> None:
        if self.open:
            self.open = False
            self.inbox.put_nowait({"type": "websocket.disconnect"})
            if not self.silent:
                self._heard(None, code)


class Server:
    """From a connection down to the file. `die` forgets everything that is not in the file."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in order: a seed is one schedule

    async def start(self) -> None:
        loop = self.net.loop
        self.disk = Disk(loop)
        self.net.disks.append(self.disk)
        disk = self.disk
        loop.dead = lambda: disk.dead
        settings = Settings(data_dir=self.folder / "data", limits=LIMITS)
        self.log = await SqliteLog.open(settings.database_file)
        roots = Roots(data_dir=settings.data_dir, limits=LIMITS)
        roots.add(self.folder / "project")
        uptime = await Uptime.load(self.log, loop.time)
        self.sessions = Sessions(self.log, Feed(self.log, LIMITS), roots, settings, uptime)
        info = ServerInfo(boot="b", version="0")
        self.connections = Connections(self.sessions, Capacity(LIMITS), Metrics(), LIMITS, info, clock=loop.time)
        self.playing: set[str] = set()
        self.sessions.listeners.append(lambda id, rows: self.play(id))
        self.spawn(self.connections._tick_for_ever())
        for row in await self.log.sessions():
            self.play(row.id)

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)
        if not self.disk.dead and not task.cancelled() and (error := task.exception()):
            self.net.broken.append(error)

    def connect(self, pipe: Pipe) -> None:
        self.spawn(Connection(self.connections, pipe, Principal("owner", "bearer")).run(pipe.inbox.get))

    async def die(self) -> None:
        self.disk.dead = True
        for task in list(self.tasks):
            task.cancel()
        self.log._readers.close()
        self.log._writer._drop_connection()

    def play(self, session_id: str) -> None:
        if session_id not in self.playing:
            self.playing.add(session_id)
            self.spawn(self._runs(session_id))

    async def _runs(self, id: str) -> None:
        """What a run does, step by step, going on from what the log has: some words, a question, an answer."""
        try:
            await play(self.sessions, id, WORDS, lambda: asyncio.sleep(self.net.loop.rng.random() * 0.1))
        finally:
            self.playing.discard(id)


class Tab:
    """A client: the product's `Link`, over pipes."""

    def __init__(self, net: Net, name: str, prompts: int) -> None:
        self.net, self.name = net, name
        self.link = Link(client={"id": name, "name": name}, random=net.loop.rng.random)
        for n in range(prompts):
            self.link.put({"type": "default", "id": f"{name}-{n}", "content": f"prompt {n}", "config": {}})
        self.receipts: dict[str, Any] = {}
        self.answered: set[str] = set()
        self.shown: list[dict[str, Any]] = []

    async def run(self) -> None:
        loop = self.net.loop
        while True:
            began = loop.time()
            code = await self._once() if self.net.reachable else None
            after = self.link.closed(code, lived=loop.time() - began) if self.net.reachable else self.link.refused(None)
            assert after.error is None, f"{self.name} stops: {after.error}"
            await asyncio.sleep(after.delay + 0.01)

    async def _once(self) -> int | None:
        heard: asyncio.Queue[tuple[str | None, int | None]] = asyncio.Queue()
        pipe = self.net.connect(lambda text, code: heard.put_nowait((text, code)))
        sent = set(self.link.outbox)
        for frame in self.link.opening():
            pipe.send(frame)
        try:
            while True:
                try:
                    async with asyncio.timeout(self.link.heartbeat + 10):
                        text, code = await heard.get()
                except TimeoutError:
                    return 4000
                if text is None:
                    return code
                for happening in self.link.receive(text):
                    match happening:
                        case Broken():
                            return happening.code
                        case TurnedAway():
                            raise AssertionError(f"turned away: {happening.error}")
                        case Settled():
                            if happening.receipt:
                                self.receipts[happening.id] = happening.receipt
                            else:
                                assert happening.error and happening.error.code in ("already_answered",), happening
                        case HeldBack():
                            sent.discard(happening.id)
                if self.link.session_id and not self.net.session:
                    self.net.session = self.link.session_id
                for item in self.link.follower.view.pending():
                    if item["id"] not in self.answered:
                        self.answered.add(item["id"])
                        answer = {
                            "type": "answer",
                            "id": f"{self.name}-{item['id']}",
                            "reply_to": item["id"],
                            "content": "this",
                        }
                        self.link.put(answer)
                for id in [i for i in self.link.outbox if i not in sent]:
                    sent.add(id)
                    pipe.send(self.link.outbox[id])
        finally:
            pipe.cut()


class Net:
    """Everything between and around."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop, self.folder = loop, folder
        self.disks: list[Disk] = []
        self.pipes: list[Pipe] = []
        self.server: Server | None = None
        self.partitioned = False
        self.session: str | None = None
        self.deaths = self.cuts = 0
        self.broken: list[BaseException] = []
        """What ended a task of a living server."""

    @property
    def reachable(self) -> bool:
        return self.server is not None and not self.partitioned

    def connect(self, heard: Callable[[str | None, int | None], None]) -> Pipe:
        assert self.server
        pipe = Pipe(self, heard)
        self.pipes.append(pipe)
        self.server.connect(pipe)
        return pipe

    async def boot(self) -> None:
        server = Server(self, self.folder)
        await server.start()
        self.server = server

    async def trouble(self) -> None:
        rng = self.loop.rng
        for _ in range(rng.randint(1, 4)):
            await asyncio.sleep(rng.random() * 1.5)
            match rng.choice(("death", "death", "cut", "silence")):
                case "death":
                    assert self.server
                    dying, self.server = self.server, None
                    await dying.die()
                    self.deaths += 1
                    for pipe in self.pipes:
                        pipe.silent = rng.random() < 0.3  # its machine is gone: nobody says so
                        pipe.cut()
                    await asyncio.sleep(rng.random() * 2)
                    await self.boot()
                case "cut":
                    self.cuts += 1
                    for pipe in self.pipes:
                        pipe.cut()
                case _:
                    self.cuts += 1
                    self.partitioned = True
                    for pipe in self.pipes:
                        pipe.silent = True
                    await asyncio.sleep(rng.random() * 5)
                    self.partitioned = False


async def scenario(loop: Loop, folder: Path) -> tuple[int, int, list[Any]]:
    """One session to its end. Returns deaths, cuts, and the trace by which two runs of a seed are compared."""
    net = Net(loop, folder)
    with without_threads(loop, net.disks):
        await net.boot()
        first, second = Tab(net, "first", PROMPTS), Tab(net, "second", 0)
        tasks = [asyncio.create_task(first.run())]

        async def later() -> None:
            while net.session is None:
                await asyncio.sleep(0.05)
            second.link.follower = Follower(net.session)
            await second.run()

        tasks.append(asyncio.create_task(later()))
        trouble = asyncio.create_task(net.trouble())
        try:
            async with asyncio.timeout(400):
                await trouble
                while not net.broken and not (converged(first) and converged(second) and same(first, second)):
                    for task in tasks:
                        if task.done():
                            task.result()
                    await asyncio.sleep(0.5)
        except TimeoutError:
            state = [t.link.follower.view.to_json() for t in (first, second)]
            raise AssertionError(f"no end: {json.dumps(state)[:1500]}") from None
        finally:
            for task in [*tasks, trouble]:
                task.cancel()
        if net.broken:
            raise net.broken[0]
        assert net.server and net.session
        rows = await net.server.log.read(net.session, 0)
        judge(rows, first, second)
        await net.server.die()
        return net.deaths, net.cuts, [(r.type, r.run_id) for r in rows] + [round(loop.time(), 6)]


def converged(tab: Tab) -> bool:
    runs = tab.link.follower.view.runs
    return len(runs) == PROMPTS and all(r.get("outcome") for r in runs.values()) and not tab.link.outbox


def same(first: Tab, second: Tab) -> bool:
    return bool(first.link.follower.view.to_json() == second.link.follower.view.to_json())


def judge(rows: list[Row], first: Tab, second: Tab) -> None:
    check_log(rows)
    assert sum(r.type == "prompt" for r in rows) == PROMPTS, "a prompt twice, or lost"
    assert sum(r.type == "answered" for r in rows) == PROMPTS
    texts = [r.run_id for r in rows if r.type == "text"]
    assert all(texts.count(run) >= WORDS for run in set(texts))
    shown = reduce([json.loads(r.wire()) for r in rows if r.public]).to_json()
    assert shown == first.link.follower.view.to_json() == second.link.follower.view.to_json()
    at = {r.seq: r.type for r in rows}
    for tab in (first, second):
        for id, receipt in tab.receipts.items():
            assert receipt.status == "duplicate" or at.get(receipt.seq) in ("prompt", "answered"), (id, receipt)


def run(seed: int) -> tuple[int, int, list[Any]]:
    """The schedule of one seed. Raises AssertionError for what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="reconvene-schedule-"))
    (folder / "data").mkdir(mode=0o700)
    (folder / "project").mkdir()
    (folder / "project" / "a.txt").write_text("a\n")
    loop = Loop(random.Random(seed))
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(scenario(loop, folder))
    finally:
        with contextlib.suppress(Exception):
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)
        shutil.rmtree(folder, ignore_errors=True)
