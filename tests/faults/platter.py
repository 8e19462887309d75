"""What a power cut leaves of folders: names and contents as they surely are on the platter, and what was done since the last sync.

A file's content is durable when the file was synced, a name when its folder was. What was not synced may be lost, be there, or (a
content) be there in part. Changes of names survive in the order in which they were made, as on every journalled file system; one
that a folder's sync made durable takes along all before it.
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

SECTOR = 512
Names = dict[str, int]
"""Path → number of the file; -1 is a folder."""


class Platter:
    """Give `did` to `Points(done=…)` and `remember` before a name goes (`Points(act=…)`)."""

    def __init__(self, folders: list[Path]) -> None:
        self._lock = threading.RLock()
        self.now: Names = {}
        self.durable: Names = {}
        self.pending: list[tuple[str, str, str, int]] = []
        self.contents: dict[int, bytes] = {}
        """As last synced."""
        self.last: dict[int, bytes] = {}
        """As last seen, for files whose name is gone."""
        self._next = 0
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                number = -1 if path.is_dir() else self._new()
                self.now[str(path)] = self.durable[str(path)] = number
                if number >= 0:
                    self.contents[number] = path.read_bytes()

    def _new(self) -> int:
        self._next += 1
        return self._next

    def did(self, op: str, path: str, other: str) -> None:
        with self._lock:
            if op == "sync":
                self._synced(path)
                return
            if op in ("rename", "exchange", "link", "unlink") and path not in self.now:
                self._change("create", path, "", self._new())  # made by other means than the counted calls
            self._change(op, path, other, self._new() if op == "create" else -1)

    def remember(self, path: str) -> None:
        """Before a name goes: what is under it may come back."""
        with self._lock:
            number = self.now.get(path, -1)
            if number >= 0:
                self.last[number] = _read(path)

    def _change(self, op: str, path: str, other: str, number: int) -> None:
        _apply(self.now, op, path, other, number)
        self.pending.append((op, path, other, number))

    def _synced(self, path: str) -> None:
        if not os.path.isdir(path):
            if path not in self.now:
                self._change("create", path, "", self._new())
            self.contents[self.now[path]] = _read(path)
            return
        of_this = [n for n, (_, a, b, _) in enumerate(self.pending) if path in (os.path.dirname(a), os.path.dirname(b))]
        upto = of_this[-1] + 1 if of_this else 0
        for change in self.pending[:upto]:
            _apply(self.durable, *change)
        del self.pending[:upto]

    def cut(self, rng: random.Random, mode: str) -> dict[str, bytes | None]:
        """What is left, by path; None is a folder. `mode`: as of `faulty_disk`."""
        with self._lock:
            names = dict(self.durable)
            for change in self.pending[: 0 if mode == "drop" else rng.randint(0, len(self.pending))]:
                _apply(names, *change)
            paths = {number: path for path, number in self.now.items() if number >= 0}
            image: dict[str, bytes | None] = {}
            for path, number in names.items():
                if number < 0:
                    image[path] = None
                    continue
                old = self.contents.get(number, b"")
                new = _read(paths[number]) if number in paths else self.last.get(number, old)
                image[path] = old if mode == "drop" else _mixed(rng, mode, old, new)
            return image


def _mixed(rng: random.Random, mode: str, old: bytes, new: bytes) -> bytes:
    if mode == "subset" or old == new:
        return rng.choice((old, new))
    size = rng.choice((len(old), len(new)))
    pieces = [
        rng.choice((old, new))[at : at + SECTOR].ljust(min(SECTOR, size - at), b"\0") for at in range(0, size, SECTOR)
    ]
    return b"".join(pieces)[:size]


def _apply(names: Names, op: str, path: str, other: str, number: int) -> None:
    match op:
        case "create" | "mkdir":
            names[path] = number
        case "unlink" | "rmdir":
            names.pop(path, None)
        case "link":
            names[other] = names[path]
        case "rename":
            names[other] = names.pop(path)
        case "exchange":
            names[path], names[other] = names[other], names[path]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
