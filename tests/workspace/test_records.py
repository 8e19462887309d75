"""Records by their paths: a dictionary of named tuples that garbage collections need not look at."""

from __future__ import annotations

import gc

import pytest

from reconvene.workspace.listing import FileStat
from reconvene.workspace.records import Records

ONE, OTHER = FileStat(1, 2, 3, 4), FileStat(-5, 6, 1 << 64, 1 << 63)


def test_it_is_a_dictionary() -> None:
    records = Records(FileStat)
    records["a"] = ONE
    records.update({"b": OTHER})
    assert (records["a"], records["b"]) == (ONE, OTHER) and type(records["a"]) is FileStat
    assert (records.get("b"), records.get("c"), records.get("c", ONE)) == (OTHER, None, ONE)
    assert list(records) == ["a", "b"] and len(records) == 2 and "a" in records and "c" not in records
    assert {"a", "c"} - records.keys() == {"c"}
    assert dict(records) == {"a": ONE, "b": OTHER} and records == dict(records)
    del records["a"]
    with pytest.raises(KeyError):
        records["a"]


def test_no_record_is_looked_at_by_collections() -> None:
    stats = [FileStat(n, n << 40, n << 41, n << 42) for n in range(1000)]
    plain = {str(n): stat for n, stat in enumerate(stats)}
    records = Records(FileStat)
    records.update(plain)
    gc.collect()
    assert not any(map(gc.is_tracked, records._rows.values()))
    assert all(map(gc.is_tracked, plain.values())), "control: a named tuple is"
