"""`reconvene doctor`: one line for each thing that can be wrong, with its fix. It changes nothing without `--repair`."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reconvene.cli import terminal
from reconvene.client.local import Server, find
from reconvene.config import Settings
from reconvene.errors import ReconveneError

SQLITE_FLOOR = (3, 51, 3)
"""Older ones can damage a WAL database when one connection checkpoints while another writes (the WAL-reset bug)."""
FREE_SPACE = 500 * 1000**2


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` says what to do; it is there when, and only when, something is wrong."""

    check: str
    ok: bool
    detail: str
    fix: str | None = None


def doctor(data_dir: Path, *, repair: bool, as_json: bool) -> int:
    """Print the findings; returns the exit code: 1 when something is wrong."""
    terminal.quiet_logs()
    if repair:
        from reconvene.cli.repair import repair_all

        for line in repair_all(data_dir):
            terminal.say(f"· {line}")
    findings = []
    for finding in examine(data_dir):
        findings.append(finding)
        if as_json:
            terminal.emit(asdict(finding))
            continue
        print(f"{'✓' if finding.ok else '✗'} {finding.check}: {terminal.safe(finding.detail)}", flush=True)
        if finding.fix is not None:
            print(f"    fix: {finding.fix}", flush=True)
    return 0 if all(f.ok for f in findings) else 1


def examine(data_dir: Path) -> Iterator[Finding]:
    """Every check, in the order in which one thing stands on another. A check that fails unforeseen is a finding, too."""
    server = find(data_dir)
    try:
        settings: Settings | None = Settings.load({"data_dir": data_dir})
    except ReconveneError as e:
        settings = None
        yield Finding(
            "settings", False, e.message, "Correct the setting; `docs/reference/settings.md` lists what is accepted."
        )
    checks: list[Callable[[], Finding]] = [machine, python, sqlite, lambda: space(data_dir), lambda: folder(data_dir)]
    checks += [lambda: token(data_dir), lambda: database(data_dir)]
    if settings is not None:
        from reconvene.cli.doctor_model import daily_cap, fallback, model

        given = settings
        checks += [
            lambda: model(given),
            lambda: fallback(given),
            lambda: daily_cap(given),
            lambda: index_folder(data_dir, server),
            lambda: port(given, server),
        ]
    checks += [page, lambda: running(data_dir, server)]
    for check in checks:
        try:
            yield check()
        except Exception as e:
            yield Finding(
                getattr(check, "__name__", "check"),
                False,
                f"could not be checked ({e})",
                "Look at the message; it names the file.",
            )
    if settings is not None:
        yield from chosen(settings)


def machine() -> Finding:
    cores = os.cpu_count() or 1
    detail = f"{platform.system()} {platform.release()}, {platform.machine()}, {terminal.count(cores, 'core')}"
    if os.name != "posix":
        return Finding("machine", False, detail, "Use Linux, macOS, or WSL on Windows.")
    from reconvene.workspace.jail import best_variant

    way = (
        "paths are resolved by the kernel"
        if best_variant() == "kernel"
        else "paths are walked name by name (no openat2 here)"
    )
    return Finding("machine", True, f"{detail}; {way}")


def python() -> Finding:
    detail = f"{platform.python_version()} ({sys.executable})"
    return Finding(
        "python",
        sys.version_info >= (3, 11),
        detail,
        None if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.",
    )


def sqlite() -> Finding:
    import apsw

    version = apsw.sqlite_lib_version()
    new_enough = tuple(map(int, version.split("."))) >= SQLITE_FLOOR
    floor = ".".join(map(str, SQLITE_FLOOR))
    return Finding(
        "sqlite",
        new_enough,
        f"{version} (at least {floor})",
        None if new_enough else "Run `make setup`: it installs the pinned apsw.",
    )


def space(data_dir: Path) -> Finding:
    place = next(p for p in (data_dir, *data_dir.parents) if p.exists())
    free = shutil.disk_usage(place).free
    enough = free >= FREE_SPACE
    return Finding(
        "disk",
        enough,
        f"{free / 1000**3:.1f} GB free at {place}",
        None if enough else "Free some space, or move the data folder.",
    )


