"""Where in the best files places are shown: where the query's words come together, within a number of lines, apart from each other."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from reconvene.index.definitions import find
from reconvene.index.languages.registry import language_of
from reconvene.index.runs import Hits
from reconvene.index.words import terms
from reconvene.search.atoms import ATOM
from reconvene.search.density import Density
from reconvene.search.places import LINES, PLACES, Place, choose
from reconvene.search.texts import KnownTexts, Text


def density(text: str, *words: str, names: tuple[str, ...] = ()) -> Density:
    weights = {term: 1.0 for word in words for term in terms(word)}
    return Density(Text(text.encode()), find(text.encode(), language_of("x.py")), weights, names, Hits(weights))


def functions(count: int, **bodies: str) -> str:
    """So many functions of four lines with a blank one after each; `bodies`: what the second line of some is."""
    return "\n".join(
        f"def part_{i}(value):\n    {bodies.get(f'_{i}', 'value = prepare(value)')}\n    log(value)\n    return value\n"
        for i in range(count)
    )


def lines_of(place: Place) -> range:
    return range(place.start, place.end + 1)


def test_chances_are_one_together_and_greatest_where_the_words_meet() -> None:
    text = functions(100, _20="zebra()", _70="zebra(garden)")
    chances = density(text, "zebra", "garden").chances
    assert chances.sum() == pytest.approx(1.0)
    assert int(chances.argmax()) // 5 == 70


def test_a_word_that_stands_everywhere_in_a_file_does_not_tell_its_parts_apart() -> None:
    bodies = {f"_{i}": "garden(garden, garden)" for i in range(100)} | {"_42": "zebra()"}
    assert int(density(functions(100, **bodies), "zebra", "garden").chances.argmax()) // 5 == 42


def test_code_counts_more_than_what_is_written_of_it() -> None:
    text = functions(100, _20="# the zebra in its garden", _70="zebra(garden)")
    found = density(text, "zebra", "garden")
    assert int(found.chances.argmax()) // 5 == 70


def test_the_name_of_a_definition_speaks_for_all_of_it() -> None:
    text = functions(100, _20="zebra()").replace("part_70", "feed_zebra")
    assert int(density(text, "zebra", "feed").chances.argmax()) // 5 == 70


def test_a_place_is_of_the_largest_definition_that_is_wholly_in_it() -> None:
    text = "class Zoo:\n    def feed(self):\n        zebra()\n\n    def sleep(self):\n        pass\n"
    found = density(text, "zebra")
    assert (found.symbol(2, 3), found.symbol(1, 6)) == ("Zoo.feed", "Zoo")


def test_a_long_best_file_has_several_places_and_the_next_has_one() -> None:
    best = density(functions(200, _20="zebra(garden)", _90="zebra(garden)", _160="zebra(garden)"), "zebra", "garden")
    next_ = density(functions(200, _50="zebra(garden)"), "zebra", "garden")
    found = choose([best, next_], [1.0, 0.9])
    assert found[0].file == 0
    assert {0: 3, 1: 1}.items() <= {f: sum(p.file == f and p.chance > 0.05 for p in found) for f in (0, 1)}.items()
    assert {n for p in found for n in lines_of(p)} >= {20 * 5 + 2, 90 * 5 + 2, 160 * 5 + 2}


def test_a_file_without_a_word_of_the_query_shows_its_beginning() -> None:
    (first, *_) = choose([density(functions(100), "zebra")], [1.0])
    assert first.start == 1


def test_a_place_ends_with_the_blank_line_after_it_where_something_would_be_added() -> None:
    text = functions(100, _20="zebra()")
    (first, *_) = choose([density(text, "zebra")], [1.0], lines=10)
    assert 20 * 5 + 2 in lines_of(first)
    assert text.split("\n")[first.end - 1] == "" and text.split("\n")[first.end - 2].strip()


def test_places_of_any_files_stay_apart_and_within_their_lines() -> None:
    seed = 11
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(60):
        files = []
        for _ in range(rng.randint(1, 4)):
            parts = ["", "", "x = 1", "    y", "def f():", "class A:", "zebra()", "# zebra", '"""', "    garden"]
            files.append(
                density("\n".join(rng.choice(parts) for _ in range(rng.choice([1, 30, 300]))), "zebra", "garden")
            )
        scores = sorted((rng.random() + 0.1 for _ in files), reverse=True)
        found = choose(files, scores)
        assert len(found) <= PLACES
        assert sum(len(lines_of(p)) for p in found) <= LINES
        assert not any(a.file == b.file and set(lines_of(a)) & set(lines_of(b)) for a, b in combinations(found, 2))
        opened = list(dict.fromkeys(p.file for p in found))
        assert opened == sorted(opened), "no file comes before one with a higher score"
        assert found == choose(files, scores)


def test_pieces_hold_every_line_that_is_not_blank() -> None:
    text = functions(30) + "\n" * 3 + "x = 1\n" * 50
    atoms = density(text, "x").atoms
    pieces = list(zip(atoms.firsts.tolist(), atoms.lasts.tolist(), strict=True))
    held = {n for a, b in pieces for n in range(a, b + 1)}
    assert held == {n for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    assert all(b - a < ATOM for a, b in pieces)


def test_control_with_more_room_places_take_more_lines() -> None:
    many = density(functions(200), "value", "log")
    assert sum(len(lines_of(p)) for p in choose([many], [1.0], lines=10 * LINES)) > LINES
    assert sum(len(lines_of(p)) for p in choose([many], [1.0])) <= LINES


def test_what_was_worked_out_of_a_text_is_kept_until_its_definitions_are_others() -> None:
    data = functions(3).encode()
    definitions = tuple(find(data, language_of("x.py")))
    known = KnownTexts()
    text = known.of("1", data)
    assert known.of("1", data) is text and known.get("1") is text
    extents, atoms = text.extents(definitions), text.atoms(definitions)
    assert text.extents(definitions) is extents and text.atoms(definitions) is atoms
    assert text.extents(definitions[:1]).definitions == definitions[:1]
    assert text.atoms(definitions[:1]) is not atoms


def test_texts_over_the_bytes_there_are_for_them_are_forgotten_the_longest_unused_first() -> None:
    data = functions(3).encode()
    one = KnownTexts().of("1", data).size
    known = KnownTexts(3 * one)
    for name in "123":
        known.of(name, data)
    known.get("1")
    known.of("4", data)
    assert [name for name in "1234" if known.get(name) is not None] == ["1", "3", "4"]
    known.of("5", data * 9)
    assert [name for name in "12345" if known.get(name) is not None] == ["5"]


def test_only_some_lines_are_looked_at_when_so_told() -> None:
    text = functions(100, _20="zebra(garden)", _70="zebra()")
    weights = {term: 1.0 for word in ("zebra", "garden") for term in terms(word)}
    found = Density(
        Text(text.encode()), find(text.encode(), language_of("x.py")), weights, (), Hits(weights), [(300, 400)]
    )
    assert int(found.chances.argmax()) // 5 == 70
