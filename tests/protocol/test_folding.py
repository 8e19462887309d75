"""A folded log shows what the log shows, now and with everything that comes later."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs import FakeRow, LogWriter, any_rows, written_log

from reconvene.protocol import folding
from reconvene.protocol.folding import fold
from reconvene.protocol.view import reduce

Fold = Callable[[Sequence[FakeRow]], list[str]]


def events(rows: Sequence[FakeRow]) -> list[dict[str, Any]]:
    return [row.event() for row in rows if row.public]


def folded(rows: Sequence[FakeRow]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in fold(rows)]


def check(rows: Sequence[FakeRow], cut: int) -> None:
    """The view of a snapshot at `cut` and of the events after it is the view of the log."""
    cut = min(cut, len(rows))
    snapshot = folded(rows[:cut])
    seqs = [event["seq"] for event in snapshot]
    assert seqs == sorted(set(seqs))
    assert reduce(snapshot).to_json() == reduce(events(rows[:cut])).to_json()
    assert reduce(snapshot + events(rows[cut:])).to_json() == reduce(events(rows)).to_json()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_rows(), st.integers(0, 40))
def test_a_snapshot_and_what_follows_show_what_the_log_shows(rows: list[FakeRow], cut: int) -> None:
    check(rows, cut)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_so_do_logs_as_runs_write_them(seed: int, cut: int) -> None:
    check(written_log(Random(seed)), cut)


@settings(max_examples=100, deadline=None)
@given(any_rows())
def test_folding_a_folded_log_changes_nothing(rows: list[FakeRow]) -> None:
    once = fold(rows)
    again = [
        FakeRow(e["type"], e["seq"], json.dumps(e["content"]), e["run_id"], e["item_id"], e["parent_id"], e["at"])
        for e in map(json.loads, once)
    ]
    assert [json.loads(t) for t in fold(again)] == [json.loads(t) for t in once]


def test_a_finished_answer_is_one_event() -> None:
    log = LogWriter()
    for word in ["one ", "two ", "three"]:
        log.add("text", "r1", "i1", attempt=1, text=word)
        log.add("usage", "r1", output_tokens=1)
    log.add("message", "r1", "i1", text="one two three")
    assert [(e["type"], e["seq"]) for e in folded(log.rows)] == [("usage", 6), ("message", 7)]


def test_the_deltas_of_an_open_item_are_one_event() -> None:
    log = LogWriter()
    for word in ["one ", "two ", "three"]:
        log.add("text", "r1", "i1", attempt=1, text=word)
        log.add("text", "r1", "i2", attempt=1, text=word.upper())
    kept = folded(log.rows)
    assert [(e["item_id"], e["content"]["text"]) for e in kept] == [("i1", "one two three"), ("i2", "ONE TWO THREE")]


def test_a_place_is_held_for_an_item_that_others_overtook() -> None:
    log = LogWriter()
    log.add("text", "r1", "i1", attempt=1, text="first")
    log.add("message", "r1", "i2", text="second")
    log.add("message", "r1", "i1", text="first, finished")
    kept = folded(log.rows)
    assert [(e["type"], e["content"]["text"]) for e in kept] == [
        ("text", ""),
        ("message", "second"),
        ("message", "first, finished"),
    ]


def test_struck_text_is_gone() -> None:
    log = LogWriter()
    log.add("text", "r1", "i1", attempt=1, text="half a thou")
    log.add("item_aborted", "r1", "i1", attempt=1)
    log.add("text", "r1", "i1", attempt=2, text="a whole thought")
    assert [(e["seq"], e["content"]) for e in folded(log.rows)] == [(3, {"attempt": 2, "text": "a whole thought"})]


def test_private_rows_never_leave() -> None:
    log = LogWriter()
    log.private('{"secret": 1}')
    assert fold(log.rows) == []


def test_ten_thousand_deltas_fold_to_little() -> None:
    rows = written_log(Random(1), runs=40)
    log = LogWriter()
    for n in range(10_000):
        log.add("text", "r1", f"i{n // 500}", attempt=1, text="word ")
    assert len(fold(log.rows)) == 20
    assert len(fold(rows)) < len(rows)


def _forget_places(kept: list[Any]) -> list[Any]:
    return [entry for entry in kept if entry.holds_place_of is None]


def _merge_across_attempts(texts: Any, item: Any, delta: Any) -> bool:
    opened = texts.setdefault(item, folding._Open(delta.attempt))
    if opened.deltas:
        opened.deltas[-1].texts.extend(delta.texts)
        return False
    opened.deltas.append(delta)
    return True


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_without_needless_places", _forget_places),
        ("_take_delta", _merge_across_attempts),
        ("_strike", lambda deltas: None),
        ("_LAST_PER_RUN", frozenset({"run", "usage", "plan", "tool_call"})),
    ],
    ids=["no-place-held", "attempts-mixed", "struck-kept", "too-much-dropped"],
)
def test_a_broken_fold_is_caught(name: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, name, broken)
    with pytest.raises(AssertionError):
        for seed in range(60):
            rows = written_log(Random(seed))
            for cut in range(0, len(rows) + 1, 5):
                check(rows, cut)
