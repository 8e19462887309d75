"""Each value of an array once; and nothing of numpy is loaded for an answer that was not loaded with the index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reconvene
from example import FILES
from reconvene.index.distinct import distinct

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.repomap import repo_map
from reconvene.search import search
from reconvene.workspace import Workspace

async def main(root, data):
    before = set(sys.modules)
    workspace = Workspace.open(root, data_dir=Path(data), limits=Limits())
    index = await RootIndex.open(workspace, Path(data), Limits())
    await index.refresh()
    made = await repo_map(index, query="Where are idle sessions swept")
    found = await search(index, "idle sessions")
    await index.close()
    loaded = sorted(name for name in set(sys.modules) - before if name.startswith("numpy."))
    import numpy
    numpy.unique(numpy.zeros(1))
    print(json.dumps([made.files, len(found.snippets), loaded, "numpy.ma" in sys.modules]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("seed", range(5))
def test_each_value_once_and_ascending(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for size in (0, 1, 2, 1000):
        for kind in (np.uint32, np.int64, np.float64):
            values = rng.integers(0, max(size // 2, 1), size).astype(kind)
            before = values.copy()
            once = distinct(values)
            assert once.dtype == values.dtype and once.tolist() == sorted(set(values.tolist()))
            assert np.array_equal(values, before)


def test_an_answer_loads_nothing_more_of_numpy(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "data").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "project"), str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": str(Path(reconvene.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    files, snippets, loaded, control = json.loads(ran.stdout)
    assert files and snippets
    assert loaded == []
    assert control, "numpy loads more for the simplest question"
