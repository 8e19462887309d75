"""Writes `tests/conformance/*.jsonl`: recorded conversations that every client of the protocol must follow in the same way.

    python tests/protocol/make_conversations.py

The format is in `docs/explanation/reducer.md`. The expected view is folded from the log that the frames were cut from, never by a
client. The same seed writes the same bytes; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from logs import written_log

from reconvene.protocol.cursor import START_TAG, Cursor
from reconvene.protocol.folding import fold
from reconvene.protocol.view import reduce

FOLDER = Path(__file__).parent.parent / "conformance"
Json = dict[str, Any]


class Conversation:
    """A server that knows its log, a client that knows how far it is, and the lines they leave."""

    def __init__(self, seed: int, about: str, runs: int = 1) -> None:
        self.rng = Random(seed)
        self.lines: list[Json] = [{"about": about}]
        self.begin(self.rng.randrange(2**32), runs)
        self.known: str | None = None
        """The session id the client has."""
        self.at: int | None = None
        """How many rows the client has; None: no cursor of this log."""
        self.cursor: str | None = None
        self.shown: list[Json] = []
        """The events that make the client's view."""

    def begin(self, seed: int, runs: int = 1) -> None:
        """Another log in another session."""
        self.session_id = "s_" + "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=22))
        self.write(seed, runs)

    def write(self, seed: int, runs: int = 1) -> None:
        """Another log for the same session."""
        self.rows = written_log(Random(seed), runs, most_steps=2)
        self.epoch = f"e{self.rng.randrange(16**6):06x}"
        self.tags = [START_TAG, *(f"{self.rng.randrange(16**8):08x}" for _ in self.rows)]
        self.at = None

    @property
    def head(self) -> int:
        return len(self.rows)

    def place(self, seq: int) -> str:
        return str(Cursor(self.epoch, seq, self.tags[seq]))

    def public(self, after: int, upto: int) -> list[Json]:
        return [row.event() for row in self.rows[after:upto] if row.public]

    # what happens

    def connect(self, mode: str, reason: str | None = None) -> None:
        self.lines.append({"connect": {"session_id": self.known, "cursor": self.cursor}})
        content = {
            "session_id": self.session_id, "mode": mode, "reason": reason, "head": self.head, "state": "running",
            "run_id": "r1", "root": "shop", "hb_ms": 15000, "retry": {"base_ms": 300, "cap_ms": 30000, "spread_ms": 20},
            "server": {"boot": "b1", "version": "0.1.0"},
        }  # fmt: skip
        self.send({"type": "session", "content": content}, "other")
        self.known = self.session_id

    def send(self, frame: Json, outcome: str) -> None:
        self.lines.append({"receive": frame, "outcome": outcome})

    def snapshot(self, seq: int, outcome: str = "applied") -> None:
        events = [json.loads(text) for text in fold(self.rows[:seq])]
        content: Json = {"cursor": self.place(seq), "events": events}
        if seq == self.head:
            content["synced"] = True
        self.send({"type": "snapshot", "content": content}, outcome)
        if outcome == "applied":
            self.shown, self.at, self.cursor = self.public(0, seq), seq, self.place(seq)

    def batch(self, after: int, upto: int, outcome: str = "applied") -> None:
        content: Json = {"after": self.place(after), "upto": self.place(upto), "events": self.public(after, upto)}
        if upto == self.head:
            content["synced"] = True
        self.send({"type": "batch", "content": content}, outcome)
        if outcome == "applied":
            self.shown, self.at, self.cursor = self.shown + content["events"], upto, self.place(upto)

    def step(self, most: int = 9) -> int:
        """The next batch, of any length; where the client is then."""
        assert self.at is not None
        self.batch(self.at, min(self.head, self.at + self.rng.randint(1, most)))
        return self.at

    def to_the_end(self) -> None:
        while self.at is not None and self.at < self.head:
            self.step(20)

    def cut(self) -> None:
        self.lines.append({"cut": True})

    def look(self) -> None:
        self.lines.append({"view": reduce(self.shown).to_json(), "cursor": self.cursor})

    def chatter(self) -> None:
        """A frame that is no part of the log."""
        frame = self.rng.choice([
            {"type": "hb", "content": {"head": self.head}},
            {"type": "ack", "reply_to": "p1", "content": {"status": "accepted", "seq": 1, "run_id": "r1"}},
            {"type": "nack", "reply_to": "p2", "content": {"code": "empty_prompt", "message": "Empty.", "retryable": False, "details": {}}},
            {"type": "pong", "content": {"t": 17}},
            {"type": "notice", "content": {"code": "index", "message": "Indexed 120 files.", "details": {}}},
        ])  # fmt: skip
        self.send(frame, "other")


def whole(c: Conversation) -> None:
    c.connect("snapshot")
    c.snapshot(c.head)


