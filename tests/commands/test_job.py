"""Commands: confined, started once, outliving whoever started them, ended with all that they started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconvene.commands import confinement, supervise
from reconvene.commands.job import Job, Spec, end_all, jobs_of, sweep
from reconvene.errors import ReconveneError

KINDS = [kind for kind in confinement.kinds() if kind != "none"]
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder outside of /tmp, which every command has to itself."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".reconvene-test-") as name:
        folder = Path(os.path.realpath(name))
        (folder / "workspace").mkdir()
        (folder / "data").mkdir()
        (folder / "data" / "owner.token").write_text("SECRET")
        yield folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> confinement.Kind:
    return request.param  # type: ignore[no-any-return]


def spec(place: Path, job: Job, *argv: str, kind: confinement.Kind = "none", **more: object) -> Spec:
    values: dict[str, object] = {
        "argv": argv, "cwd": str(place / "workspace"), "env": {"PATH": os.environ["PATH"], "TMPDIR": job.temporary}, "timeout": 30.0,
        "keep": 4000, "kind": kind, "writable": (str(place / "workspace"), job.temporary), "hidden": (str(place / "data"),),
    }  # fmt: skip
    return Spec(**{**values, **more})  # type: ignore[arg-type]


async def ran(place: Path, *argv: str, kind: confinement.Kind = "none", **more: object) -> tuple[int | None, str]:
    job = Job(place / "data" / "commands", repr((argv, kind, more)))
    job.start(spec(place, job, *argv, kind=kind, **more))
    result = await job.follow()
    return result.exit, result.output.decode() + (result.error or "")


def eventually(true: Callable[[], object], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_this_machine_can_confine() -> None:
    assert KINDS, "neither bubblewrap nor Landlock works here; the tests below would prove nothing"


async def test_it_writes_in_the_workspace_and_in_its_own_folder(place: Path, kind: confinement.Kind) -> None:
    code, text = await ran(place, "sh", "-c", "echo a > made; echo b > $TMPDIR/t && cat $TMPDIR/t", kind=kind)
    assert (code, text) == (0, "b\n")
    assert (place / "workspace" / "made").read_text() == "a\n"


async def test_it_writes_nowhere_else(place: Path, kind: confinement.Kind) -> None:
    outside = place / "outside"
    outside.write_text("mine")
    (place / "workspace" / "way").symlink_to(outside)
    for line in (
        f"echo x > {outside}",
        "echo x > way",
        f"rm -f {outside}",
        f"mv {outside} {outside}2",
        f"ln {outside} here && echo x > here",
    ):
        await ran(
            place, "sh", "-c", line, kind=kind
        )  # it may write to a /tmp of its own, and think that it was the real one
        assert outside.read_text() == "mine", line


async def test_control_unconfined_it_would_write_anywhere(place: Path) -> None:
    code, _ = await ran(place, "sh", "-c", f"echo x > {place}/outside")
    assert code == 0 and (place / "outside").exists()


async def test_it_cannot_read_what_is_hidden(place: Path, kind: confinement.Kind) -> None:
    for line in (
        f"cat {place}/data/owner.token",
        f"ls -R {place}/data | grep owner",
        f"cp -r {place}/data here; cat here/owner.token",
    ):
        code, text = await ran(place, "sh", "-c", line, kind=kind)
        assert code != 0 and "SECRET" not in text, line


_CONNECT = "import socket; socket.create_connection(('127.0.0.1', int(__import__('sys').argv[1])), 2)"
_UDP = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', int(__import__('sys').argv[1])))"
_UNIX = "import socket; socket.socket(socket.AF_UNIX).connect(__import__('sys').argv[1])"


async def test_it_reaches_no_network(place: Path, kind: confinement.Kind) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        code, text = await ran(place, PYTHON, "-c", _CONNECT, str(tcp.getsockname()[1]), kind=kind)
        assert code != 0, text
        await ran(place, PYTHON, "-c", _UDP, str(udp.getsockname()[1]), kind=kind)
        with pytest.raises(BlockingIOError):
            udp.recv(1)
        code, text = await ran(place, PYTHON, "-c", _CONNECT, str(tcp.getsockname()[1]), kind=kind, network=True)
        assert code == 0, text  # the control: with the network allowed it gets there


async def test_it_reaches_no_local_service(place: Path, kind: confinement.Kind) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as service:
        service.bind("\0reconvene-test-" + str(place))
        service.listen()
        code, _ = await ran(
            place,
            PYTHON,
            "-c",
            _UNIX.replace("argv[1]", "argv[1].replace('@', chr(0))"),
            "@reconvene-test-" + str(place),
            kind=kind,
        )
        assert code != 0


async def test_it_signals_nobody(place: Path, kind: confinement.Kind) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        code, _ = await ran(place, "sh", "-c", f"kill -9 {other.pid}", kind=kind)
        assert code != 0 and other.poll() is None
        other.kill()


async def test_root_is_nobody_special_inside(place: Path, kind: confinement.Kind) -> None:
    code, text = await ran(place, "sh", "-c", "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", kind=kind)
    assert code == 0
    values = dict(line.split(":\t") for line in text.splitlines())
    assert int(values["CapEff"], 16) == 0 and int(values["CapBnd"], 16) == 0 and values["NoNewPrivs"] == "1"


async def test_hooks_stay_as_they_are_in_bubblewrap(place: Path) -> None:
    if "bubblewrap" not in KINDS:
        assert confinement.bubblewrap() is None  # nothing to prove where there is none; Landlock cannot do this
        return
    hooks = place / "workspace" / ".git" / "hooks"
    hooks.mkdir(parents=True)
    code, _ = await ran(
        place, "sh", "-c", "echo x > .git/hooks/post-checkout", kind="bubblewrap", protected=(str(hooks),)
    )
    assert code != 0 and not list(hooks.iterdir())


async def test_a_folder_hidden_inside_what_may_be_written(place: Path, kind: confinement.Kind) -> None:
    inside = place / "workspace" / "data"
    inside.mkdir()
    (inside / "token").write_text("SECRET")
    _, text = await ran(place, "cat", "data/token", kind=kind, hidden=(str(inside),))
    assert "SECRET" not in text


def test_what_is_readable_is_everything_but_the_hidden(place: Path) -> None:
    (place / "data" / "sub").mkdir()
    allowed = confinement.readable([str(place / "data"), str(place / "nothing")])
    assert str(place / "workspace") in allowed
    assert not any(f"{place}/data".startswith(path.rstrip("/") + "/") or path == f"{place}/data" for path in allowed)
    assert confinement.readable([]) == ["/"]


# -- once, and to its end


async def test_it_runs_once_however_often_it_is_started(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    wanted = spec(place, job, "sh", "-c", "echo run >> runs; sleep 0.2")
    starts = [asyncio.to_thread(Job(place / "data" / "commands", "key").start, wanted) for _ in range(6)]
    await asyncio.gather(*starts)
    await job.follow()
    job.start(wanted)
    assert job.state() == "ended"
    assert (place / "workspace" / "runs").read_text() == "run\n"


async def test_control_without_the_mark_it_would_run_again(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    wanted = spec(place, job, "sh", "-c", "echo run >> runs")
    for _ in range(2):
        job.start(wanted)
        await job.follow()
        eventually(lambda: job.supervisor() is None)
        (job.folder / "started").unlink()
        (job.folder / "result.json").unlink()
    assert (place / "workspace" / "runs").read_text() == "run\nrun\n"


_SERVER = """
import sys
from pathlib import Path
from reconvene.commands.job import Job, Spec
from reconvene.errors import ReconveneError
base = Path(sys.argv[1])
job = Job(base / "data" / "commands", "key")
job.start(Spec(("sh", "-c", "until [ -e go ]; do sleep 0.02; done; echo went on"), str(base / "workspace"), {"PATH": "/usr/bin:/bin"},
               30.0, 4000, "none", (str(base / "workspace"), job.temporary)))
