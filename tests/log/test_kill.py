"""`kill -9` at random moments: nothing that was acknowledged is lost, and what is sent again is there once."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
from pytest import fail

from reconvene.log import database
from reconvene.log.folder import DataFolder

KILLS, WRITERS = 24, 4

# Imports once and forks a server for each "line of starts": a start of the interpreter for every kill would take most of the time.
ZYGOTE = """
    import asyncio, os, sys
    from pathlib import Path
    from reconvene.log.folder import DataFolder
    from reconvene.log.port import Command, NewEvent, NewSession
    from reconvene.log.sqlite import SqliteLog

    async def serve(path, starts):
        folder = DataFolder.claim(path)
        log = await SqliteLog.open(folder.database)

        async def writer(w, i):
            await log.create(NewSession(f"s_{w}", "o", "/r", "e"), command=Command("o", f"create-{w}", "h"))
            while True:
                log.append_soon(f"s_{w}", [NewEvent("soon", "{}", public=False)])
                done = await log.append(f"s_{w}", [NewEvent("x", '"%s"' % ("y" * 500))], command=Command("o", f"{w}-{i}", "h"))
                os.write(1, f"ack {w} {i} {done.first}\\n".encode())
                i += 1

        await asyncio.gather(*(writer(w, i) for w, i in enumerate(starts)))

    for line in sys.stdin:
        path, *starts = line.split()
        pid = os.fork()
        if pid == 0:
            asyncio.run(serve(Path(path), [int(s) for s in starts]))
        os.write(1, f"pid {pid}\\n".encode())
        os.waitpid(pid, 0)
        os.write(1, b"dead\\n")
"""


class Zygote:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(ZYGOTE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.rest = b""

    def lines(self, until: float) -> list[str]:
        """What was said up to a moment, at least."""
        assert self.process.stdout
        fd = self.process.stdout.fileno()
        while (left := until - time.monotonic()) > 0:
            if select.select([fd], [], [], left)[0]:
                data = os.read(fd, 65536)
                if not data:
                    fail("the server's parent ended")
                self.rest += data
                if b"dead\n" in self.rest:
                    break
        *whole, self.rest = self.rest.split(b"\n")
        return [line.decode() for line in whole]

    def life(self, folder: Path, starts: list[int], rng: random.Random) -> list[str]:
        """Start a server, kill it a little after its first words, and return all it said."""
        assert self.process.stdin
        self.process.stdin.write(" ".join([str(folder), *map(str, starts)]).encode() + b"\n")
        self.process.stdin.flush()
        said: list[str] = []
        deadline = time.monotonic() + 30
        while not any(line.startswith("ack") for line in said):
            assert time.monotonic() < deadline, said
            said += self.lines(time.monotonic() + 0.01)
        pid = int(next(line for line in said if line.startswith("pid")).split()[1])
        said += self.lines(time.monotonic() + rng.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        while "dead" not in said:
            said += self.lines(deadline)
        return said

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    folder = tmp_path / "data"
    acknowledged: dict[tuple[int, int], int] = {}
    starts = [0] * WRITERS
    zygote = Zygote()
    try:
        for _ in range(KILLS):
            for name, seq in acks(zygote.life(folder, starts, rng)):
                assert acknowledged.setdefault(name, seq) == seq, "acknowledged twice, at two places"
            # The client sends again what was not acknowledged: it may be there or not.
            starts = [1 + max((i for w2, i in acknowledged if w2 == w), default=-1) for w in range(WRITERS)]
            verify(folder, acknowledged)
    finally:
        zygote.end()
    assert len(acknowledged) > KILLS * 5
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged, 0 lost")


def acks(said: list[str]) -> Iterator[tuple[tuple[int, int], int]]:
    """((writer, number of its command), seq)"""
    for line in said:
        if line.startswith("ack "):
            w, i, seq = map(int, line.split()[1:])
            yield (w, i), seq


def verify(folder: Path, acknowledged: dict[tuple[int, int], int]) -> None:
    """Start on what the kill left, as the next server will."""
    claimed = DataFolder.claim(folder)
    db, _ = database.open_installed(claimed.database, "full", 1000, 2**40)
    by_session: dict[str, list[tuple[int, str]]] = {}
    for id, seq, type in db.execute(
        "select s.id, e.seq, e.type from event e join session s on s.n = e.session order by place"
    ):
        by_session.setdefault(id, []).append((seq, type))
    commands: dict[str, tuple[str, int]] = {
        id: (session_id, seq)
        for id, session_id, seq in db.execute("select id, session_id, seq from command where id like '%-%'")
    }
    for rows in by_session.values():
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1)), "a gap"
    for (w, i), seq in acknowledged.items():
        assert commands[f"{w}-{i}"] == (f"s_{w}", seq), "an acknowledged command is lost"
        assert (seq, "x") in by_session[f"s_{w}"][seq - 1 : seq], "an acknowledged event is lost"
    sent = sum(type == "x" for rows in by_session.values() for _, type in rows)
    assert sent == sum(not id.startswith("create") for id in commands), (
        "an event without its command: something was written twice"
    )
    db.close()
    claimed.release()


def test_control_a_verifier_that_is_shown_a_lost_event_sees_it(tmp_path):
    zygote = Zygote()
    try:
        said = zygote.life(tmp_path / "data", [0] * WRITERS, random.Random(1))
    finally:
        zygote.end()
    acknowledged = dict(acks(said))
    verify(tmp_path / "data", acknowledged)
    (w, _), seq = next(iter(acknowledged.items()))
    db = apsw.Connection(str(tmp_path / "data" / "reconvene.db"))
    db.execute("delete from event where session = (select n from session where id = ?) and seq = ?", (f"s_{w}", seq))
    db.close()
    try:
        verify(tmp_path / "data", acknowledged)
    except AssertionError:
        return
    fail("not seen")
