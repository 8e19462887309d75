"""The events a program is given fold to what the log folds to, whatever the connection did; each of them once."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reconvene.client.told import SNAPSHOT, Event
from reconvene.client.unseen import Unseen
from reconvene.protocol.folding import fold
from reconvene.protocol.follower import Follower
from reconvene.protocol.view import View, reduce

FILES = sorted((Path(__file__).parents[1] / "conformance").glob("*.jsonl"))


class Program:
    """Folds what it is given, as a program would."""

    def __init__(self, after: str | None = None) -> None:
        self.unseen = Unseen(after)
        self.view = View()
        self.seen: list[Event] = []

    def take(self, frame: dict[str, Any], reason: str | None) -> None:
        content = frame["content"]
        if frame["type"] == "snapshot":
            new = list(self.unseen.snapshot(content["events"], content["cursor"], reason))
        else:
            new = list(self.unseen.batch(content["events"], content["upto"]))
        for event in new:
            if event.type == SNAPSHOT:
                self.view = View()
                self.seen.clear()
            else:
                self.view.apply(event.to_json())
                self.seen.append(event)


def play(path: Path) -> None:
    follower, program = Follower(), Program()
    session, reason = None, None
    for line in map(json.loads, path.read_text("utf-8").splitlines()):
        if "connect" in line:
            follower.connect()
        elif frame := line.get("receive"):
            if frame["type"] == "session":
                reason = frame["content"]["reason"]
                if session not in (None, frame["content"]["session_id"]):
                    program = Program()  # a program asks for one session; another one is another iteration
                session = frame["content"]["session_id"]
            if follower.receive(frame) == "applied":
                program.take(frame, reason)
        elif "view" in line:
            assert program.view.to_json() == line["view"]


@pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])
def test_a_recorded_conversation_comes_once(path: Path) -> None:
    play(path)


class Row:
    """A row of the log for `fold`."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.public = True
        self.__dict__.update(event)
        self.content = json.dumps(event["content"])


def written(rng: Random) -> list[dict[str, Any]]:
    """Texts that are written in pieces, struck, begun again and finished, several at a time, with prompts between them."""
    events: list[dict[str, Any]] = []
    attempts = dict.fromkeys("abc", 1)
    finished: set[str] = set()

    def add(type: str, item: str | None, **content: Any) -> None:
        row = {"type": type, "seq": len(events) + 1, "run_id": "r1", "item_id": item, "parent_id": None, "at": 0.0}
        events.append({**row, "content": content})

    for _ in range(rng.randint(3, 40)):
        item = rng.choice("abc")
        match rng.random():
            case x if x < 0.6 and item not in finished:
                kind = rng.choice(["text", "text", "text", "reasoning"])
                add(kind, item, attempt=attempts[item], text=rng.choice(["one ", "two ", "three "]))
            case x if x < 0.7 and item not in finished:
                if any(e["item_id"] == item for e in events):
                    add("item_aborted", item, attempt=attempts[item])
                attempts[item] += 1
            case x if x < 0.8 and item not in finished:
                finished.add(item)
                add("message", item, text="whole")
            case _:
                add("prompt", None, id=f"p{len(events)}", text="?")
    return events


def follow(events: list[dict[str, Any]], rng: Random, unseen: type[Unseen] = Unseen) -> tuple[Program, View]:
    """Batches and, now and then, a snapshot of the same log, up to its end."""
    program = Program()
    program.unseen = unseen()
    at = 0
    while at < len(events):
        upto = rng.randint(at + 1, len(events))
        if rng.random() < 0.5:
            content: dict[str, Any] = {"upto": f"c{upto}", "events": events[at:upto]}
            program.take({"type": "batch", "content": content}, "lag")
        else:
            folded = [json.loads(text) for text in fold(Row(e) for e in events[:upto])]  # type: ignore[misc]
            program.take({"type": "snapshot", "content": {"cursor": f"c{upto}", "events": folded}}, "lag")
        at = upto
    return program, reduce(events)


def right(seed: int, unseen: type[Unseen] = Unseen) -> bool:
    rng = Random(seed)
    program, whole = follow(written(rng), rng, unseen)
    seqs = [e.seq for e in program.seen if e.type not in ("text", "reasoning", "item_aborted")]
    return program.view.to_json() == whole.to_json() and seqs == sorted(set(seqs))


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_a_lag_costs_no_text_and_repeats_none(first: int) -> None:
    wrong = [seed for seed in range(first, first + 250) if not right(seed)]
    assert wrong == [], f"seeds {wrong}"


class ForgetsHowMuch(Unseen):
    """Without the count of what was seen of a text."""

    def _see(self, event: Any, cursor: str) -> Event:
        seen = super()._see(event, cursor)
        self._open = {key: (attempt, 0) for key, (attempt, _) in self._open.items()}
        return seen


class NeverStrikes(Unseen):
    def snapshot(self, events: Any, cursor: str, reason: str | None) -> Any:
        return (e for e in super().snapshot(events, cursor, reason) if e.type != "item_aborted")


@pytest.mark.parametrize("broken", [ForgetsHowMuch, NeverStrikes])
def test_mutation_what_a_snapshot_left_out_is_missed(broken: type[Unseen]) -> None:
    assert any(not right(seed, broken) for seed in range(250))


def test_an_event_names_its_place_and_what_follows_begins_behind_it() -> None:
    events = written(Random(7))
    program = Program()
    program.take({"type": "batch", "content": {"upto": "c1", "events": events[:1]}}, None)
    program.take({"type": "batch", "content": {"upto": "c9", "events": events[1:9]}}, None)
    for event in program.seen[1:]:
        assert event.place == f"c1/{event.seq}"
        again = Program(event.place)
        assert again.unseen.cursor == "c1"
        again.take({"type": "batch", "content": {"upto": "c9", "events": events[1:9]}}, None)
        assert [e.seq for e in again.seen] == [e["seq"] for e in events[1:9] if e["seq"] > event.seq]


def test_after_a_place_a_snapshot_replaces_what_the_program_has() -> None:
    events = written(Random(7))
    program = Program("c1/3")
    folded = [json.loads(text) for text in fold(Row(e) for e in events)]  # type: ignore[misc]
    first = next(program.unseen.snapshot(folded, "c9", "lag"))
    assert (first.type, first.content) == (SNAPSHOT, {"reason": "lag"})
