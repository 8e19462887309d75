"""What the kernel is asked to do to a disk in one run, as strace(1) sees it: the check of what `io_points` counts, and deaths in the rest.

    python tests/faults/system_calls.py '{}'     prints one JSON line: a `Seen`

The session of `life` is run under strace. Every system call that changes a disk below the two folders has to be one that was counted, in
the same number for the same path, or one of those that no layer above the kernel sees: SQLite's shared memory, the owner of a file it
made, the sync of a folder it makes with a file's, and what Python's own `open` writes. In each of these a server dies once.

A system call by a name that is in none of the lists here is an error: the lists are the whole of what a run asks for.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import io_points
from deaths import Lived, cpu, ended, forked, in_child, live, preloaded, prepare
from life import SCRIPT, SETTINGS, Client, check

import threefiles
from coding import agents
from house import House
from reconvene.config import Settings

PATIENCE = 120.0
"""Seconds for a run under strace: two, and thirty on a loaded machine."""
CHANGES = {
    "write": "write pwrite64 writev pwritev pwritev2 copy_file_range sendfile splice",
    "sync": "fsync fdatasync sync_file_range msync syncfs sync",
    "truncate": "ftruncate truncate fallocate",
    "mkdir": "mkdir mkdirat",
    "unlink": "unlink unlinkat rmdir",
    "rename": "rename renameat renameat2",
    "link": "link linkat symlink symlinkat mknod mknodat",
    "mode": "chmod fchmod fchmodat fchmodat2",
    "owner": "chown fchown lchown fchownat",
    "times": "utime utimes utimensat futimesat",
    "attribute": "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
}
"""What a call does, and by which names the kernel has it. Opening (`create`) and mapping (`map`) change something only in some ways."""
KINDS = {name: kind for kind, names in CHANGES.items() for name in names.split()}
SOMETIMES = {"open", "openat", "openat2", "creat", "mmap"}
HARMLESS = """
    newfstatat fstat stat lstat statx access faccessat faccessat2 read pread64 readv preadv lseek getdents64 readlink readlinkat close
    close_range dup dup2 dup3 fcntl flock ioctl statfs fstatfs fadvise64 readahead getxattr lgetxattr fgetxattr listxattr flistxattr
    inotify_init1 inotify_add_watch inotify_rm_watch name_to_handle_at getcwd chdir fchdir umask munmap mprotect mremap brk madvise
    mbind membarrier mlock futex set_robust_list rseq get_robust_list rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
    rt_sigtimedwait kill tgkill epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6 eventfd2 pipe
    pipe2 timerfd_create timerfd_settime socket socketpair connect bind listen accept accept4 getsockname getpeername getsockopt
    setsockopt shutdown sendto recvfrom sendmsg recvmsg sendmmsg getpid gettid getppid getpgrp getpgid getsid getuid geteuid getgid
    getegid getgroups setsid setpgid clone clone3 vfork fork execve wait4 waitid exit exit_group set_tid_address arch_prctl prctl
    pidfd_open pidfd_send_signal restart_syscall clock_gettime clock_nanosleep nanosleep gettimeofday getrandom getrusage times uname
    sysinfo sched_yield sched_getaffinity sched_setaffinity sched_getscheduler sched_getparam getpriority setpriority prlimit64
    getrlimit getcpu seccomp landlock_create_ruleset
"""
COUNTED = {
    "pwrite": "write",
    "fsync": "sync",
    "fdatasync": "sync",
    "ftruncate": "truncate",
    "rmdir": "unlink",
    "remove": "unlink",
    "delete": "unlink",
    "replace": "rename",
    "renameat2": "rename",
    "symlink": "link",
    "fchmod": "mode",
    "utime": "times",
    "setxattr": "attribute",
}
"""`io_points`' names for the kinds, where they differ."""
Call = tuple[str, str]
"""Kind and path."""


@dataclass
class Seen:
    counted: int = 0
    calls: int = 0
    """That change a disk, as the kernel saw them."""
    names: int = 0
    """Different system calls of the run, harmless ones too."""
    missed: list[str] = field(default_factory=list)
    """Counted by one and not by the other, with no reason known."""
    below: Counter[str] = field(default_factory=Counter)
    """Kinds of those that only the kernel sees."""
    deaths: int = 0
    violations: list[str] = field(default_factory=list)
    cpu: float = 0.0


def below(kind: str, path: str) -> bool:
    """Whether only the kernel sees this: see the head of the file."""
    name = os.path.basename(path)
    if name.endswith("-shm"):
        return True
    of_sqlite = re.search(r"\.db(\.new)?(-wal|-journal)?$", name) is not None
    return (
        (of_sqlite and kind in ("owner", "create"))
        or (kind == "sync" and name in ("data", "indexes"))
        or (name == "reconvene.db.instance.new" and kind in ("write", "create"))
    )


def parsed(lines: Sequence[str], folders: Sequence[Path]) -> list[tuple[str, str, str]]:
    """Kind, path and system call of each line of strace that changes a disk below the folders, or one of them."""
    inside = tuple(f"{folder}/" for folder in folders)
    found = []
    for line in lines:
        match = re.match(r"(\w+)\((.*)", line)
        if not match:
            continue
        name, rest = match[1], match[2]
        if name not in KINDS and name not in SOMETIMES:
            if name not in HARMLESS.split():
                raise AssertionError(f"a system call of which it is not known what it does: {line}")
            continue
        path = _path(name, rest)
        if not f"{path}/".startswith(inside):
            continue
        kind = KINDS.get(name, "")
        if name == "mmap":
            if "MAP_SHARED" not in rest or "PROT_WRITE" not in rest:
                continue
            kind = "map"
        elif name in SOMETIMES:
            if not re.search(r"O_CREAT|O_TRUNC|O_TMPFILE", rest):
                continue
            kind = "create"
        found.append((kind, path, name))
    return found


