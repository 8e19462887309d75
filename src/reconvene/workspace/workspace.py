"""One code base on disk: its files listed, read and told apart, and nothing outside of it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace.git_files import find_repository
from reconvene.workspace.git_history import GitHistory
from reconvene.workspace.jail import Jail
from reconvene.workspace.listing import FileStat, Lister, Listing
from reconvene.workspace.names import display_path, parse_path, shown
from reconvene.workspace.reading import FileSlice, big_id, blob_id, read_slice, read_whole
from reconvene.workspace.secret_files import is_secret, is_version_control


class Workspace:
    """One root directory. Every method blocks on the disk and is safe to call from any thread.

    A `path` is relative to the root with "/" between its names, as `listing` gives it or as `display_path` shows it.
    """

    def __init__(self, jail: Jail, limits: Limits) -> None:
        self.root = Path(jail.root)
        """Real path."""
        self.name = display_path(self.root.name)
        """Folder name; `Roots` makes it unique."""
        self.limits = limits
        self._jail = jail
        self._lister = Lister(limits)

    @classmethod
    def open(cls, path: str | Path, *, data_dir: Path | None, limits: Limits) -> Workspace:
        """
        Args:
            path: a directory, written in full (`~` is not expanded). A link to one is resolved.
            data_dir: the server's own folder, which is never served.

        Raises:
            ReconveneError: `root_not_found`, `not_a_directory`, `permission_denied`, `root_not_allowed`.
        """
        return cls(_hold(_real_root(os.fspath(path), data_dir)), limits)

    def reopen(self) -> None:
        """Take the directory that stands at the root's path now for the code base, when the one held was deleted or
        replaced.

        Only for the operator's explicit wish: `Roots.add` calls it.

        Raises:
            ReconveneError: as `open`.
        """
        try:
            self._jail.check_alive()
        except ReconveneError:
            self._jail = _hold(self._jail.root)
            self._lister = Lister(self.limits)

    @property
    def jail(self) -> Jail:
        """What opens files below the root; another one after `reopen`."""
        return self._jail

    def check_alive(self) -> None:
        """
        Raises:
            ReconveneError: `workspace_gone` when the root was deleted, moved or replaced.
        """
        self._jail.check_alive()

    def listing(self, stop: threading.Event | None = None) -> Listing:
        """Every regular file that is neither ignored nor a secret; see `Listing`.

        Args:
            stop: set by another thread to end it.

        Raises:
            ReconveneError: `workspace_gone`.
            StoppedError: it was told to stop.
        """
        jail = self._jail
        jail.check_alive()
        listing = self._lister.list(jail, stop or threading.Event())
        jail.check_alive()
        return listing

    def listing_of(self, paths: Collection[str], stop: threading.Event | None = None) -> Listing | None:
        """Those of a few paths that `listing` would have, told without looking at all files; None when that takes a `listing`.

        Raises:
            ReconveneError: `workspace_gone`.
            StoppedError: it was told to stop.
        """
        self._jail.check_alive()
        return self._lister.list_some(self._jail, paths, stop or threading.Event())

    def git_history(self, stop: threading.Event) -> GitHistory | None:
        """The commits of the repository that the root is in; None where there is none. `stop` ends what is asked of it."""
        root = str(self.root)
        repository = find_repository(root)
        return GitHistory(root, *repository, stop) if repository else None

    def read(
        self,
        path: str,
        *,
        start: int = 1,
        end: int | None = None,
        max_bytes: int | None = None,
        secret: bool = False,
    ) -> FileSlice:
        """Lines of a text file, from 1, `start` to `end` inclusive (None: to the end of the file), as many as fit.

        Args:
            max_bytes: UTF-8 bytes of text, at most (and by default) `limits.file_read`. One line always comes, cut
                when need be.
            secret: also what looks like a secret: a person allowed it. Version control's own files never.

        Raises:
            ReconveneError: `secret_file`, `binary_file`, `too_large` (the lines are beyond what is scanned),
                `invalid_field` (no such lines), and those of `Jail.open`.
        """
        if start < 1 or (end is not None and end < start):
            raise ReconveneError(
                "invalid_field", f"Lines {start} to {end} are no range: lines count from 1, and start comes first."
            )
        room = max(1, min(max_bytes or self.limits.file_read, self.limits.file_read))
        for last in (False, False, True):
            opened = self._open(path, secret)
            try:
                got = read_slice(
                    opened.shown, opened.fd, opened.st, start=start, end=end, max_bytes=room, limits=self.limits
                )
                # Somebody wrote meanwhile: half of the old text and half of the new would be neither.
                if last or _same(opened.st, os.fstat(opened.fd)):
                    return got
            finally:
                os.close(opened.fd)
        raise AssertionError

    def read_bytes(self, path: str, *, max_bytes: int, secret: bool = False) -> bytes:
        """A whole file; `secret` as for `read`.

        Raises:
            ReconveneError: `too_large` over `max_bytes`, `secret_file`, and those of `Jail.open`.
        """
        opened = self._open(path, secret)
        try:
            if (size := opened.st.st_size) > max_bytes:
                sentence = f"{opened.shown} has {size:,} bytes; the limit here is {max_bytes:,}."
                raise ReconveneError("too_large", sentence, path=opened.shown, size=size, limit=max_bytes)
            return read_whole(opened.fd, size)
        finally:
            os.close(opened.fd)

    def stat(self, path: str) -> FileStat | None:
        """Size, time and inode of a regular file; None when there is none at this path.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        jail = self._jail
        st = jail.stat(path)
        if st is None and (parsed := parse_path(path)) != path:
            st = jail.stat(parsed)
        return FileStat(st.st_mtime_ns, st.st_size, st.st_ino, st.st_ctime_ns) if st else None

    def fingerprint(self, path: str) -> str | None:
        """Git's blob id of a file's content (40 hex digits); None when there is no such readable file, or it is a
        secret.

        Of a file over `limits.indexed_file` it is `big-<size>-<mtime_ns>`: it changes with every write, and costs no
        reading.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        try:
            opened = self._open(path)
        except ReconveneError as e:
            if e.code in ("workspace_gone", "tool_failed"):
                raise
            return None
        try:
            if opened.st.st_size > self.limits.indexed_file:
                return big_id(opened.st)
            return blob_id(read_whole(opened.fd, opened.st.st_size))
        finally:
            os.close(opened.fd)

    def _open(self, path: str, secret: bool = False) -> _Opened:
        try:
            return self._open_as(path, secret)
        except ReconveneError as e:
            if e.code not in ("file_not_found", "name_too_long") or (parsed := parse_path(path)) == path:
                raise
            return self._open_as(parsed, secret)

    def _open_as(self, path: str, secret: bool) -> _Opened:
        jail = self._jail
        jail.check_alive()
        fd, st, real = jail.open(path)
        # The name behind the links counts: a harmless one may lead to a secret.
        never = is_version_control(real)
        if never or (is_secret(real) and not secret):
            os.close(fd)
            why = (
                "belongs to version control, and is not read here."
                if never
                else "looks like a secret by its name. It is read only with a person's approval."
            )
            details = {"path": _plain(path), "real": display_path(real), "never": never}
            raise ReconveneError("secret_file", f"{shown(path)} {why}", **details)
        return _Opened(fd, st, path)


@dataclass(frozen=True, slots=True)
class _Opened:
    fd: int
    st: os.stat_result
    path: str

    @property
    def shown(self) -> str:
        return _plain(self.path)


def _plain(path: str) -> str:
    return display_path("/".join(n for n in path.split("/") if n not in ("", ".")))


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _hold(root: str) -> Jail:
    try:
        return Jail(root)
    except OSError as e:
        raise _unopenable(e, root) from e


def _real_root(path: str, data_dir: Path | None) -> str:
    """The real path of a directory that may be served."""
    if not path.strip() or "\0" in path:
        raise _not_allowed(path, "it is not a path")
    if not path.startswith("/"):
        raise _not_allowed(path, "it is not written in full, from / on")
    try:
        root = os.path.realpath(path, strict=True)
        os.stat(root)
    except OSError as e:
        raise _unopenable(e, path) from e
    except UnicodeEncodeError:
        raise _not_allowed(path, "it is not a path") from None
    try:
        root.encode()
    except UnicodeEncodeError:
        raise _not_allowed(path, "its name is not UTF-8; rename the folder") from None
    if root == "/":
        raise _not_allowed(path, "it is the whole machine")
    for system in ("/proc", "/sys", "/dev"):
        if _within(root, system):
            raise _not_allowed(path, f"{system} is the operating system's own")
    if data_dir is not None:
        own = os.path.realpath(data_dir)
        if _within(root, own) or _within(own, root):
            raise _not_allowed(path, f"the server's data folder {shown(own)} is there; set another with --data-dir")
    if root in _homes():
        raise _not_allowed(path, "it is a home folder, which holds more than code; name a folder in it")
    return root


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _homes() -> set[str]:
    """The person's home folder, by the environment and by the user database."""
    homes = {os.path.expanduser("~")}
    try:
        import pwd

        homes.add(pwd.getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        pass
    return {os.path.realpath(h) for h in homes if h.startswith("/")}


def _not_allowed(path: str, why: str) -> ReconveneError:
    return ReconveneError(
        "root_not_allowed", f"The folder {shown(path) or '(empty)'} cannot be served: {why}.", root=shown(path)
    )


def _unopenable(e: OSError, path: str) -> ReconveneError:
    name = shown(path)
    if e.errno in (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG):
        return ReconveneError("root_not_found", f"There is no folder {name}. Check how it is written.", root=name)
    if e.errno == errno.ENOTDIR:
        return ReconveneError(
            "not_a_directory", f"{name} is not a folder. Name the folder that holds the code.", root=name
        )
    return ReconveneError(
        "permission_denied", f"The folder {name} cannot be opened: {e.strerror}. Change its permissions.", root=name
    )
