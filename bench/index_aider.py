"""A child process that is the peer: aider's own class `RepoMap`, in the Python that it is installed in. Nothing of ours is imported.

`/path/to/venv/bin/python -m bench.index_aider FD`. Its map gets the same 1,024 tokens, counted as four characters each, and the words of
the prompt as the identifiers that were mentioned, which is what aider itself does with them.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.control import Command, obey
from bench.machine import memory_kb

TOKENS = 1024


class _Model:
    """In place of a provider's tokenizer."""

    def token_count(self, text: str) -> int:
        return len(text) // 4


class Peer:
    """Its methods are the commands."""

    def __init__(self) -> None:
        self._map: Any = None
        self._files: list[str] = []

    async def open(self, root: str, paths: list[str]) -> dict[str, Any]:
        input_output, repo_map = import_module("aider.io").InputOutput, import_module("aider.repomap").RepoMap

        def work() -> None:
            self._files = [str(Path(root) / path) for path in paths]
            io = input_output(pretty=False, yes=True, fancy_input=False)
            self._map = repo_map(map_tokens=TOKENS, root=root, main_model=_Model(), io=io)

        return _cost(work)

    async def map(self, query: str) -> dict[str, Any]:
        """`paths`: of the files it shows."""
        made = ""

        def work() -> None:
            nonlocal made
            words = set(re.split(r"\W+", query))
            made = self._map.get_repo_map([], self._files, mentioned_idents=words, force_refresh=True) or ""

        cost = _cost(work)
        shown = [line.removesuffix(":") for line in made.split("\n") if line and not line.startswith(("│", "⋮", " "))]
        return cost | {"paths": shown, "tokens": len(made) // 4, "text": made[:200]}

    async def version(self) -> str:
        for module in ("aider.io", "aider.repomap"):
            import_module(module)  # not part of what is measured
        return version("aider-chat")

    async def memory(self) -> dict[str, int]:
        return memory_kb(os.getpid())


def _cost(work: Callable[[], None]) -> dict[str, Any]:
    own, wall = time.process_time_ns(), time.perf_counter_ns()
    work()
    return {"cpu": (time.process_time_ns() - own) / 1e6, "wall": (time.perf_counter_ns() - wall) / 1e6}


async def main() -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # it draws its progress
    os.dup2(silent, 2)
    peer = Peer()
    commands: dict[str, Command] = {name: getattr(peer, name) for name in ("version", "open", "map", "memory")}
    obey(int(sys.argv[1]), commands)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
