"""`python -m bench.search_jsonl`: the index and the search of this tree, spoken to in JSON lines, so that any set of queries can be scored.

    {"op": "index", "root": "/a/code/base", …}
        → {"ok": true, "files": 98, "parsed": 3, "bytes": 1048576}
    {"op": "search", "root": "/a/code/base", "query": "…", "k": 20}
        → {"files": ["best/first.py", …], "snippets": [{"file", "start", "end"}, …]}

What is answered is what the product's search answers, in its order. Indexes are kept in a folder that goes with this process. With
`--lines FILE` the number of lines of each answer's first five snippets is written there, one a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import Indexes, RootIndex
from reconvene.search import search
from reconvene.workspace import Workspace
from reconvene.workspace.names import parse_path


class Answers:
    """
    Args:
        folder: where the indexes are kept.
        lines: where the number of lines of each answer's first snippets goes.
    """

    def __init__(self, folder: Path, lines: Path | None = None) -> None:
        self._folder = folder
        self._lines = lines
        self._limits = Limits()
        self._indexes = Indexes(folder, self._limits)
        self._workspaces: dict[str, Workspace] = {}

    async def to(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one line; a refusal is an answer too."""
        try:
            index = await self._index(request["root"])
            if request["op"] == "index":
                return await self._refreshed(index)
            return await self._found(index, request["query"], int(request.get("k", 20)))
        except ReconveneError as e:
            return {"error": e.code, "detail": str(e)}

    async def close(self) -> None:
        await self._indexes.close()

    async def _index(self, root: str) -> RootIndex:
        if root not in self._workspaces:
            self._workspaces[root] = Workspace.open(root, data_dir=self._folder, limits=self._limits)
        return await self._indexes.get(self._workspaces[root])

    async def _refreshed(self, index: RootIndex) -> dict[str, Any]:
        found = await index.refresh()
        await index.take_in_history()
        size = sum(file.stat().st_size for file in (self._folder / "indexes").iterdir())
        return {"ok": True, "files": index.files, "parsed": found.parsed, "bytes": size}

    async def _found(self, index: RootIndex, query: str, k: int) -> dict[str, Any]:
        result = await search(index, query, limit=min(k, self._limits.search_hits))
        places = [{"file": parse_path(s.path), "start": s.start, "end": s.end} for s in result.snippets]
        if self._lines is not None:
            count = sum(s.end - s.start + 1 for s in result.snippets[:5])
            with self._lines.open("a") as file:
                file.write(f"{count}\n")
        return {"files": list(dict.fromkeys(place["file"] for place in places)), "snippets": places}


async def main(lines: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="reconvene-bench-") as folder:
        answers = Answers(Path(folder), lines)
        try:
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await answers.to(json.loads(line))), flush=True)
        finally:
            await answers.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The product's search in JSON lines.")
    parser.add_argument("--lines", type=Path)
    asyncio.run(main(parser.parse_args().lines))
