"""What a command may touch: it reads the system, writes inside its workspace, and reaches no network unless that was allowed.

Two ways, the first that this machine can do: bubblewrap (own mount, process and network namespaces), else Landlock with a seccomp filter,
which need no namespaces (containers). `kinds` probes them; where there is none a command is not confined, and whoever asks the
person for leave has to say so.

What Landlock leaves open, and bubblewrap does not: permissions and times of files that are visible may be changed, and with the network
allowed every local socket may be used. Sources: landlock(7), seccomp(2), linux/landlock.h, bwrap(1).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["bubblewrap", "landlock", "none"]


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    writable: real paths of directories in which it may write (the workspace, its own temporary folder).
    hidden: real paths it must not even read (the data folder, credentials).
    protected: real paths inside a writable one that stay as they are (git's hooks); only bubblewrap can do that.
    network: it may reach the network.
    """

    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    network: bool = False


_HIDDEN_IN_HOME = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".pgpass", ".npmrc", ".pypirc", ".git-credentials", ".password-store",
    ".config/gcloud", ".config/gh", ".config/git/credentials", ".config/op", ".cargo/credentials.toml", ".cargo/credentials", ".mozilla",
    ".config/google-chrome", ".config/chromium", ".local/share/keyrings", ".bash_history", ".zsh_history", ".python_history",
)  # fmt: skip


_SHARED = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 (replaced by empty folders of the command's own)


def credentials(home: str) -> tuple[str, ...]:
    """Real paths of what usually holds credentials below a home folder, as far as it exists."""
    return tuple(
        real for name in _HIDDEN_IN_HOME if os.path.lexists(real := os.path.realpath(os.path.join(home, name)))
    )


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """The ways of confining that work on this machine, best first; `("none",)` when there is none."""
    found: list[Kind] = []
    if sys.platform == "linux":
        if bubblewrap():
            found.append("bubblewrap")
        if landlock_abi() >= 1 and _seccomp_arch() is not None:
            found.append("landlock")
    return tuple(found) or ("none",)


@functools.cache
def bubblewrap() -> str | None:
    """The path of a `bwrap` that can make the namespaces it needs here."""
    path = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if path is None:
        return None
    probe = [
        path,
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--",
        "/bin/true",
    ]
    try:
        done = subprocess.run(probe, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return path if done.returncode == 0 else None


def wrapped(argv: Sequence[str], cwd: str, conf: Confinement) -> list[str]:
    """The command line that runs `argv` in bubblewrap."""
    path = bubblewrap()
    assert path is not None
    line = [path, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if conf.network:
        line += ["--share-net"]
    line += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for shared in _SHARED:
        if os.path.isdir(shared) and not os.path.islink(shared):
            line += ["--tmpfs", shared]
    resolver = os.path.dirname(os.path.realpath("/etc/resolv.conf"))
    if conf.network and resolver.startswith("/run/"):
        line += ["--ro-bind", resolver, resolver]
    # Outer ones first: what lies inside is mounted over what lies around it.
    for path in sorted({*conf.hidden, *conf.writable}, key=lambda path: path.count("/")):
        if path in conf.writable:
            line += ["--bind", path, path]
        else:
            line += ["--tmpfs", path] if os.path.isdir(path) else ["--ro-bind-try", "/dev/null", path]
    for path in conf.protected:
        line += ["--ro-bind-try", path, path]
    return [*line, "--chdir", cwd, "--", *argv]


def _inside(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _inside_any(paths: Sequence[str], folder: str) -> bool:
    return any(_inside(path, (folder,)) for path in paths)


# -- Landlock and seccomp, applied by the process itself before it becomes the command

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_NET_BIND_TCP, _NET_CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_PDEATHSIG = 38, 24, 22, 1
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *args: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@functools.cache
def landlock_abi() -> int:
    """The kernel's Landlock version; 0 when it has none or it is switched off."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def confine(conf: Confinement) -> None:
    """Confine this process and all that it starts, for ever. Call it in a process of its own, without threads.

    Raises:
        OSError: it could not be confined; nothing must be run then.
    """
    abi = landlock_abi()
    if abi < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    for path in conf.hidden:
        if _inside(path, conf.writable):
            raise OSError(errno.EINVAL, "what is hidden lies inside what may be written")
    every = (1 << 13) - 1
    if abi >= 2:
        every |= 1 << 13  # refer: move between folders
    if abi >= 3:
        every |= _TRUNCATE
    if abi >= 5:
        every |= _IOCTL_DEV
    net = 0 if abi < 4 or conf.network else _NET_BIND_TCP | _NET_CONNECT_TCP
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= 6 else 0
    attr = struct.pack("=QQQ", every, net, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    rules = _call(_CREATE_RULESET, ctypes.c_char_p(attr), ctypes.c_size_t(len(attr)), ctypes.c_uint32(0))
    try:
        for path in readable(conf.hidden):
            _allow(rules, path, _READ & every)
        for path in conf.writable:
            _allow(rules, path, every)
        for path in _DEVICES:
            _allow(rules, path, (_READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV) & every)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _drop_capabilities()
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
    if not conf.network:
        _no_sockets()


def readable(hidden: Sequence[str]) -> list[str]:
    """The fewest paths that together are everything except what is hidden.

    Landlock only allows, it cannot take away: a folder above something hidden is allowed child by child.
    """
    found: list[str] = []
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if _inside(path, hidden):
            continue
        if not _inside_any(hidden, path):
            found.append(path)
            continue
        try:
            names = os.listdir(path)
        except OSError:
            continue
        waiting += [os.path.join(path, name) for name in names if not os.path.islink(os.path.join(path, name))]
    return found


def _allow(rules: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or not ours to see: nothing is allowed then
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _OF_FILES
        attr = struct.pack("=Qi", access, fd)
        _call(
            _ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.c_char_p(attr), ctypes.c_uint32(0)
        )
    finally:
        os.close(fd)


def _prctl(option: int, value: int, more: object = 0) -> None:
    if _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), more, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _drop_capabilities() -> None:
    """Also root is nobody special then: no modules, no mounts, no other users' files by privilege."""
    for capability in range(64):
        if _libc().prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break  # beyond the last one, or without the right to: then there is none to drop either
    header = struct.pack("=Ii", 0x20080522, 0)
    _libc().capset(ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


_ARCHES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Of each machine: its audit number and its `socket` call (linux/audit.h, the kernel's tables)."""
_IO_URING_SETUP = 425


def _seccomp_arch() -> tuple[int, int] | None:
    return _ARCHES.get(platform.machine())


def _no_sockets() -> None:
    """Refuse new sockets of every kind (pairs within the command are fine), and io_uring, which could make them."""
    found = _seccomp_arch()
    if found is None:
        raise OSError(errno.ENOSYS, "no filter for this machine")
    arch, socket_call = found
    load, jump_equal, jump_above, done = 0x20, 0x15, 0x35, 0x06
    refuse = (done, 0, 0, 0x00050000 | errno.EACCES)
    program = [
        (load, 0, 0, 4),
        (jump_equal, 0, 5, arch),  # another kind of system call than this machine's own: refused
        (load, 0, 0, 0),
        (jump_above, 3, 0, 0x40000000),  # x32
        (jump_equal, 2, 0, socket_call),
        (jump_equal, 1, 0, _IO_URING_SETUP),
        (done, 0, 0, 0x7FFF0000),
        refuse,
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(buffer)))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.cast(head, ctypes.c_void_p))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it ends."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(9), 0, 0, 0)
