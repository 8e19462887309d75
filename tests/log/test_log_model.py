"""The store against a model of dicts and lists, under random operations, several in one commit, with restarts between."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from log_words import E

from reconvene.errors import ReconveneError
from reconvene.log.port import Command, Fence, NewEvent, NewSession
from reconvene.log.sqlite import SqliteLog

IDS = ("s_a", "s_b", "s_c")
sessions = st.sampled_from(IDS)
keys = st.none() | st.sampled_from(["k1", "k2", "k3"])
commands = st.none() | st.builds(
    Command, st.sampled_from(["o1", "o2"]), st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["x", "y"])
)
generations = st.none() | st.integers(1, 3)
events = st.lists(
    st.builds(
        lambda type, n, key, public: E(type, n, key=key, public=public),
        st.sampled_from("ab"),
        st.integers(0, 9),
        keys,
        st.booleans(),
    ),
    max_size=3,
)


@dataclass
class Model:
    """What the port promises, without disk or threads."""

    logs: dict[str, list[NewEvent]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    commands: dict[tuple[str, str], tuple[str, str, int]] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)

    def known(self, command: Command | None) -> Any:
        if command and (found := self.commands.get((command.owner, command.id))):
            body, session_id, seq = found
            return ("duplicate", session_id, seq, seq) if body == command.body else "id_conflict"
        return None

    def write(self, id: str, events: list[NewEvent], command: Command | None, title: str | None) -> Any:
        log = self.logs[id]
        first = len(log) + bool(events)
        log += events
        if title is not None:
            self.titles[id] = title
        if command:
            self.commands[command.owner, command.id] = (command.body, id, first)
        return ("accepted", id, first, len(log))

    def create(self, id: str, events: list[NewEvent], command: Command | None) -> Any:
        if known := self.known(command):
            return known
        if id in self.logs or id in self.gone:
            return "id_conflict"
        self.logs[id], self.titles[id] = [], ""
        return self.write(id, events, command, None)

    def append(
        self, id: str, events: list[NewEvent], command: Command | None, generation: int | None, title: str | None
    ) -> Any:
        if known := self.known(command):
            return known
        if id not in self.logs:
            return "no_such_session"
        if generation is not None and self.fences.get(f"{id}/r") != generation:
            return "fenced"
        for event in events:
            for seq, old in enumerate(self.logs[id], 1):
                if event.key is not None and old.key == event.key:
                    return ("duplicate", id, seq, seq)
        return self.write(id, events, command, title)

    def fork(self, source: str, upto: int, id: str, command: Command | None) -> Any:
        if known := self.known(command):
            return known
        if source not in self.logs:
            return "no_such_session"
        if upto > len(self.logs[source]):
            return "invalid_field"
        if id in self.logs or id in self.gone:
            return "id_conflict"
        self.logs[id], self.titles[id] = self.logs[source][:upto], ""
        return self.write(id, [], command, None)

    def delete(self, id: str) -> bool:
        if id not in self.logs:
            return False
        del self.logs[id], self.titles[id]
        self.fences.pop(f"{id}/r", None)
        self.gone.add(id)
        return True

    def claim(self, id: str) -> int:
        self.fences[f"{id}/r"] = self.fences.get(f"{id}/r", 0) + 1
        return self.fences[f"{id}/r"]


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.log: Any = None
        self.waiting: list[tuple[Any, Any]] = []
        self.restart()

    def teardown(self) -> None:
        self.settle()
        self.runner.run(self.log.close())
        self.runner.close()
        self.folder.cleanup()

    async def _outcome(self, awaitable: Any) -> Any:
        try:
            done = await awaitable
        except ReconveneError as e:
            return e.code
        if isinstance(done, Fence):
            return done.generation
        return done if isinstance(done, bool) else (done.status, done.session_id, done.first, done.last)

    def ask(self, awaitable: Any, expected: Any) -> None:
        """Ask later, together with what comes until `settle`: one commit, if the writer takes them at once."""
        self.waiting.append((awaitable, expected))

    @rule()
    def settle(self) -> None:
        waiting, self.waiting = self.waiting, []

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(self._outcome(awaitable) for awaitable, _ in waiting))

        assert self.runner.run(all_at_once()) == [expected for _, expected in waiting]

    @rule(id=sessions, events=events, command=commands)
    def create(self, id: str, events: list[NewEvent], command: Command | None) -> None:
        events = unlike(events)
        self.ask(
            self.log.create(NewSession(id, "o", "/r", "e"), events, command=command),
            self.model.create(id, events, command),
        )

    @rule(id=sessions, events=events, command=commands, generation=generations, title=st.none() | st.sampled_from("tu"))
    def append(
        self, id: str, events: list[NewEvent], command: Command | None, generation: int | None, title: str | None
    ) -> None:
        events = unlike(events)
        fence = None if generation is None else Fence(f"{id}/r", generation)
        update = {} if title is None else {"title": title}
        asked = self.log.append(id, events, command=command, fence=fence, update=update)
        self.ask(asked, self.model.append(id, events, command, generation, title))

    @rule(id=sessions)
    def claim(self, id: str) -> None:
        self.ask(self.log.claim(f"{id}/r"), self.model.claim(id))

    @rule(source=sessions, upto=st.integers(0, 4), id=sessions, command=commands)
    def fork(self, source: str, upto: int, id: str, command: Command | None) -> None:
        self.ask(
            self.log.fork(source, upto, NewSession(id, "o", "/r", "e"), command=command),
            self.model.fork(source, upto, id, command),
        )

    @rule(id=sessions)
    def delete(self, id: str) -> None:
        self.ask(self.log.delete(id, reason="deleted", at=1.0), self.model.delete(id))

    @rule()
    def restart(self) -> None:
        self.settle()
        if self.log is not None:
            self.runner.run(self.log.close())
        self.log = self.runner.run(SqliteLog.open(Path(self.folder.name) / "reconvene.db"))

    @invariant()
    def same(self) -> None:
        if self.waiting:
            return

        async def look() -> None:
            assert {row.id for row in await self.log.sessions()} == self.model.logs.keys()
            for id, expected in self.model.logs.items():
                rows = await self.log.read(id, 0)
                assert [(r.seq, r.type, r.content, r.key, r.public) for r in rows] == [
                    (seq, e.type, e.content, e.key, e.public) for seq, e in enumerate(expected, 1)
                ]
                session = await self.log.session(id)
                assert (session.head, session.title, session.bytes) == (
                    len(rows),
                    self.model.titles[id],
                    sum(len(r.content) for r in rows),
                )
                assert session.cursor.tag == await self.log.tag(id, session.head)
            for (owner, id), (body, session_id, seq) in self.model.commands.items():
                assert (await self.log.command(owner, id))[:2] == (session_id, seq)
                assert (await self.log.command(owner, id))[3] == body

        self.runner.run(look())


def unlike(events: list[NewEvent]) -> list[NewEvent]:
    """Without a second event of one key: that is refused before it reaches the store."""
    seen: set[str] = set()
    return [e for e in events if e.key is None or not (e.key in seen or seen.add(e.key))]


LogMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
TestLog = LogMachine.TestCase
