"""The process: what it claims and binds before it begins, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import closed, hello, receive, send, serving

from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.runs.supervisor import Supervisor
from reconvene.server import lifecycle
from reconvene.server.lifecycle import Ended, Server
from reconvene.server.sockets import bind, listener
from reconvene.sessions.rows import Who

PROGRAM = """
import sys
from pathlib import Path
from reconvene.config import Settings
from reconvene.server.lifecycle import run_server
settings = Settings.load({"data_dir": sys.argv[1], "port": 0})
ended = run_server(settings, [sys.argv[2]], on_ready=lambda ready: print(ready.port, flush=True))
print(ended.restart, ended.roots, "pydantic_ai" in sys.modules, flush=True)
"""


async def started(server: Server) -> ReconveneError:
    """The refusal of a server that must not start."""
    with pytest.raises(ReconveneError) as refused:
        await server.run()
    return refused.value


def settings(tmp_path: Path, name: str = "data", **more: Any) -> Settings:
    return Settings(data_dir=tmp_path / name, **{"port": 0, **more})


async def test_both_loopbacks_are_bound(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_STREAM) as s:
                await asyncio.get_running_loop().run_in_executor(None, s.connect, (address, server.port))


async def test_server_json_says_where_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        path = server.data_dir / "server.json"
        said = json.loads(path.read_text())
        assert set(said) == {"pid", "host", "port", "started"}
        assert (said["pid"], said["host"], said["port"]) == (os.getpid(), "localhost", server.port)
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    assert sorted(p.name for p in server.data_dir.iterdir() if p.name.startswith(".")) == []


async def test_bad130_a_second_server_on_one_data_folder(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        refused = await started(Server(settings(tmp_path), []))
        assert refused.code == "already_running" and refused.details["pid"] == os.getpid()
        assert json.loads((server.data_dir / "server.json").read_text())["port"] == server.port
        assert (await server.http("GET", "/healthz")).status == 200


async def test_bad130_a_port_in_use_is_refused_before_the_database_is_touched(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        refused = await started(Server(settings(tmp_path, "other", port=server.port), []))
        assert refused.code == "port_in_use" and refused.details["port"] == server.port
        if sys.platform == "linux":
            assert refused.details["pid"] == os.getpid() == listener(server.port)
            assert str(os.getpid()) in refused.message
        assert not (tmp_path / "other" / "reconvene.db").exists()


async def test_a_root_that_is_none_stops_the_start(tmp_path: Path) -> None:
    assert (await started(Server(settings(tmp_path), [tmp_path / "none"]))).code == "root_not_found"
    assert not (tmp_path / "data" / "reconvene.db").exists()


async def test_a_public_url_that_is_none_stops_the_start(tmp_path: Path) -> None:
    assert (await started(Server(settings(tmp_path, public_url="box.example"), []))).code == "invalid_field"
    assert not (tmp_path / "data" / "reconvene.db").exists()


async def test_bad127_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "reconvene.db").write_bytes(b"this is no database at all" * 100)
    assert (await started(Server(settings(tmp_path), []))).code in ("store_corrupt", "store_foreign")
    with socket.socket() as s:  # the folder is released
        assert s
    (tmp_path / "data" / "reconvene.db").unlink()
    async with serving(tmp_path):
        pass


async def test_bad129_a_data_folder_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o777)
    (tmp_path / "data").chmod(0o777)
    assert (await started(Server(settings(tmp_path), []))).code == "unsafe_permissions"


@pytest.mark.parametrize("what", ["logs", ".server.json"], ids=["bad125-logs", "bad125-server-file"])
async def test_a_disk_that_is_full_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    opened = os.open

    def full(path: Any, *args: Any, **more: Any) -> int:
        if what in str(path).removeprefix(str(tmp_path)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        error = await started(Server(settings(tmp_path), []))
    assert error.code == "disk_full"
    assert not list((tmp_path / "data").glob("*server.json*"))
    async with serving(tmp_path):  # there is space again
        pass


def test_only_loopback_without_a_public_name() -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.com"):
        with pytest.raises(ReconveneError) as refused:
            bind(host, 0, public=False, send_time=20)
        assert refused.value.code == "invalid_field"
    with pytest.raises(ReconveneError):
        bind("192.0.2.1", 0, public=True, send_time=20)  # not of this machine
    for host in ("localhost", "127.0.0.1", "::1", "[::1]"):
        bound = bind(host, 0, public=False, send_time=20)
        assert len({s.getsockname()[1] for s in bound}) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert all(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000 for s in bound)
        for s in bound:
            s.close()


async def test_bad131_runs_start_when_what_they_need_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file descriptor for an import, then a store that is busy: the server comes up, and runs go on by themselves."""
    failures: list[Exception] = [ReconveneError("store_busy", "Not now."), OSError(errno.EMFILE, "Too many open files")]
    surroundings, start = lifecycle._surroundings, Supervisor.start

    def importing(*args: Any) -> Any:
        if len(failures) == 2:
            raise failures.pop()
        return surroundings(*args)

    async def starting(self: Supervisor) -> None:
        if failures:
            raise failures.pop()
        await start(self)

    monkeypatch.setattr(lifecycle, "STORE_PATIENCE", 0.01)
    monkeypatch.setattr(lifecycle, "_surroundings", importing)
    monkeypatch.setattr(Supervisor, "start", starting)
    (tmp_path / "project").mkdir()
    ready = asyncio.get_running_loop().create_future()
    server = Server(settings(tmp_path), [tmp_path / "project"], on_ready=ready.set_result)
    task = asyncio.create_task(server.run())
    await ready
    assert server.services is not None
    sessions = server.services.sessions
    session_id = (await sessions.attach(Who("owner"), session_id=None)).session.id
    await sessions.submit(Who("owner"), session_id, id=None, text="What is here?")
    async with asyncio.timeout(20):
        while (await sessions.state(session_id)).status == "running":  # then it is answered, or asks what is meant
            await asyncio.sleep(0.05)
    server.stop()
    await task
    assert not failures


