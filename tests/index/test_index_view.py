"""Segments: a view made by many small changes answers as one made at once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from reconvene.index.analysis import analyse
from reconvene.index.arrays import Arrays
from reconvene.index.languages.registry import language_of
from reconvene.index.segment import Document, Segment
from reconvene.index.view import View
from reconvene.index.words import term

WORDS = ["cart", "session", "money", "price", "item", "sweep", "zebra", "total", "owner", "load", "wheel", "garden"]


def document(path: str, seed: int) -> Document:
    rng = random.Random(seed)
    lines = (
        f"def {rng.choice(WORDS)}_{rng.choice(WORDS)}(): {' '.join(rng.choices(WORDS, k=6))}"
        for _ in range(rng.randrange(1, 150))
    )
    found = analyse("\n".join(lines).encode(), language_of(path))
    return Document(
        path, bytes([seed % 256]) * 20, "python", found.state, found.lines, found.symbols, Arrays.unpack(found.postings)
    )


def everything(view: View) -> dict[str, object]:
    """What is known of each file, by path."""
    found: dict[str, object] = {}
    for segment, alive in zip(view.segments, view.alive, strict=True):
        for i in np.flatnonzero(alive).tolist():
            chunks = np.flatnonzero(segment.chunk_file == i)
            fields = {}
            for word in WORDS:
                at = segment.chunks.of(term(word))
                where = {} if at is None else dict(zip(at[0].tolist(), at[1].tolist(), strict=True))
                fields[word] = [where.get(c, 0) for c in chunks.tolist()]
                names = segment.names.of(term(word))
                fields[f"name {word}"] = [] if names is None else names[1][names[0] == i].tolist()
            found[segment.paths[i]] = (
                segment.blobs[i], segment.lines[i], segment.symbol_counts[i], segment.length[i], segment.names_length[i],
                segment.chunk_start[chunks].tolist(), segment.chunk_length[chunks].tolist(), fields,
            )  # fmt: skip
    return found


def test_many_small_changes_give_the_same_as_one_build() -> None:
    seed = 11
    print("seed", seed)
    rng = random.Random(seed)
    view, now = View(), {}
    for step in range(120):
        paths = [f"d{rng.randrange(3)}/f{rng.randrange(40)}.py" for _ in range(rng.choice([1, 1, 1, 5]))]
        gone = [p for p in paths if p in now and rng.random() < 0.3]
        added = {p: document(p, rng.randrange(1 << 20)) for p in paths if p not in gone}
        view = view.replace(gone, list(added.values()), epoch=step, partial=False)
        now = {p: d for p, d in now.items() if p not in gone} | added
        assert sorted(view.paths()) == sorted(now)
    once = View().replace((), [now[p] for p in sorted(now)], epoch=0, partial=False)
    assert everything(view) == everything(once)
    assert view.statistics == once.statistics
    assert (view.files, view.symbols) == (once.files, once.symbols)
    wanted = [term(w) for w in WORDS]
    assert view.usage.of(wanted).tolist() == once.usage.of(wanted).tolist()
    assert view.usage.of(wanted).tolist() == [sum(term(w) in d.arrays.terms for d in now.values()) for w in WORDS]
    assert len(view.segments) <= 9, "up to three of each size: 1, 4, 16 files"


def test_merging_range_by_range_gives_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    view = View()
    for step in range(3):
        view = view.replace(["a1.py"], [document(f"{c}{step}.py", 9 * step) for c in "abc"], epoch=step, partial=False)
    at_once = Segment.merge(view.segments, view.alive)
    for entries in (1, 2, 7):
        monkeypatch.setattr("reconvene.index.segment._AT_ONCE", entries)
        merged = Segment.merge(view.segments, view.alive)
        for field in (
            lambda s: s.chunks,
            lambda s: s.names,
            lambda s: s.symbols,
            lambda s: s.stems,
            lambda s: s.folders,
        ):
            one, other = field(at_once), field(merged)
            for column in ("keys", "bounds", "where", "counts"):
                assert np.array_equal(getattr(one, column), getattr(other, column)), (entries, column)
        assert merged.used.tolist() == at_once.used.tolist()
        wanted = np.arange(len(merged.paths)) % 2 == 0
        some = merged.chunks.files_of_some(merged.chunk_file, wanted)
        alone = Segment.merge([merged], [wanted])
        assert (some[0].tolist(), some[1].tolist()) == (alone.chunks.keys.tolist(), alone.used.tolist())
    assert sorted(merged.paths) == sorted(view.paths())


def test_a_view_that_a_search_holds_does_not_change_under_it() -> None:
    first = View().replace((), [document("a.py", 1), document("b.py", 2)], epoch=1, partial=False)
    before = everything(first)
    first.replace(["a.py"], [document("b.py", 3)], epoch=2, partial=False)
    assert everything(first) == before
    assert first.find("a.py") is not None


def test_statistics_feel_growth_by_a_tenth_and_nothing_less() -> None:
    documents = [document(f"f{i}.py", i) for i in range(100)]
    view = View().replace((), documents, epoch=1, partial=False)
    more = view.replace((), [document("one_more.py", 7)], epoch=2, partial=False)
    half_more = view.replace((), [document(f"more{i}.py", i) for i in range(50)], epoch=3, partial=False)
    assert more.statistics == view.statistics
    assert half_more.statistics.mark != view.statistics.mark


def test_an_empty_view_answers() -> None:
    view = View()
    assert (view.files, view.symbols, list(view.paths()), view.find("a")) == (0, 0, [], None)
    assert view.usage.of([1, 2]).tolist() == [0, 0]
    assert view.statistics.files == 1.0
