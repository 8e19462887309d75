"""The answer to a question in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice

from reconvene.search.atoms import ATOM
from reconvene.search.density import Density
from reconvene.search.files import File
from reconvene.search.looking import BEST_CHUNK, SECOND_SNIPPET, Search, shown
from reconvene.search.places import FILES, PLACES, Place, choose, likeliest_place
from reconvene.search.places import LINES as MOST_LINES
from reconvene.search.result import Snippet
from reconvene.search.windows import LINES, Window

_BEGINNING = 10
_SHORT = 20
"""Lines that are left for each place that is missing."""


def likeliest(search: Search, files: Iterator[File], limit: int) -> tuple[list[Snippet], bool | None]:
    """The likeliest places of the best files, then one place of each file that follows, and whether there are more than `limit`: None when
    that is whether one of the files has any that were not looked at."""
    best = list(islice(files, FILES))
    densities = [search.density(file) for file in best]
    scores = [search.score(file) for file in best]
    places = choose(densities, scores)
    if 0 < (missing := PLACES - len(places)) < PLACES:
        # What there is to say stands in fewer places: those that make up the number are of the next files, and have their lines too.
        places = choose(densities, scores, lines=MOST_LINES - missing * _SHORT)
    left = MOST_LINES - sum(place.end - place.start + 1 for place in places)
    first = {place.file: place.chance for place in reversed(places)}
    found: list[Snippet] = []
    so_far: Counter[int] = Counter()
    least = float("inf")
    for place in places:
        if len(found) == limit:
            return found, True
        file, density = best[place.file], densities[place.file]
        further = so_far[place.file]
        share = place.chance / first[place.file] * SECOND_SNIPPET**further if further else 1.0
        least = min(least, search.score(file) * share)
        so_far[place.file] += 1
        found.append(_snippet(search, file, density, place, least))
    others = ((file, density) for i, (file, density) in enumerate(zip(best, densities, strict=True)) if i not in first)
    for file, known in chain(others, ((file, None) for file in _until(lambda: len(found) == limit, files))):
        if len(found) == limit and has_a_place(file):
            return found, True
        density = search.density(file, BEST_CHUNK) if known is None else known
        least = min(least, search.score(file))
        upto = LINES if len(found) >= PLACES else min(LINES, max(left // (PLACES - len(found)), ATOM + 1))
        for place in likeliest_place(density, upto):
            if len(found) == limit:
                return found, True
            left -= place.end - place.start + 1
            found.append(_snippet(search, file, density, place, least))
    return found, None if len(found) == limit else False


def _until(over: Callable[[], bool], files: Iterator[File]) -> Iterator[File]:
    """None is read once it is over."""
    while not over() and (file := next(files, None)) is not None:
        yield file


def has_a_place(file: File) -> bool:
    """Whether there is one, whatever the question: where its words stand, or else at the beginning. False when that is to be seen."""
    return bool(
        b"\n".join(file.text.data.split(b"\n", _BEGINNING)[:_BEGINNING]).decode("utf-8", "surrogatepass").strip()
    )


def _snippet(search: Search, file: File, density: Density, place: Place, score: float) -> Snippet:
    window = Window(place.start, place.end, density.symbol(place.start, place.end), place.chance)
    return shown(search, file, window, score, density.telling(place.start, place.end))
