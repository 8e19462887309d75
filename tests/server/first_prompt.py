"""A program: a real server, and the first prompt that it ever gets. Prints, as JSON, what its event loop's thread imported and which
modules' schemas it made from when runs could begin until the prompt was answered; and how many objects a full collection looks at when
runs can begin. `python first_prompt.py FOLDER [unrehearsed|unfrozen]`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from serving import hello, prompt, receive, send, serving

from example import FILES
from reconvene.agents import rehearsal
from reconvene.server import lifecycle
from reconvene.server.lifecycle import Server

IMPORT, SCHEMA = "<frozen importlib._bootstrap_external>", "pydantic/_internal/_generate_schema.py"


async def main(folder: Path) -> dict[str, Any]:
    project = folder / "project"
    for name, text in FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    imports: set[str] = set()
    schemas: set[str] = set()

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call":
            return
        if code.co_name == "exec_module" and code.co_filename == IMPORT:
            imports.add(frame.f_locals["module"].__name__)
        elif code.co_name == "generate_schema" and code.co_filename.endswith(SCHEMA):
            schemas.add(str(frame.f_locals["obj"]))

    async with serving(folder, kind=Server) as server:
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "start runs"))
        looked_at = len(gc.get_objects())
        sys.setprofile(look)
        async with server.connect() as socket:
            await send(socket, hello(client="c"))
            await receive(socket, "session")
            await send(socket, prompt("p", "Where are idle sessions swept?"))
            await receive(
                socket, "batch", until=lambda f: any(e["type"] == "completed" for e in f["content"]["events"])
            )
        sys.setprofile(None)
    return {"imports": sorted(imports), "schemas": sorted(schemas), "looked at": looked_at}


if __name__ == "__main__":
    if sys.argv[2:] == ["unrehearsed"]:
        rehearsal.rehearse = lambda providers: None
    if sys.argv[2:] == ["unfrozen"]:
        lifecycle._keep_for_ever = lambda: None
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