def _path(name: str, rest: str) -> str:
    """The path that a call is about; of two, the second."""
    if name == "mmap":
        opened = re.search(r"\d+<([^>]*)>", rest)
        return opened[1] if opened else ""
    names = re.findall(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"(?!\.\.\.)', rest)
    if names and name not in CHANGES["write"].split():
        folder, own = names[-1]
        return os.path.join(folder, own) if folder else str(own)
    opened = re.match(r"\d+<([^>]*)>", rest)
    return opened[1] if opened else ""


def strace(pid: int, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Begun on a process that waits; returns when it is watched."""
    program = shutil.which("strace")
    assert program, "this proof needs strace(1), which every distribution has as a package of that name"
    command = [program, "-f", "-ff", "-y", "-s", "0", "-o", str(out / "thread"), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"strace cannot watch: {tracer.stderr.read().decode() if tracer.stderr else ''}")
        time.sleep(0.005)
    return tracer


def watched(folder: Path, lived: Lived, *options: str) -> tuple[int | None, list[list[str]]]:
    """A life under strace: its wait status and strace's lines, by thread."""
    trace = Path(tempfile.mkdtemp(prefix="trace-", dir=folder.parent))
    waits, begin = os.pipe()
    pid = forked(folder, lived, waits)
    tracer = strace(pid, trace, *options)
    os.write(begin, b"!")
    status = ended(pid, PATIENCE)
    tracer.communicate()
    os.close(begin)
    os.close(waits)
    threads = [file.read_text(errors="replace").splitlines() for file in sorted(trace.iterdir())]
    shutil.rmtree(trace)
    return status, threads


async def counted(folder: Path, told: int, known: list[dict[str, Any]]) -> None:
    """A life in which every call is really made; `calls` has those that `io_points` counts."""
    calls: list[Call] = []
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = House(folder, lambda _name: model, Settings(data_dir=folder / "data", **SETTINGS))
    client = Client(house, told, known, False)
    with io_points.Points([folder / "data", folder / "project"], lambda n, op, path, half: calls.append((op, path))):
        await house.load()
        await client.look_back()
        house.sessions.listeners.append(client.committed)
        await house.supervisor.start()
        await client.run()
    (folder / "calls").write_text(json.dumps(calls))


def compared(folder: Path) -> tuple[Seen, Counter[tuple[str, str]]]:
    """One run, counted and watched; and those calls that only the kernel saw: how many of a name and a path one thread makes."""
    prepare(folder)
    status, threads = watched(folder, functools.partial(counted, folder))
    assert status == 0, (folder / "out").read_text()[-2000:]
    folders = [folder / "data", folder / "project"]
    of_threads = [parsed(lines, folders) for lines in threads]
    kernel = [call for calls in of_threads for call in calls]
    mine = Counter((COUNTED.get(op, op), path) for op, path in json.loads((folder / "calls").read_text()))
    theirs = Counter((kind, path) for kind, path, _ in kernel)
    only = theirs - mine
    names = {match[1] for lines in threads for line in lines if (match := re.match(r"(\w+)\(", line))}
    seen = Seen(counted=mine.total(), calls=theirs.total(), names=len(names))
    for (kind, path), n in (mine - theirs).items():
        seen.missed.append(f"counted {n} times more than it was made: {kind} {path}")
    for (kind, path), n in only.items():
        if below(kind, path):
            seen.below[kind] += n
        else:
            seen.missed.append(f"made {n} times more than it was counted: {kind} {path}")
    most: Counter[tuple[str, str]] = Counter()
    for calls in of_threads:
        most |= Counter((name, os.path.relpath(path, folder)) for kind, path, name in calls if only[kind, path])
    return seen, most


def die(folder: Path, path: str, name: str, nth: int) -> list[str]:
    """A life that ends in the n-th call of that name on that path which one thread makes, and one after it. What is wrong then.

    strace counts by thread: where several make the same call, the first to come to the n-th is it.
    """
    prepare(folder)
    job = {"mutation": "none", "die_at": 0, "half": False, "again": False, "sync": True}
    where = str(folder / path)
    lived = functools.partial(_live, folder, job)
    status, _ = watched(
        folder, lived, "-P", where, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={nth}"
    )
    if status == 0:
        return ["it was not made"]
    status = in_child(folder, lived, PATIENCE)
    return check(folder) if status == 0 else [f"then it was stuck, or broken: {status}"]


async def _live(folder: Path, job: dict[str, Any], told: int, known: list[dict[str, Any]]) -> None:
    await live(folder, told, known, job)


def main() -> None:
    job = {"deaths": True, **json.loads(sys.argv[1])}
    with preloaded() as scratch:
        if job.get("uncounted"):
            forget(job["uncounted"])
        folder = scratch / "run"  # always the same: names in the data folder are made from that of the code base
        seen, rest = compared(folder)
        for (name, path), n in sorted(rest.items()) if job["deaths"] else ():
            for nth in range(1, n + 1):
                shutil.rmtree(folder)
                wrong = die(folder, path, name, nth)
                seen.deaths += 1
                seen.violations += [f"killed in {name} {path}, number {nth}: {w}" for w in wrong]
    seen.cpu = cpu()
    print(json.dumps(vars(seen)))


def forget(forgotten: str) -> None:
    """The control: one of the functions of `os` is not counted any more."""
    really = io_points.Points._on_descriptor
    io_points.Points._on_descriptor = lambda self, name: None if name == forgotten else really(self, name)  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