print("up", flush=True)
sys.stdin.read()
"""


async def test_it_outlives_who_started_it_and_is_collected_by_the_next(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        assert server.stdout is not None and server.stdout.readline() == b"up\n"
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    job = Job(place / "data" / "commands", "key")
    assert job.state() == "running"
    (place / "workspace" / "go").touch()
    result = await job.follow()
    assert (result.exit, result.output) == (0, b"went on\n")


async def test_a_supervisor_that_was_killed_leaves_an_unknown_end_and_nothing_running(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    wanted = spec(place, job, "sh", "-c", "echo $$ > pid; echo run >> runs; sleep 60")
    job.start(wanted)
    pid = place / "workspace" / "pid"
    eventually(lambda: pid.exists() and pid.read_text().strip())
    supervisor = job.supervisor()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: job.state() == "unknown")
    eventually(lambda: not alive(int(pid.read_text())))
    job.start(wanted)
    result = await job.follow()
    assert (result.exit, result.why) == (None, "lost")
    assert (place / "workspace" / "runs").read_text() == "run\n"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_its_whole_family_ends_with_it(place: Path, how: str) -> None:
    job = Job(place / "data" / "commands", "key")
    line = "trap '' TERM; (setsid sleep 61 & echo $! > one); sh -c 'trap \"\" TERM; echo $$ > two; sleep 62; sleep 63' & sleep 64; sleep 65"
    job.start(spec(place, job, "sh", "-c", line, timeout=0.5 if how == "timeout" else 30.0))
    pids = [place / "workspace" / name for name in ("one", "two")]
    eventually(lambda: all(p.exists() and p.read_text().strip() for p in pids))
    if how == "cancelled":
        job.cancel()
    result = await job.follow()
    assert result.why == how and result.exit is None
    assert not any(alive(int(p.read_text())) for p in pids)


async def test_what_a_command_leaves_behind_is_ended(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    job.start(spec(place, job, "sh", "-c", "setsid sleep 66 & echo $! > left"))
    result = await job.follow()
    assert result.exit == 0 and result.seconds < 10
    assert not alive(int((place / "workspace" / "left").read_text()))


async def test_output_is_bounded_and_its_ends_are_kept(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    job.start(spec(place, job, "sh", "-c", "echo first; yes | head -c 300000; echo last"))
    result = await job.follow()
    assert result.truncated and result.size == 300_011
    assert result.output.startswith(b"first\n") and result.output.endswith(b"last\n") and len(result.output) < 8200


@pytest.mark.parametrize("size", [0, 3999, 4000, 4001, 7999, 8000, 8001])
def test_output_around_the_bounds(place: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    kept = supervise.Kept(4000)
    data = bytes(i % 251 for i in range(size))
    for at in range(0, size, 777):
        kept.take(data[at : at + 777])
    truncated = kept.close()
    first = (place / "out").read_bytes()
    last = (place / "tail").read_bytes() if (place / "tail").exists() else b""
    assert truncated == (size > 8000)
    assert (first + last == data) if not truncated else (first == data[:4000] and last == data[-4000:])


async def test_a_program_that_is_not_there(place: Path, kind: confinement.Kind) -> None:
    code, text = await ran(place, "no-such-program", kind=kind)
    assert code != 0 and "No such file" in text


async def test_a_follower_sees_the_output_as_it_comes(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    job.start(spec(place, job, "sh", "-c", "echo one; until [ -e go ]; do sleep 0.02; done; echo two"))
    pieces: list[tuple[int, bytes]] = []

    def show(offset: int, piece: bytes) -> None:
        pieces.append((offset, piece))
        (place / "workspace" / "go").touch()

    await job.follow(show)
    assert pieces == [(0, b"one\n"), (4, b"two\n")]


async def test_folders_of_ended_jobs_go_and_running_ones_stay(place: Path) -> None:
    jobs = jobs_of(place / "data", "s/r1")
    ended, running = Job(jobs, "ended"), Job(jobs, "running")
    ended.start(spec(place, ended, "true"))
    await ended.follow()
    running.start(spec(place, running, "sleep", "60"))
    assert sweep(place / "data", 3600) == 0
    assert sweep(place / "data", -1) == 1
    assert not ended.folder.exists() and running.state() == "running"
    end_all(jobs)
    assert running.state() == "ended" and (result := running.result()) is not None and result.why == "cancelled"
    assert sweep(place / "data", -1) == 1 and not jobs.exists()
    assert sweep(place / "nowhere", 0) == 0


async def test_a_job_whose_folder_is_removed_is_not_waited_for(place: Path) -> None:
    job = Job(place / "data" / "commands", "key")
    with pytest.raises(ReconveneError) as e:
        await job.follow()
    assert e.value.code == "tool_failed"
