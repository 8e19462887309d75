"""What the first run makes for all later ones is made before it, in a thread: the event loop neither imports nor reads signatures.

In a process of its own, where no other test has made them before.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import first_prompt


async def in_the_loop(folder: Path, *how: str) -> dict[str, list[str]]:
    path = os.pathsep.join(str(Path(first_prompt.__file__).parents[up]) for up in (0, 1))
    ran = await asyncio.create_subprocess_exec(
        sys.executable, first_prompt.__file__, str(folder), *how,
        env={**os.environ, "PYTHONPATH": path}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await ran.communicate()
    assert ran.returncode == 0
    found: dict[str, list[str]] = json.loads(out)
    return found


async def test_the_first_prompt_finds_everything_made(tmp_path: Path) -> None:
    assert await in_the_loop(tmp_path) == {"imports": [], "schemas": []}


async def test_control_without_rehearsal_the_loop_does_it(tmp_path: Path) -> None:
    found = await in_the_loop(tmp_path, "unrehearsed")
    assert found["imports"] and any("ToolOutcome" in made for made in found["schemas"])
