"""One writer for the index of a root in a data folder; another one that opens it reads along, and takes over when the first has ended.

Two `RootIndex` in one process stand for two processes: the lock is of the open file, which is the same between threads and processes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codebase import FILES, CodeBase
from index_campaign import answers
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.index.store import Store
from reconvene.index.workers import Workers

READER = """
import asyncio, sys
from pathlib import Path
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.search import search
from reconvene.workspace import Workspace

async def main():
    data = Path(sys.argv[2])
    index = await RootIndex.open(Workspace.open(sys.argv[1], data_dir=data, limits=Limits()), data, Limits())
    found = await index.refresh()
    places = (await search(index, "written_meanwhile")).snippets
    print(index.shared, index.builds, index.parsed, *[s.path for s in places])
    await index.close()

asyncio.run(main())
"""


async def test_a_second_one_reads_along_and_keeps_nothing(code: CodeBase, workers: Workers) -> None:
    code.age()
    first = await code.index(workers)
    second = await code.index(workers, fresh=False)
    assert (first.shared, second.shared) == (False, True)
    assert second.files == first.files, "what is stored is there at once"
    assert (await second.refresh()).reused or second.parsed == 0
    assert await answers(first) == await answers(second)

    code.write("shop/new.py", "def written_meanwhile():\n    return 1\n")
    await second.refresh()
    assert second.fingerprint("shop/new.py") and first.fingerprint("shop/new.py") is None
    found = await first.refresh()
    assert (found.changed, found.parsed) == ({"shop/new.py"}, 1), "the writer does its own work, and is not disturbed"
    assert await answers(first) == await answers(second)
    await second.close()
    await first.close()
    again = await code.index(workers, fresh=False)
    assert again.fingerprint("shop/new.py") and not again.shared
    await again.close()


async def test_it_takes_over_when_the_writer_has_ended(code: CodeBase, workers: Workers) -> None:
    first = await code.index(workers)
    second = await code.index(workers)
    await first.close()
    code.write("shop/new.py", "def written_meanwhile():\n    return 1\n")
    await second.refresh()
    assert not second.shared
    await second.close()
    third = await code.index(workers, fresh=False)
    assert third.fingerprint("shop/new.py"), "it was kept"
    await third.close()


async def test_another_process_beside_the_writer(code: CodeBase, workers: Workers) -> None:
    first = await code.index(workers)
    code.write("shop/new.py", "def written_meanwhile():\n    return 1\n")
    command = [sys.executable, "-c", READER, str(code.root), str(code.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "0", "1", "shop/new.py"]
    assert (await first.refresh()).changed == {"shop/new.py"}
    await first.close()


async def test_two_data_folders_are_two_indexes(code: CodeBase, tmp_path: Path, workers: Workers) -> None:
    first = await code.index(workers)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    second = await RootIndex.open(code.workspace(), other, Limits(), workers)
    await second.refresh()
    assert (second.shared, second.builds, second.files) == (False, 1, len(FILES))
    assert await answers(first) == await answers(second)
    await second.close()
    await first.close()


async def test_control_without_the_lock_both_write(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await code.index(workers)
    with monkeypatch.context() as patched:
        patched.setattr("reconvene.index.store.fcntl.flock", lambda *_: None)
        second = await code.index(workers, fresh=False)
    assert not second.shared
    await second.close()
    await first.close()
    assert Store.is_free(next((code.data / "indexes").glob("*.db")))
