"""What the figures were measured on, and how processes and disks are read. Linux's /proc; elsewhere the bench says so."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from pathlib import Path
from typing import Self

TICK = os.sysconf("SC_CLK_TCK")


def proportional_kb(pid: int) -> int:
    """kB of memory that a process uses (PSS: pages it shares count in parts)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("this kernel does not tell the PSS of a process")


def cpu_seconds(pid: int) -> float:
    """Of a process, its ended threads, and its children, living or ended. Counted in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) / TICK
    return own + sum(cpu_seconds(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def nanoseconds_of_children() -> int:
    """Of CPU, of this process's living children; more exact than ticks, and without those that have ended."""
    used = 0
    for child in _children(os.getpid()):
        for task in Path(f"/proc/{child}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it has just ended
                used += int(task.read_text().split()[0])
    return used


def memory_kb(pid: int) -> dict[str, int]:
    """kB of a process: resident now (`rss`), and at most so far (`peak`); resident of its children together (`workers`)."""

    def field(of: int, name: str) -> int:
        found = [line for line in Path(f"/proc/{of}/status").read_text().splitlines() if line.startswith(f"{name}:")]
        return int(found[0].split()[1]) if found else 0

    return {
        "rss": field(pid, "VmRSS"),
        "peak": field(pid, "VmHWM"),
        "workers": sum(field(child, "VmRSS") for child in _children(pid)),
    }


class Others:
    """How much of the machine other programs use. What they take, figures in ms are worse by."""

    def __init__(self) -> None:
        self._used_before, self._started = self._used(), time.monotonic()

    def cores(self) -> float:
        """Cores that others kept busy since this was made, on average."""
        return max(0.0, (self._used() - self._used_before) / (time.monotonic() - self._started))

    @staticmethod
    def _used() -> float:
        """Seconds of CPU that the machine spent, without this process and its children."""
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle, waiting = fields[3], fields[4]
        return (sum(fields) - idle - waiting) / TICK - cpu_seconds(os.getpid())


class Fsyncs(threading.Thread):
    """Writes 4 kB and waits for the disk, 50 times a second, for as long as the `with` lasts: what any log must pay here, now.

    The file has its size already, so that nothing but its data must be written (`fdatasync`).
    """

    SIZE = 4096
    PLACES = 256

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.ms: list[float] = []
        self._fd = os.open(folder / "fsync", os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._fd, b"\1" * self.SIZE * self.PLACES, 0)
        os.fsync(self._fd)
        self._ended = threading.Event()

    def run(self) -> None:
        block = os.urandom(self.SIZE)
        place = 0
        while not self._ended.wait(0.02):
            os.pwrite(self._fd, block, place * self.SIZE)
            started = time.perf_counter()
            os.fdatasync(self._fd)
            self.ms.append(1000 * (time.perf_counter() - started))
            place = (place + 1) % self.PLACES

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        os.close(self._fd)


def description(folder: Path) -> list[str]:
    """Machine, system and versions, a line each."""
    import apsw
    import uvicorn
    import websockets.version

    from reconvene import __version__

    priority = f", priority raised (nice {os.nice(0)})" if os.nice(0) < 0 else ""
    load = " ".join(f"{n:.1f}" for n in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return [
        f"{_model()}, {os.cpu_count()} cores (load {load}{priority}), {_memory_gib():.0f} GiB; {platform.system()} {platform.release()}; "
        f"data on {_filesystem(folder)}",
        f"Reconvene {__version__}, {python}, uvicorn {uvicorn.__version__} (h11, websockets-sansio {websockets.version.version}, "
        f"no deflate), SQLite {apsw.sqlite_lib_version()} (WAL, synchronous=FULL)",
    ]


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def _filesystem(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    path = folder.resolve()
    best, kind = "", "an unknown file system"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, at, found = line.split()[:3]
        if path.is_relative_to(at) and len(at) >= len(best):
            best, kind = at, found
    return kind
