"""A child process that makes scripted runs: by the product, with its log on a disk, and by pydantic-ai alone.

`python -m bench.stepping FD FOLDER`. The model, what it says, the tool it calls and what that returns are the same on both sides.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.usage import UsageLimits

from bench.control import Command, obey
from reconvene.agents.orchestrator import ROLE
from reconvene.config import Limits, Settings
from reconvene.index import Indexes
from reconvene.log.feed import Feed
from reconvene.log.sqlite import SqliteLog
from reconvene.log.uptime import Uptime
from reconvene.runs.attempt import Surroundings
from reconvene.runs.supervisor import Supervisor
from reconvene.sessions.rows import Who
from reconvene.sessions.service import Sessions
from reconvene.workspace import Workspace
from reconvene.workspace.roots import Roots

WHO = Who("owner", "bench")
LINES = 40
"""Of what a step reads."""
WORDS = 100
"""Of the answer."""
LIMITS = Limits(
    model_requests=1000, tool_calls=1000, attempts_without_progress=1000
)  # the same step is recovered again and again


class Script:
    """A model that reads a file step by step and answers with the last one. `held`: at the last step it waits for `go`."""

    def __init__(self) -> None:
        self.steps = 10
        self.held = False
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self.model = FunctionModel(stream_function=self._stream, model_name="script")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        step = _steps(messages)
        if step + 1 < self.steps:
            arguments = json.dumps({"path": "long.py", "start": step * LINES + 1, "end": (step + 1) * LINES})
            yield {0: DeltaToolCall(name="read_file", json_args=arguments, tool_call_id=f"call_{step}")}
            return
        self.asked.set()
        if self.held:
            await self.go.wait()
        for n in range(WORDS):
            yield f"word{n} "


def _steps(messages: list[ModelMessage]) -> int:
    """Responses since the last prompt."""
    count = 0
    for message in reversed(messages):
        if isinstance(message, ModelRequest) and any(isinstance(p, UserPromptPart) for p in message.parts):
            break
        count += isinstance(message, ModelResponse)
    return count


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "project"
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "long.py").write_text("".join(f"value_{n} = compute({n}) + offset\n" for n in range(10_000)))
        self.script = Script()
        self.settings = Settings(data_dir=folder / "data", limits=LIMITS)
        (folder / "data").mkdir(mode=0o700, exist_ok=True)

    async def open(self) -> None:
        """Everything a server has below its sockets; what was interrupted does not go on yet."""
        self.log = await SqliteLog.open(self.settings.database_file)
        roots = Roots(data_dir=self.settings.data_dir, limits=LIMITS)
        roots.add(self.root)
        self.sessions = Sessions(self.log, Feed(self.log, LIMITS), roots, self.settings, await Uptime.load(self.log))
        self.indexes = Indexes(self.settings.data_dir, LIMITS)
        around = Surroundings(self.sessions, self.indexes, lambda _: self.script.model)
        self.supervisor = Supervisor(self.sessions, around)
        self._ended = asyncio.Event()
        self.sessions.listeners.append(self._heard)

    def _heard(self, _session: str, rows: Any) -> None:
        if any(row.type == "completed" for row in rows):
            self._ended.set()

    async def _close(self) -> None:
        await self.supervisor.drain()
        await self.log.close()
        await self.indexes.close()

    async def start(self) -> None:
        await self.open()
        await self.supervisor.start()

    async def ours(self, steps: int) -> float:
        """CPU of one run from the prompt to its end, in ms."""
        self.script.steps = steps
        session = (await self.sessions.attach(WHO, session_id=None)).session.id
        self._ended.clear()
        before = time.process_time()
        await self.sessions.submit(WHO, session, id=None, text="Read the file.")
        await self._ended.wait()
        return 1000 * (time.process_time() - before)

    async def plain(self, steps: int) -> float:
        """The same by pydantic-ai alone, streamed."""
        self.script.steps = steps
        workspace = Workspace.open(self.root, data_dir=None, limits=LIMITS)
        agent = Agent(self.script.model, instructions=ROLE)

        @agent.tool_plain
        async def read_file(path: str, start: int = 1, end: int | None = None) -> str:
            """Read lines of a file, numbered.

            Args:
                path: From the code base's root.
                start: First line, from 1.
                end: Last line, inclusive.
            """
            got = await asyncio.to_thread(workspace.read, path, start=start, end=end or start + 300)
            return "\n".join(f"{n}| {line}" for n, line in enumerate(got.text.split("\n"), start))

        before = time.process_time()
        async with agent.run_stream_events("Read the file.", usage_limits=UsageLimits(request_limit=None)) as events:
            async for _ in events:
                pass
        return 1000 * (time.process_time() - before)

    async def interrupted(self, steps: int) -> str:
        """A session whose run was ended in its last step but one of so many."""
        self.script.steps, self.script.held = steps, True
        self.script.asked.clear()
        session = (await self.sessions.attach(WHO, session_id=None)).session.id
        await self.sessions.submit(WHO, session, id=None, text="Read the file.")
        await self.script.asked.wait()
        return session

    async def recovered(self) -> dict[str, float]:
        """Everything forgotten but what is on disk; then, from when a server would be ready to when the run's model is asked again."""
        await self._close()
        self.script.asked.clear()
        await self.open()
        cpu, wall = time.process_time(), time.perf_counter()
        await self.supervisor.start()
        await self.script.asked.wait()
        return {"cpu": 1000 * (time.process_time() - cpu), "wall": 1000 * (time.perf_counter() - wall)}

    async def finish(self) -> int:
        """Let the interrupted run end; how many responses it has in the log."""
        self._ended.clear()
        self.script.held = False
        self.script.go.set()
        await self._ended.wait()
        return self.script.steps


async def main() -> None:
    bench = Bench(Path(sys.argv[2]))
    await bench.start()
    commands: dict[str, Command] = {
        "ours": bench.ours, "plain": bench.plain, "interrupted": bench.interrupted, "recovered": bench.recovered,
        "finish": bench.finish,
    }  # fmt: skip
    obey(int(sys.argv[1]), commands)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
