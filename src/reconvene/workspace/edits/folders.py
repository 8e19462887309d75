"""The folders of an accept: held open while files change places in them, made, removed, and found again."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from reconvene.errors import ReconveneError
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits.disk import Disk
from reconvene.workspace.edits.plan import Plan
from reconvene.workspace.edits.slot import Slot
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import encode, shown

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Folders:
    """The folders below one root. Methods raise OSError."""

    def __init__(self, jail: Jail, disk: Disk) -> None:
        self._jail, self._disk = jail, disk

    def make(self, path: str, made: list[str]) -> int:
        """A folder, held open, that is made when it is missing; `made` gains those that were."""
        jail, disk = self._jail, self._disk
        parent = disk.open_folder(jail, "")
        names = path.split("/")
        for n, name in enumerate(names, 1):
            along = "/".join(names[:n])
            try:
                try:
                    folder = disk.open_folder(jail, along)
                except FileNotFoundError:
                    disk.make_folder(parent, encode(name))
                    made.append(along)
                    disk.sync(parent)
                    folder = disk.open_folder(jail, along)
            finally:
                disk.close(parent)
            parent = folder
        return parent

    def remove(self, paths: Sequence[str]) -> None:
        """Those that are empty; the others are in use."""
        for path in paths:
            with suppress(OSError):
                parent, _, name = path.rpartition("/")
                folder = self._disk.open_folder(self._jail, parent)
                try:
                    self._disk.remove_folder(folder, encode(name))
                finally:
                    self._disk.close(folder)

    def sync(self, folders: Iterable[int | None]) -> None:
        """Make the names in these folders durable, each once."""
        done = set()
        for folder in folders:
            if folder is not None and (here := os.fstat(folder))[1:3] not in done:
                self._disk.sync(folder)
                done.add(here[1:3])

    def still(self, path: str, folder: int) -> bool:
        """Whether the folder that is held open is still the one of this path in the code base."""
        try:
            fd = self._disk.open_folder(self._jail, path.rpartition("/")[0])
        except OSError:
            return False
        try:
            return os.path.samestat(os.fstat(fd), os.fstat(folder))
        finally:
            self._disk.close(fd)

    def missing(self, path: str) -> list[str]:
        """The folders that a file of this path needs and that are not there, outermost first."""
        names = path.split("/")[:-1]
        missing = []
        for n in range(1, len(names) + 1):
            folder = "/".join(names[:n])
            try:
                os.close(self._disk.open_folder(self._jail, folder))
            except FileNotFoundError:
                missing.append(folder)
            except OSError:
                break  # apply tells
        return missing


class Opened:
    """The slots of a plan while their folders are held open."""

    def __init__(self, jail: Jail, disk: Disk, contents: Contents, plan: Plan) -> None:
        self._jail, self._disk, self._contents, self._plan = jail, disk, contents, plan
        self._slots: list[Slot] = []

    def __enter__(self) -> list[Slot]:
        alike = Counter(step.path.casefold() for step in self._plan.steps)
        for n, step in enumerate(self._plan.steps):
            slot = Slot(self._disk, self._contents, step, None, self._plan.temporary(n))
            slot.exact = alike[step.path.casefold()] > 1
            try:
                slot.folder = self._disk.open_folder(self._jail, step.path.rpartition("/")[0])
            except FileNotFoundError:
                pass
            except OSError as e:
                slot.blocked = refused(e, step.path)
            self._slots.append(slot)
        return self._slots

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            if slot.folder is not None:
                self._disk.close(slot.folder)
                slot.folder = None


def refused(e: OSError, path: str) -> ReconveneError:
    """Why the operating system did not let a path be written."""
    name = shown(path)
    if e.errno in _FULL:
        what = "The quota is used up" if e.errno == errno.EDQUOT else "There is no space left"
        return ReconveneError(
            "disk_full", f"{what}, so {name} was not written. Free some, then accept again.", path=name
        )
    if e.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "the file system is read-only" if e.errno == errno.EROFS else "the operating system does not allow it"
        todo = "Change its permissions or those of its folder, then accept again."
        sentence = f"{name} cannot be written: {what}. {todo}"
        return ReconveneError("permission_denied", sentence, path=name)
    if e.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR):
        sentence = f"A folder on the way to {name} is a link or a file; nothing is written through links. Name the file by its own path."
        return ReconveneError("path_outside_root", sentence, path=name, why="link")
    return ReconveneError("tool_failed", f"Writing {name} failed: {e.strerror}.", path=name, errno=e.errno)
