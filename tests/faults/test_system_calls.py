"""Every system call of a run that changes a disk is one in which a server was killed: see `system_calls`. Needs strace(1)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from system_calls import Seen, parsed

from proof import report

LINES = """\
openat(3</tmp/x/project>, "a.py", O_RDONLY|O_CLOEXEC) = 4</tmp/x/project/a.py>
openat(3</tmp/x/project>, ".part", O_WRONLY|O_CREAT|O_EXCL, 0600) = 4</tmp/x/project/.part>
write(4</tmp/x/project/.part>, ""..., 12) = 12
write(9</tmp/x/told>, ""..., 12) = 12
renameat2(3</tmp/x/project>, ".part", 3</tmp/x/project>, "a.py", RENAME_EXCHANGE) = 0
fsync(3</tmp/x/project>) = 0
mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 7</tmp/x/data/r.db-shm>, 0) = 0x7f
mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f
utimensat(AT_FDCWD</tmp>, "/tmp/x/data/k", [{...}, {...}], 0) = 0
pwrite64(6</tmp/x/data/r.db-wal>, ""..., 4096, 32) = 4096
+++ killed by SIGKILL +++
""".splitlines()


async def seen(**job: Any) -> Seen:
    program = [sys.executable, str(Path(__file__).with_name("system_calls.py")), json.dumps(job)]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = await process.stdout.read()
    assert await process.wait() == 0, "the proof itself broke; its output is above"
    return Seen(**json.loads(told))


def test_the_lines_of_strace_are_understood() -> None:
    assert parsed(LINES, [Path("/tmp/x/data"), Path("/tmp/x/project")]) == [
        ("create", "/tmp/x/project/.part", "openat"),
        ("write", "/tmp/x/project/.part", "write"),
        ("rename", "/tmp/x/project/a.py", "renameat2"),
        ("sync", "/tmp/x/project", "fsync"),
        ("map", "/tmp/x/data/r.db-shm", "mmap"),
        ("times", "/tmp/x/data/k", "utimensat"),
        ("write", "/tmp/x/data/r.db-wal", "pwrite64"),
    ]


def test_a_system_call_of_which_nothing_is_known_is_an_error() -> None:
    with pytest.raises(AssertionError, match="scrub_the_disk"):
        parsed(["scrub_the_disk(4</tmp/x/data/r.db>) = 0"], [Path("/tmp/x/data")])


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_the_kernel_sees_no_other_change_of_a_disk_than_those_that_are_counted() -> None:
    began = time.monotonic()
    found = await seen()
    assert not found.missed, "\n".join(found.missed)
    assert not found.violations, "\n".join(found.violations)
    assert found.counted > 500 and found.deaths > 50
    below = sum(found.below.values())
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found.below.items()))
    figure = (
        f"strace sees {found.calls:,} system calls of a run that change a disk (of {found.names} names, each known): {found.counted:,} "
        f"are those of the row above, on the same paths; the other {below} are below it (SQLite's shared memory, files it opens and "
        f"folders it syncs, Python's own open: {kinds}), {found.deaths} deaths in them: 0 lost, doubled, stuck or written twice"
    )
    report("Crash: the list of calls", figure, seconds=time.monotonic() - began, cpu=found.cpu)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_control_a_call_that_is_not_counted_is_noticed() -> None:
    began = time.monotonic()
    found = await seen(deaths=False, uncounted="fsync")
    assert found.missed and all("sync" in missed for missed in found.missed)
    told = f"fsync not counted: {len(found.missed)} files and folders noticed"
    report("Crash: the list of calls", control=told, seconds=time.monotonic() - began)
