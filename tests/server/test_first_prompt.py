"""What the first run makes for all later ones is made before it, in a thread: the event loop neither imports nor reads signatures.

In a process of its own, where no other test has made them before.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import first_prompt

FEW = 20_000
"""Objects; a collection looks at so many in two or three milliseconds, at all that was imported in a tenth of a second."""


async def in_the_loop(folder: Path, *how: str) -> dict[str, Any]:
    path = os.pathsep.join(str(Path(first_prompt.__file__).parents[up]) for up in (0, 1))
    ran = await asyncio.create_subprocess_exec(
        sys.executable, first_prompt.__file__, str(folder), *how,
        env={**os.environ, "PYTHONPATH": path}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await ran.communicate()
    assert ran.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


async def test_the_first_prompt_finds_everything_made(tmp_path: Path) -> None:
    found = await in_the_loop(tmp_path)
    assert found["imports"] == found["schemas"] == []
    assert found["looked at"] < FEW


async def test_control_without_rehearsal_the_loop_does_it(tmp_path: Path) -> None:
    found = await in_the_loop(tmp_path, "unrehearsed")
    assert found["imports"] and any("ToolOutcome" in made for made in found["schemas"])


async def test_control_what_was_imported_is_looked_at_when_it_is_not_put_aside(tmp_path: Path) -> None:
    assert (await in_the_loop(tmp_path, "unfrozen"))["looked at"] > 3 * FEW
