"""The client for programs without asyncio: the same calls, each waits until it is done.

with Reconvene.local() as reconvene:
    session = reconvene.create(root="/home/me/shop")
    print(session.ask("How are prices rounded?").text)
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from reconvene.client.asynchronous import AsyncReconvene, AsyncSession, Verdict
from reconvene.client.link import Receipt
from reconvene.client.told import Answer, Event, Hit, Me, Pending, Root, SessionInfo

T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own, begun at its first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._beginning = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._beginning:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="reconvene", daemon=True)
                self._thread.start()
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result()
        except BaseException:  # Ctrl-C comes here, in the thread that waits
            done.cancel()
            raise

    def each(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """What an asynchronous iterator gives, one at a time."""
        end = object()

        async def following() -> T | object:
            return await anext(items, end)

        try:
            while (item := self.run(following())) is not end:
                yield item  # type: ignore[misc]
        finally:
            self.run(items.aclose())

    def close(self) -> None:
        if self._loop is not None and self._thread is not None:
            self.run(self._loop.shutdown_asyncgens())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None


class Reconvene:
    """A server; see `AsyncReconvene`. Use it in `with`, or `close` it."""

    def __init__(self, url: str, token: str, *, name: str = "python", patience: float = math.inf) -> None:
        self._begin(AsyncReconvene(url, token, name=name, patience=patience))

    @classmethod
    def local(
        cls, data_dir: str | Path | None = None, *, name: str = "python", patience: float = math.inf
    ) -> Reconvene:
        """The server of a data folder of this machine (default: the usual one), on whatever port it is at the time."""
        made = cls.__new__(cls)
        made._begin(AsyncReconvene.local(data_dir, name=name, patience=patience))
        return made

    def _begin(self, reconvene: AsyncReconvene) -> None:
        self._async, self._loop = reconvene, _Loop()

    def __enter__(self) -> Reconvene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End its thread. What runs on the server goes on."""
        self._loop.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Any request of the HTTP API; see `AsyncReconvene.call`."""
        return self._loop.run(self._async.call(method, path, body))

    def me(self) -> Me:
        """Who the server takes this program for, and what it serves."""
        return self._loop.run(self._async.me())

    def add_root(self, path: str | Path) -> Root:
        """Serve one more code base."""
        return self._loop.run(self._async.add_root(path))

    def create(self, root: str | Path | None = None, *, title: str | None = None) -> Session:
        """A new session; `root`: name or path of a served code base, which may be left out when there is one."""
        return Session(self._loop.run(self._async.create(root, title=title)), self._loop)

    def session(self, session_id: str) -> Session:
        """A session that exists. Nothing is asked of the server yet."""
        return Session(self._async.session(session_id), self._loop)

    def sessions(self, *, archived: bool | None = None) -> Generator[SessionInfo, None, None]:
        """Every session, the one used last first. `archived`: only those that are, or are not."""
        return self._loop.each(self._async.sessions(archived=archived))

    def find(self, words: str, *, limit: int = 20) -> list[Hit]:
        """Where all these words were said at one place, in any session; best first."""
        return self._loop.run(self._async.find(words, limit=limit))


class Session:
    """One session of a server; see `AsyncSession`."""

    def __init__(self, session: AsyncSession, loop: _Loop) -> None:
        self.id = session.id
        self._async, self._loop = session, loop

    def info(self) -> SessionInfo:
        """The session as it is now."""
        return self._loop.run(self._async.info())

    def events(self, after: str | Event | None = None) -> Generator[Event, None, None]:
        """The session from its beginning (or behind `after`), then live, each event once; see `AsyncSession.events`."""
        return self._loop.each(self._async.events(after))

    def ask(
        self, text: str, *, on_event: Callable[[Event], object] | None = None, config: Mapping[str, Any] | None = None
    ) -> Answer:
        """Send a prompt and wait for what becomes of it. `on_event` is called in another thread."""
        return self._loop.run(self._async.ask(text, on_event=on_event, config=config))

    def wait(self, run_id: str | None = None, *, on_event: Callable[[Event], object] | None = None) -> Answer:
        """What becomes of a run (default: the current one, else the last one)."""
        return self._loop.run(self._async.wait(run_id, on_event=on_event))

    def prompt(self, text: str, *, delivery: Literal["queue", "steer"] = "queue") -> Receipt:
        """Send a prompt; returns as soon as it is on the server's disk."""
        return self._loop.run(self._async.prompt(text, delivery=delivery))

    def pending(self) -> list[Pending]:
        """What waits for a person, oldest first."""
        return self._loop.run(self._async.pending())

    def answer(self, question: str | Pending, value: str | bool | dict[str, Any]) -> Receipt:
        """Answer a question or a confirmation."""
        return self._loop.run(self._async.answer(question, value))

    def decide(
        self, diff: str | Pending, verdict: Verdict, *, hunks: list[str] | None = None, feedback: str | None = None
    ) -> Receipt:
        """Decide on a change; see `AsyncSession.decide`."""
        return self._loop.run(self._async.decide(diff, verdict, hunks=hunks, feedback=feedback))

    def cancel(self, run_id: str | None = None) -> Receipt:
        """Stop a run (default: the current one)."""
        return self._loop.run(self._async.cancel(run_id))

    def act(self, name: str, **args: Any) -> Receipt:
        """Everything else that a person can do."""
        return self._loop.run(self._async.act(name, **args))

    def change(
        self, *, title: str | None = None, pinned: bool | None = None, archived: bool | None = None
    ) -> SessionInfo:
        """Rename, pin or archive it."""
        return self._loop.run(self._async.change(title=title, pinned=pinned, archived=archived))

    def fork(self, upto: int | None = None) -> Session:
        """A new session that begins with a copy of this one."""
        return Session(self._loop.run(self._async.fork(upto)), self._loop)

    def delete(self) -> None:
        """Delete it for good."""
        self._loop.run(self._async.delete())
