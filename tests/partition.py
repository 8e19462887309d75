"""A node between which and the database nothing passes any more, in neither direction and without a word: its runs go on at another, and
whatever it sent before, or sends when it is back, changes nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic_ai.models.function import FunctionModel

from house import check_log, contents
from nodes import Node
from postgres import fresh_url
from scripted import scripted

SYNC = 5
"""Bytes of the message with which a client of PostgreSQL ends what it asks. Until it is there the server waits for the rest."""


class BlackHole:
    """A proxy to the database's socket. While `open` is clear nothing passes; what came meanwhile passes afterwards, or never."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self.socket = f"{query['host'][0]}/.s.PGSQL.5432" if "host" in query else None
        self.address = (parts.hostname, parts.port or 5432)
        self.search_path = query["search_path"][0]
        self.user, self.database = parts.username or "postgres", parts.path
        self.open = asyncio.Event()
        self.open.set()
        self.held = 0
        self.halfway: bytes | None = None
        """What is in the message in whose middle it closes by itself: PostgreSQL gets all of it but the end."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> str:
        """The URL through it."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self.user}@127.0.0.1:{port}{self.database}?search_path={self.search_path}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        if self.socket is not None:
            there = await asyncio.open_unix_connection(self.socket)
        else:
            there = await asyncio.open_connection(*self.address)
        self._writers += [writer, there[1]]
        for a, b, of_node in ((reader, there[1], True), (there[0], writer, False)):
            task = asyncio.create_task(self._pass(a, b, of_node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, of_node: bool) -> None:
        try:
            while data := await reader.read(65536):
                if of_node and self.halfway is not None and self.halfway in data and self.open.is_set():
                    self.open.clear()
                    writer.write(data[:-SYNC])
                    data = data[-SYNC:]
                if not self.open.is_set():
                    self.held += len(data)
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        self.open.set()
        self._server.close()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def steps(gate: asyncio.Event, begun: asyncio.Event) -> FunctionModel:
    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        yield "a beginning"
        begun.set()
        for n in range(50):
            yield f" stale{n}"
            await asyncio.sleep(0.01)
        await gate.wait()
        yield " and a stale end"

    return FunctionModel(stream_function=stream, model_name="steps")


async def partitioned(hole: BlackHole, tmp_path: Path, *, resets: bool, seed: int, halfway: bool = False) -> int:
    """A node is cut off at a random moment of its run, another takes over, and the first comes back, either with what it sent meanwhile
    or with its connections reset. Returns how many bytes of it were held back until then.

    `halfway`: it is cut off in the middle of writing a row, with the session's row locked.

    Raises AssertionError when anything of it is in the log, or it is no node like any other afterwards.
    """
    direct = fresh_url().partition("search_path=")[0] + f"search_path={hole.search_path}"
    gate, begun = asyncio.Event(), asyncio.Event()
    a = await Node.join(tmp_path, "a", await hole.start(), steps(gate, begun))
    b = None
    try:
        session = await a.ask("hello")
        await asyncio.wait_for(begun.wait(), 30)
        if halfway:
            hole.halfway = b"stale"
            async with asyncio.timeout(30):
                while hole.open.is_set():
                    await asyncio.sleep(0.01)
            hole.halfway = None
        else:
            await asyncio.sleep(random.Random(seed).uniform(0.0, 0.3))
            hole.open.clear()
        b = await Node.join(tmp_path, "b", direct, scripted(["an answer"]))
        rows = await b.completed(session)
        gate.set()  # the zombie goes on, and wants to write
        async with asyncio.timeout(60):
            while not hole.held:
                await asyncio.sleep(0.01)
        held = hole.held
        if resets:
            hole.reset()
        hole.open.set()
        async with asyncio.timeout(60):
            while a.supervisor.active:
                await asyncio.sleep(0.01)
        await a.log.put("written", "everything before this")  # also what nobody waited for
        after = await b.rows(session)
        check_log(after)
        assert after == rows
        assert contents(after, "completed")[0]["text"] == "an answer"
        # And it is a node like any other again.
        await a.ask("again", session)
        check_log(await b.completed(session, runs=2))
        return held
    finally:
        hole.open.set()
        for node in (a, b):
            if node is not None:
                await node.close()