def folder(data_dir: Path) -> Finding:
    quoted = shlex.quote(str(data_dir))
    if not data_dir.exists():
        return Finding("data folder", True, f"{data_dir} (is made at the first start)")
    if not data_dir.is_dir():
        return Finding("data folder", False, f"{data_dir} is not a folder", f"Move it away: mv {quoted} {quoted}.old")
    found = data_dir.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return Finding(
            "data folder", False, f"{data_dir} belongs to uid {found.st_uid}", "Choose another with --data-dir."
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        return Finding(
            "data folder", False, f"others can reach {data_dir} (mode {mode:04o})", f"chmod 700 {quoted}, or --repair"
        )
    if not os.access(data_dir, os.W_OK | os.X_OK):
        return Finding("data folder", False, f"{data_dir} cannot be written", f"chmod 700 {quoted}, or --repair")
    return Finding("data folder", True, str(data_dir))


def token(data_dir: Path) -> Finding:
    path = data_dir / "owner.token"
    if not path.exists():
        return Finding("owner token", True, "is made at the first start")
    mode = path.stat().st_mode
    if mode & 0o077 or not stat.S_ISREG(mode):
        return Finding(
            "owner token", False, f"others can read {path}", f"chmod 600 {shlex.quote(str(path))}, or --repair"
        )
    return Finding("owner token", True, "only you can read it")


def database(data_dir: Path) -> Finding:
    import apsw

    from reconvene.log import database as db
    from reconvene.log.salvage import unsound

    path = data_dir / "reconvene.db"
    if not path.exists():
        if path.with_name(path.name + ".instance").exists():
            fix = "Put it back or restore a backup (stop the server first); --repair starts with an empty one."
            return Finding("database", False, f"{path} is gone, though there was one", fix)
        return Finding("database", True, "is made at the first start")
    try:
        # A server's locks are those of its process, so a look from here takes none of them away.
        db.recognise(path)
        connection = db.connect(path, readonly=True)
    except ReconveneError as e:
        return Finding("database", False, e.message, _database_fix(e.code, data_dir))
    except apsw.Error as e:
        return Finding("database", False, f"{path} cannot be opened ({e})", _database_fix("store_corrupt", data_dir))
    try:
        found = [str(row[0]) for row in connection.execute("pragma integrity_check(3)")]
        if found == ["ok"]:
            db.check(connection, path, below=0)
            if how := unsound(path):
                return Finding("database", False, f"{path} is damaged: {how}", _database_fix("store_corrupt", data_dir))
            sessions = connection.execute("select count(*) from session").get
            return Finding(
                "database",
                True,
                f"whole; {terminal.count(sessions, 'session')}, {terminal.size(path.stat().st_size)}",
            )
        detail = f"{path} is damaged: {found[0]}"
    except apsw.Error as e:
        detail = f"{path} is damaged: {e}"
    except ReconveneError as e:
        detail = e.message
    finally:
        connection.close()
    return Finding("database", False, detail, _database_fix("store_corrupt", data_dir))


def _database_fix(code: str, data_dir: Path) -> str:
    match code:
        case "store_newer":
            return "Upgrade Reconvene to the version that wrote it, or newer."
        case "store_foreign":
            return "It is another program's: move it away, or choose another --data-dir."
        case "store_corrupt":
            return f"reconvene stop; reconvene doctor --repair --data-dir {shlex.quote(str(data_dir))} (keeps the damaged file)"
    return "Make the file readable and writable for you."


def index_folder(data_dir: Path, server: Server | None = None) -> Finding:
    path = data_dir / "indexes"
    if not path.exists():
        return Finding("index", True, "is made at the first search")
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("index", False, f"{path} cannot be written", f"chmod 700 {shlex.quote(str(path))}, or --repair")
    sizes = [f.stat().st_size for f in path.rglob("*") if f.is_file()]
    detail = f"{terminal.size(sum(sizes))} in {path}; it can be deleted at any time and is built again"
    states = _index_states(server)
    told = [f"{s['name']}: {s['sentence']} {' '.join(s['notes'])}".rstrip() for s in states]
    failed = [s["name"] for s in states if s["phase"] == "failed"]
    fix = f"reconvene index --rebuild (of {', '.join(failed)}), and see logs/server.log" if failed else None
    return Finding("index", not failed, "; ".join([detail, *told]), fix)


def _index_states(server: Server | None) -> list[dict[str, Any]]:
    """As the server has them; nothing when there is none, or while it starts."""
    if server is None:
        return []
    try:
        states: list[dict[str, Any]] = server.call("GET", "/api/indexes")["indexes"]
    except ReconveneError:
        return []
    return states


def port(settings: Settings, server: Server | None) -> Finding:
    if server is not None:
        return Finding("port", True, f"{server.port} is the server's")
    if settings.port == 0:
        return Finding("port", True, "any free one")
    taken = [
        host
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
        if _taken(family, host, settings.port)
    ]
    if taken:
        return Finding(
            "port",
            False,
            f"something else listens on {taken[0]} port {settings.port}",
            "reconvene serve --port 0 takes a free one",
        )
    return Finding("port", True, f"{settings.port} is free")


def _taken(family: socket.AddressFamily, host: str, number: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            return s.connect_ex((host, number)) == 0
    except OSError:  # no such family here
        return False


def page() -> Finding:
    from importlib.resources import files

    built = (files("reconvene") / "static" / "index.html").is_file()
    return Finding(
        "page",
        built,
        "built" if built else "was not built",
        None if built else "Run `make setup` in the source folder.",
    )


def running(data_dir: Path, server: Server | None) -> Finding:
    if server is None:
        from reconvene.log.folder import DataFolder

        if (pid := DataFolder.owner(data_dir)) is not None:
            who = f"process {pid}" if pid else "a process"
            fix = f"Wait a moment; if it stays so, end it: kill {pid or '<pid>'}"
            return Finding("server", False, f"{who} holds the data folder but does not answer", fix)
        return Finding("server", True, "not running; `reconvene serve` starts one")
    if server.status != "ok":
        fix = "See the database above; then: reconvene restart"
        return Finding("server", False, f"process {server.pid} runs, but cannot write ({server.status})", fix)
    health = server.call("GET", "/healthz")
    return Finding(
        "server", True, f"{health['version']} on port {server.port}, process {server.pid}, {health['runs']} runs"
    )


def chosen(settings: Settings) -> Iterator[Finding]:
    """Every setting that is not its default, with where it came from."""
    for name, origin in sorted(settings.origins.items()):
        if name != "data_dir":
            holder, _, field = name.rpartition(".")
            value = getattr(settings.limits if holder else settings, field)
            yield Finding(f"setting {name}", True, f"{value} (from {origin})")
