"""A real server whose clocks can be set, with a scripted model: `python soaked.py DATA ROOT [LEAK]`.

Orders come as JSON lines on standard input, answers go as JSON lines to standard output. What is compressed is idle time: `skip` lets
all clocks go on by so many seconds; `wall` sets the clock on the wall alone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import clocks
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

import reconvene.agents.models
from reconvene.adapters import endpoints
from reconvene.config import Limits, Settings
from reconvene.log.port import Log
from reconvene.log.uptime import Uptime
from reconvene.server.asgi import Receive
from reconvene.server.connection import Connection
from reconvene.server.lifecycle import Ready, Server
from reconvene.sessions.memory import Memory
from reconvene.sessions.sweeper import Sweeper
from scripted import turn_of

ANSWER = " ".join(f"word{n}" for n in range(60))


async def _stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """By the first word of the prompt: `look` searches and reads, `ask` asks back, `change N` makes a file, `slow` takes its time."""
    told = info.instructions or ""
    prompt, step = turn_of(messages)
    calls: list[tuple[str, dict[str, Any]]] = []
    if "answer with edits" in told:
        number = (re.findall(r"make made(\d+)", prompt) or ["0"])[-1]
        text = f"*** create made{number}.py\n<<<<<<< CONTENT\nmade = {number}\n>>>>>>> END\n"
    elif "You review" in told:
        text = "APPROVE\n\nFine."
    else:
        text = ANSWER
        if step == 0 and prompt.startswith("look"):
            calls = [("search", {"query": "sweep"}), ("read_file", {"path": "src/hub.py"})]
        elif step == 0 and prompt.startswith("ask"):
            calls = [("ask_user", {"question": "Which?"})]
        elif step == 0 and prompt.startswith("change"):
            calls = [("update_code", {"task": f"make made{prompt.split()[1]}", "files": []})]
    if calls:
        for n, (name, args) in enumerate(calls):
            yield {n: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"call_{n}")}
        return
    for word in text.split(" ") if text is ANSWER else [text]:
        yield word if text is not ANSWER else f"{word} "
        if prompt.startswith("slow"):
            await asyncio.sleep(0.01)


MODEL = FunctionModel(stream_function=_stream, model_name="scripted")


def nothing_is_unloaded() -> None:
    Memory.unload_idle = lambda self, older_than: 0  # type: ignore[method-assign]


def _at_each_connection(leave: Callable[[], object]) -> None:
    kept: list[object] = []
    run = Connection.run

    async def leaking(self: Connection, receive: Receive) -> None:
        kept.append(leave())
        await run(self, receive)

    Connection.run = leaking  # type: ignore[method-assign]


def connections_leave_a_task() -> None:
    _at_each_connection(lambda: asyncio.create_task(asyncio.sleep(1e9)))


def connections_leave_a_descriptor() -> None:
    _at_each_connection(lambda: os.open(os.devnull, os.O_RDONLY))


def the_dead_are_kept() -> None:
    async def nothing(*_: Any) -> bool:
        return False

    Sweeper._delete = nothing  # type: ignore[method-assign,assignment]


LEAKS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "nothing_is_unloaded": nothing_is_unloaded,
    "connections_leave_a_task": connections_leave_a_task,
    "connections_leave_a_descriptor": connections_leave_a_descriptor,
    "the_dead_are_kept": the_dead_are_kept,
}


class Soaked:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = 0

    async def ready(self) -> dict[str, Any]:
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name() == "start runs"))
        return {"port": self.port, "token": (self.server.settings.data_dir / "owner.token").read_text().strip()}

    async def skip(self, seconds: float) -> None:
        clocks.skipped += seconds

    async def wall(self, seconds: float) -> None:
        clocks.ahead += seconds

    async def sweep(self) -> dict[str, int]:
        assert self.server.services is not None
        swept = await Sweeper(self.server.services.sessions).sweep()
        return {"unloaded": swept.unloaded, "archived": swept.archived, "deleted": swept.deleted}

    async def figures(self) -> dict[str, float]:
        assert self.server.services is not None
        sessions, settings = self.server.services.sessions, self.server.settings
        await asyncio.sleep(0.2)  # what ends with a connection has ended
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        stored = sum(p.stat().st_size for p in settings.data_dir.glob("reconvene.db*"))
        contents = sum(1 for p in (settings.data_dir / "contents").rglob("*") if p.is_file())
        return {
            "memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "loaded": len(sessions.memory),
            "stored": stored / 1e6,
            "sessions": len(await sessions.log.sessions()),
            "contents": contents,
            "objects": len(gc.get_objects()),
        }


def obey(soaked: Soaked) -> None:
    loop = asyncio.get_running_loop()
    orders: dict[str, Callable[..., Awaitable[Any]]] = {
        name: getattr(soaked, name) for name in ("ready", "skip", "wall", "sweep", "figures")
    }

    def listen() -> None:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                made = asyncio.run_coroutine_threadsafe(_awaited(orders[order.pop("do")](**order)), loop).result()
                answer = {"ok": made}
            except Exception as e:
                answer = {"error": repr(e)}
            print(json.dumps(answer), flush=True)
        soaked.server.stop()

    threading.Thread(target=listen, name="orders", daemon=True).start()


async def _awaited(waiting: Awaitable[Any]) -> Any:
    return await waiting


async def main(data: str, root: str, leak: str) -> None:
    LEAKS[leak]()
    load = Uptime.load.__func__  # type: ignore[attr-defined]

    async def skipping(cls: type[Uptime], log: Log, clock: Callable[[], float] = time.monotonic) -> Uptime:
        made = await load(cls, log, clocks.uptime)
        assert isinstance(made, Uptime)
        return made

    Uptime.load = classmethod(skipping)  # type: ignore[method-assign,assignment]
    reconvene.agents.models.resolve = lambda *_: MODEL  # type: ignore[assignment]
    limits = Limits(connections=2000, connections_per_user=2000, handshakes_per_second=10_000)
    settings = Settings(data_dir=Path(data), port=0, limits=limits, sweep_interval=1e6)

    def ready(ready: Ready) -> None:
        soaked.port = ready.port
        obey(soaked)

    server = Server(settings, [root], on_ready=ready, endpoints=endpoints)
    soaked = Soaked(server)
    await server.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "none"))
