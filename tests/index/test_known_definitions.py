"""The definitions asked for lately: the same objects while they are at hand, and never many of them."""

from __future__ import annotations

import gc

from reconvene.index import known_definitions
from reconvene.index.definitions import Definition, pack, unpack
from reconvene.index.known_definitions import AT_HAND, KNOWN, KnownDefinitions
from reconvene.index.store import BlobKey

EACH = 400
FILES = KNOWN // EACH + 10


def key(number: int) -> BlobKey:
    return number.to_bytes(20, "big"), "c"


def definitions(number: int) -> list[Definition]:
    exact = (3, 9) if number % 2 else (0, 0)
    return [
        Definition(f"REG_{number}_{i}", "constant", i + 1, 0, i - 1, f"#define REG {i}", *exact) for i in range(EACH)
    ]


def objects() -> int:
    gc.collect()  # of what other tests left, nothing goes between two counts
    return sum(type(one) is Definition for one in gc.get_objects())


def test_few_are_objects_and_all_are_what_was_packed() -> None:
    packed = {key(n): pack(definitions(n)) for n in range(FILES)}
    loaded: list[BlobKey] = []

    def load(wanted: BlobKey) -> bytes:
        loaded.append(wanted)
        return packed[wanted]

    before = objects()
    known = KnownDefinitions(load)
    for wanted in packed:
        known.of(wanted)
    last = known.of(key(FILES - 1))
    assert last is known.of(key(FILES - 1)), "what was worked out of them is found by them"
    assert last == unpack(packed[key(FILES - 1)]) == tuple(definitions(FILES - 1))
    assert len(loaded) == FILES
    assert 0 < objects() - before - EACH <= AT_HAND + EACH

    assert known.of(key(FILES - 60)) == tuple(definitions(FILES - 60)) and len(loaded) == FILES, "from its rows"
    assert known.of(key(0)) == tuple(definitions(0)) and len(loaded) == FILES + 1, "only so many rows are kept"
    known.forget()
    known.of(key(0))
    assert len(loaded) == FILES + 2


def test_control_without_a_limit_all_are_objects() -> None:
    before = objects()
    known = KnownDefinitions(lambda wanted: pack(definitions(int.from_bytes(wanted[0], "big"))))
    known._objects = known_definitions._Latest(1 << 30)
    for n in range(AT_HAND // EACH + 2):
        known.of(key(n))
    assert objects() - before == (AT_HAND // EACH + 2) * EACH > AT_HAND + EACH


def test_a_file_of_more_than_are_at_hand_is_known_alone() -> None:
    many = [Definition(f"f{i}", "function", i + 1, 0, -1, "") for i in range(2 * AT_HAND)]
    known = KnownDefinitions(lambda wanted: pack(many))
    assert known.of(key(1)) is known.of(key(1)) == tuple(many)
    known.of(key(2))
    assert len(known._objects._kept) == 1