def live(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    c.to_the_end()


def one_by_one(c: Conversation) -> None:
    live_from = 0
    c.connect("fresh")
    c.snapshot(live_from)
    while c.at != c.head:
        c.step(1)


def resumed(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    for _ in range(4):
        c.step(6)
        c.cut()
        c.look()
        c.connect("resume")
    c.to_the_end()


def repeated(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    sent = [(0, c.step(8)), (c.at or 0, c.step(8))]
    for after, upto in sent:
        c.batch(after, upto, "dropped")
    c.to_the_end()


def missing(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    at = c.step(8)
    c.batch(at + 2, at + 5, "gap")
    c.batch(at, at + 2, "dropped")  # too late: the connection is given up
    c.connect("resume")
    c.to_the_end()


def overlapping(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    at = c.step(8)
    c.batch(max(0, at - 1), at + 3, "gap")
    c.connect("resume")
    c.to_the_end()


def lagging(c: Conversation) -> None:
    c.connect("snapshot")
    c.snapshot(7)
    c.step(5)
    c.cut()
    c.connect("snapshot", "lag")
    c.snapshot(c.head - 3)
    c.to_the_end()


def restored(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    c.step(15)
    c.cut()
    c.write(5, 1)
    c.connect("snapshot", "epoch")
    c.look()  # what was shown stays until the snapshot comes
    c.snapshot(6)
    c.to_the_end()


def expired(c: Conversation) -> None:
    c.connect("fresh")
    c.snapshot(0)
    c.step(15)
    c.cut()
    c.begin(9, 1)
    c.connect("fresh", "expired")
    c.snapshot(0)
    c.look()
    c.step(6)
    c.cut()
    c.connect("resume")
    c.to_the_end()


def anything(c: Conversation) -> None:
    """Every one of these, in any order."""
    rng = c.rng
    c.connect("snapshot")
    c.snapshot(rng.randint(0, c.head // 2))
    done: list[tuple[int, int]] = []
    for _ in range(rng.randint(6, 14)):
        assert c.at is not None
        match rng.choice(["step", "step", "step", "repeat", "gap", "cut", "chatter", "snapshot", "look", "replaced"]):
            case "step" if c.at < c.head:
                done.append((c.at, c.step()))
            case "repeat" if done and c.public(*done[-1]):
                c.batch(*done[-1], "dropped")
            case "gap" if c.at + 4 < c.head:
                c.batch(c.at + rng.choice([-1, 1]) if c.at else 1, c.at + 4, "gap")
                c.chatter()
                c.connect("resume")
            case "cut":
                c.cut()
                c.connect("resume")
            case "snapshot":
                c.cut()
                c.connect("snapshot", "lag")
                c.snapshot(rng.randint(c.at, c.head))
                done.clear()
            case "replaced" if rng.random() < 0.3:
                c.cut()
                c.write(rng.randrange(99))
                c.connect("snapshot", rng.choice(["epoch", "diverged", "rollback"]))
                c.snapshot(rng.randint(0, c.head))
                done.clear()
            case "look":
                c.look()
            case "chatter":
                c.chatter()
    c.to_the_end()


SCENES: list[tuple[str, str, Callable[[Conversation], None]]] = [
    ("whole", "The whole log as one snapshot.", whole),
    ("live", "A new session, live from its first event.", live),
    ("one-by-one", "Every row a batch of its own; batches of private rows are empty and move the cursor.", one_by_one),
    ("resumed", "Cut four times; each time only what was missed comes.", resumed),
    ("repeated", "Batches come twice; the second time they are dropped.", repeated),
    ("missing", "A batch is missing: a gap, and what comes after it on that connection is dropped.", missing),
    ("overlapping", "A batch begins before the cursor and ends after it: a gap, not half applied.", overlapping),
    ("lagging", "Too far behind: a snapshot replaces the view.", lagging),
    ("restored", "Another log under the same session id: the old view stays until the snapshot.", restored),
    ("expired", "The session is gone: a fresh one with another id.", expired),
]
RANDOM = 20


def conversations() -> Iterator[tuple[str, list[Json]]]:
    """(file name, lines) of each."""
    for n, (name, about, play) in enumerate(SCENES, 1):
        yield _play(n, name, about, play)
    for n in range(len(SCENES) + 1, len(SCENES) + RANDOM + 1):
        yield _play(n, "anything", "Batches, repeats, gaps, cuts and snapshots in any order.", anything)


def _play(n: int, name: str, about: str, play: Callable[[Conversation], None]) -> tuple[str, list[Json]]:
    c = Conversation(1000 + n, about)
    play(c)
    c.look()
    return f"{n:02}-{name}.jsonl", c.lines


def text(lines: list[Json]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.jsonl"):
        old.unlink()
    for name, lines in conversations():
        (FOLDER / name).write_text(text(lines), "utf-8", newline="\n")
    print(f"{len(list(FOLDER.glob('*.jsonl')))} conversations in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
