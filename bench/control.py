"""How the bench speaks to the processes it starts: JSON lines over a socket pair, beside their stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parents[1]


class Child:
    """A process `python -m <module> <fd> …`; end it with `stop`. `python`: another one than this."""

    def __init__(
        self, module: str, *args: str, environ: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        ours, theirs = socket.socketpair()
        self.module = module
        self._process = subprocess.Popen(
            [python, "-m", module, str(theirs.fileno()), *args],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            cwd=HERE,
            env={**clean_environment(), **(environ or {})},
        )
        theirs.close()
        self._lines: IO[str] = ours.makefile("rw", encoding="utf-8")
        ours.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, command: str, **args: Any) -> None:
        """Give a command; `answer` waits for it."""
        print(json.dumps({"do": command, "with": args}), file=self._lines, flush=True)

    def answer(self) -> Any:
        """What the last command answered.

        Raises:
            RuntimeError: it failed, or the process ended.
        """
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.module} ended with {self._process.wait(10)}")
        said = json.loads(line)
        if "error" in said:
            raise RuntimeError(f"{self.module}: {said['error']}")
        return said["ok"]

    def call(self, command: str, **args: Any) -> Any:
        self.start(command, **args)
        return self.answer()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._lines.close()


def clean_environment() -> dict[str, str]:
    """The machine's environment without its own settings of Reconvene: the bench names what it sets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RECONVENE_")}


def wait_for(what: str, done: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} took more than {patience:g} s")
        time.sleep(0.02)


Command = Callable[..., Awaitable[Any]]


def obey(fd: int, commands: Mapping[str, Command]) -> None:
    """In a child with an event loop: carry out commands on the running loop, one after the other, until the parent is gone."""
    loop = asyncio.get_running_loop()

    def listen() -> None:
        with socket.socket(fileno=fd) as end, end.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                print(json.dumps(_carry_out(json.loads(line), commands, loop)), file=lines, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="bench-control", daemon=True).start()


def _carry_out(order: Any, commands: Mapping[str, Command], loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    async def run() -> Any:
        return await commands[order["do"]](**order["with"])

    try:
        return {"ok": asyncio.run_coroutine_threadsafe(run(), loop).result()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def cpu() -> int:
    """Nanoseconds of CPU that this process has used, all its threads together."""
    return time.process_time_ns()