async def test_stop_over_http(tmp_path: Path) -> None:
    for restart in (False, True):
        async with serving(tmp_path) as server, server.connect() as socket_:
            await send(socket_, hello())
            await receive(socket_, "snapshot")
            answer = await server.http("POST", "/api/stop", {"restart": restart})
            assert answer.status == 202
            assert (await closed(socket_))[0] == 1012
            async with asyncio.timeout(5):
                ended = await server.task
            assert ended == Ended(restart, (str(tmp_path / "project"),), server.port)


async def test_idle_exit(tmp_path: Path) -> None:
    async with serving(tmp_path, idle_exit=0.3) as server:
        async with server.connect() as socket_:
            await send(socket_, hello())
            await receive(socket_, "snapshot")
            done, _ = await asyncio.wait({server.task}, timeout=0.8)
            assert not done, "somebody is there"
        async with asyncio.timeout(5):
            await server.task


async def test_a_database_that_is_taken_away_is_noticed(tmp_path: Path) -> None:  # bad128
    async with serving(tmp_path) as server:
        async with server.connect() as socket_:
            await send(socket_, hello())
            await receive(socket_, "snapshot")
            (server.data_dir / "reconvene.db").rename(server.data_dir / "elsewhere.db")
            assert (await closed(socket_))[0] == 1013
        async with asyncio.timeout(5):  # a reader may notice before the watchdog does
            while server.services.unwell is None:
                await asyncio.sleep(0.01)
        health = await server.http("GET", "/healthz", bearer=False)
        assert (health.status, health.json["status"]) == (503, "store_lost")
        async with server.connect() as socket_:  # nothing is said of sessions that cannot be known
            await send(socket_, hello())
            assert (await closed(socket_))[0] == 1013
        log = (server.data_dir / "logs" / "server.log").read_text()
        assert '"level": "critical"' in log


class Process:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    @classmethod
    async def start(cls, tmp_path: Path) -> Process:
        (tmp_path / "project").mkdir(exist_ok=True)
        (tmp_path / "project" / "main.py").write_text("x = 1\n")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            str(tmp_path / "data"),
            str(tmp_path / "project"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        return cls(process, int(line))

    async def wait(self) -> tuple[int, str]:
        async with asyncio.timeout(20):
            out, err = await self.process.communicate()
        assert b"Traceback" not in err, err.decode()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_bad131_a_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    running = await Process.start(tmp_path)
    from websockets.asyncio.client import connect

    token = (tmp_path / "data" / "owner.token").read_text().strip()
    async with connect(
        f"ws://localhost:{running.port}/ws", additional_headers={"Authorization": f"Bearer {token}"}, proxy=None
    ) as socket_:
        await send(socket_, hello())
        await receive(socket_, "snapshot")
        running.process.send_signal(number)
        assert (await receive(socket_, "goodbye"))["content"]["reason"] == "restart"
        assert (await closed(socket_))[0] == 1012
    code, out = await running.wait()
    assert code == 0 and out.startswith("False")
    assert not (tmp_path / "data" / "server.json").exists()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    running = await Process.start(tmp_path)
    token = (tmp_path / "data" / "owner.token").read_text().strip()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    from test_transport import handshake

    class _Here:
        port, bearer = running.port, {"Authorization": f"Bearer {token}"}

    writer.write(handshake(_Here()))  # type: ignore[arg-type]
    await reader.readuntil(b"\r\n\r\n")
    running.process.send_signal(signal.SIGTERM)  # this client does not answer the close: the drain has to wait for it
    await reader.read(4)
    running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await running.process.wait() == 1
    writer.close()
    again = await Process.start(tmp_path)  # nothing is left behind that keeps the next one from starting
    again.process.send_signal(signal.SIGTERM)
    assert (await again.wait())[0] == 0


async def test_the_heavy_imports_wait_until_the_server_answers(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        "print(ready.port, flush=True)",
        'print(ready.port, "pydantic_ai" in sys.modules, "fastapi" in sys.modules, "numpy" in sys.modules, flush=True)',
    )
    (tmp_path / "project").mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "data"), str(tmp_path / "project"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = (await process.stdout.readline()).decode().split()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert line[1:] == ["False", "False", "False"]


async def test_logs_hold_no_secret(tmp_path: Path) -> None:
    import structlog

    async with serving(tmp_path) as server:
        log = structlog.get_logger("reconvene.test")
        log.warning(
            "tried",
            token="abcdefghijklmnop",
            url=f"http://localhost:1/sign-in?t={'s' * 43}",
            header=f"Bearer {server.token}",
        )
        text = (server.data_dir / "logs" / "server.log").read_text()
        assert "abcdefghijklmnop" not in text and "s" * 43 not in text and server.token not in text
        assert text.count("(hidden)") == 3
        assert (server.data_dir / "logs" / "server.log").stat().st_mode & 0o777 == 0o600
