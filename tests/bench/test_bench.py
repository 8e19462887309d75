"""The bench's own parts: what it counts, when it writes, how it judges. Nothing here looks at a clock's figure."""

from __future__ import annotations

import doctest
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.control import Child
from bench.plan import FULL, QUICK
from bench.stage import Place
from bench.table import Row, percentile, ratio, render
from bench.wire import EVENT, PING, TEXT, Incoming, frame, stamped, stamps

from bench import pace, table
from reconvene.protocol.events import Text, wire


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """As a server sends it: not masked."""
    made = frame(opcode, payload)
    size = 2 if len(payload) < 126 else 4
    return bytes((made[0], made[1] & 0x7F)) + made[2:size] + made[size + 4 :]


@pytest.mark.parametrize("module", [pace, table])
def test_examples_are_true(module) -> None:
    assert doctest.testmod(module).failed == 0


def test_what_comes_in_pieces_is_counted_once() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    sent = [(TEXT, bytes(rng.randrange(1, 900))), (PING, b"1234"), (TEXT, b""), (TEXT, bytes(70)), (TEXT, bytes(2000))]
    stream = b"".join(server_frame(payload, opcode) for opcode, payload in sent)
    incoming, got = Incoming(), []
    while stream:
        size = rng.randrange(1, 300)
        got += incoming.feed(stream[:size])
        stream = stream[size:]
    assert got == sent


def test_a_message_in_one_piece_is_recognised() -> None:
    one = server_frame(bytes(300))
    assert Incoming().whole(one)
    assert not Incoming().whole(one[:-1]) and not Incoming().whole(one + one)
    behind = Incoming()
    list(behind.feed(one[:10]))
    assert not behind.whole(one)


def test_events_of_the_server_are_counted_and_timed() -> None:
    """Control: an event written in another way would be counted as none."""
    text = stamped("x" * 200)
    event = wire("text", 7, "r1", "r1.m1", None, 1.0, Text(attempt=1, text=text).json_text()).encode()
    assert len(text) == 200
    assert event.count(EVENT) == 1 and stamps(event) == [int(text[:20])]
    assert event.replace(b',"seq":', b', "seq":').count(EVENT) == 0


async def test_every_session_gets_its_rate() -> None:
    made = [0] * 40

    async def emit(due) -> None:
        for i in due:
            made[i] += 1

    await pace.keep_pace(40, 100.0, 0.1, emit)
    assert made == [10] * 40


def test_a_missed_target_is_said() -> None:
    text = render(
        [Row("a", "1", "2", "0.50", "≤ 1", True), Row("b", "3", target="≤ 2", met=False), Row("c", "4", note="so.")]
    )
    assert "1 of 2 targets met. Missed: b." in text and "MISSED" in text and "* c: so." in text


def test_figures() -> None:
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]) == 3.0
    assert QUICK.rounds <= FULL.rounds and QUICK.rate == FULL.rate


def test_clients_count_what_the_floor_sends() -> None:
    """The whole way, over sockets: attaching, a load, leaving."""
    floor, clients = Child("bench.floor", "x" * 200), Child("bench.clients")
    try:
        place = Place("floor", floor, **floor.call("ready"))
        clients.call("to", port=place.port, token=place.token)
        attached = clients.call("attach", hello='{"group": "g", "missed": 30}', times=2)
        assert attached["events"] == [30, 30]
        clients.call("open", hellos=place.hellos(["g0", "g1"], 3), sample=1)
        clients.call("expect", events=5)
        clients.start("arrived", patience=20.0)
        floor.call("load", sessions=["g0", "g1"], rate=50.0, seconds=0.1, size=200)
        got = clients.answer()
        assert (got["events"], got["missing"], got["repeated"], len(got["latencies"])) == (30, 0, 0, 30)
        clients.call("leave")
    finally:
        clients.stop()
        floor.stop()
