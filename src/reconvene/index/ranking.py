"""Which files, and which chunks of them, answer a query best.

Signals: BM25 (Robertson and Zaragoza, 2009) of files and of their chunks, of the file's name, its folders and the names it defines, and
exact names of definitions, and what commit messages say (`index.history`). Each is divided by its highest value and weighted, then all
are added (adding beat reciprocal ranks by a tenth on 252 commits), and the sum is weighted by the part the file plays (`index.roles`).
After the best few, files come sooner of which their tests say what is asked for (`index.tested`). The other ways in which a word is
written count as the word (`index.forms`). A score depends on nothing but the files that have one of the query's terms, the view's rounded
statistics, and the commits: `View.mark`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from reconvene.index.distinct import distinct
from reconvene.index.history import History
from reconvene.index.query import Query
from reconvene.index.roles import ROLES, WEIGHTS, Role
from reconvene.index.segment import Postings
from reconvene.index.tested import said_by_tests
from reconvene.index.view import View
from reconvene.index.words import symbol_term
from reconvene.index.words import term as term_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FILE, CHUNK, STEM, FOLDER, NAMES, SYMBOL, ONLY_SYMBOL, HISTORY, RECENT = 1.0, 1.0, 0.5, 0.2, 0.35, 0.3, 2.0, 0.6, 0.1
"""Weights of the signals; ONLY_SYMBOL: of exact names when the query is nothing but one."""
TOGETHER = 0.4
"""Of having been changed in the same commits as what the session has seen."""
AREA, TESTED = 1.0, 0.5
"""Of being named for the part that the query says it is about; of what its test says, for files after the best `_AHEAD`."""
_AHEAD = 5
"""Files that come first for what they say themselves."""
_OFTEN, _OFTEN_SAID, _FEW_COMMITS = 3.0, 0.7, 50
"""A word that one in e³ messages has tells less of where the less rare it is there, but never less than such a share; of few commits
nobody can tell."""
_FILE_K, _K, _B, _NAMES_B = 3.0, 1.2, 0.75, 0.5
_BEST_CHUNKS = 5
_SHARES = np.append(0.5 ** np.arange(_BEST_CHUNKS), 0.0)
"""Of a file's chunks, the best first, and of all after those that count."""
_CUT, _VALUE_BITS = 24, 40
_LOWEST = (1 << _VALUE_BITS) - 1
"""Of a number of 64 bits, see `_best_chunks`."""
_ASKED_FOR = 0.7
"""Weight of tests and documentation when the query asks for such."""
_NO_CODE = [ROLES.index("docs"), ROLES.index("data")]
"""What headings and keys say is no definition of a name."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Per file, counted through the view's segments (`View.offsets`). `score` is 0 for those that do not match. `chunk` is per chunk."""

    score: Floats
    stem: Floats
    folder: Floats
    names: Floats
    symbol: Floats
    history: Floats
    """What commit messages say for it, at most 1."""
    together: Floats
    """How often it was changed together with what the session has seen, at most 1."""
    tested: Floats
    """What its test says for it, where that moved it."""
    chunk: Floats
    chunk_file: Ints
    weights: dict[int, float]
    """Of each term of the query that was found: how much one place of it says."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A term's postings in one field, over all segments: files (or chunks) still alive, and counts."""

    where: Ints
    counts: Floats


class _Field:
    """One field of all segments: where each of some terms stands. All are looked up at once, as most stand nowhere.

    Args:
        postings: of the segments.
        bases: the number of the first file (or chunk) of each segment.
        terms: those that may be asked for, each once.
    """

    def __init__(self, postings: Sequence[Postings], bases: Sequence[int], terms: NDArray[np.uint32]) -> None:
        self._at: dict[int, list[tuple[Postings, int, int]]] = {}
        for field, base in zip(postings, bases, strict=False):
            if not len(field.keys):
                continue
            places = np.minimum(np.searchsorted(field.keys, terms), len(field.keys) - 1)
            for i in np.flatnonzero(field.keys[places] == terms).tolist():
                self._at.setdefault(int(terms[i]), []).append((field, base, int(places[i])))

    def __contains__(self, term: int) -> bool:
        return term in self._at

    def of(self, terms: Sequence[int]) -> _Column | None:
        """Of terms that stand somewhere, as if they were one; None for no terms."""
        where, counts = [], []
        for term in terms:
            for field, base, place in self._at[term]:
                span = slice(int(field.bounds[place]), int(field.bounds[place + 1]))
                where.append(field.where[span] + np.int64(base))
                counts.append(field.counts[span])
        if not where:
            return None
        places = where[0] if len(where) == 1 else np.concatenate(where)
        times: Floats = (counts[0] if len(counts) == 1 else np.concatenate(counts)).astype(np.float64)
        if len(terms) == 1:
            return _Column(places, times)
        places, each = np.unique(places, return_inverse=True)
        return _Column(places, np.bincount(each, weights=times).astype(np.float64, copy=False))


def rank(view: View, query: Query, seen: Collection[str] = ()) -> Signals:
    """Score every file of the view. Takes milliseconds; call it in a thread.

    Args:
        seen: paths that the asker works on: what was changed together with them comes sooner.
    """
    statistics, columns, norms = view.statistics, view.columns, _norms(view)
    alive, chunk_file = columns.alive, columns.chunk_file
    files = len(alive)
    whole, stem, folder, names, symbol, area = (np.zeros(files) for _ in range(6))
    areas = 0.0
    chunk = np.zeros(len(chunk_file))
    weights: dict[int, float] = {}
    whole_alive = bool(alive.all())
    words = [
        (wanted, [form for form, _ in wanted.in_texts], [term_of(form) for form in wanted.in_names])
        for wanted in query.terms
    ]
    every = distinct(np.array([t for _, forms, short in words for t in (*forms, *short)], np.uint32))
    chunks = _Field([s.chunks for s in view.segments], columns.chunk_bases, every)
    stems, folders, defined = (
        _Field([getattr(s, field) for s in view.segments], view.offsets, every)
        for field in ("stems", "folders", "names")
    )
    for wanted, forms, short in words:
        weight = wanted.weight * _telling(view.history, wanted.term)
        common: float | None = None
        named: list[Ints] = []
        each = [t for t in forms if t in chunks]
        at = chunks.of(each)
        if at is not None:
            file = chunk_file[at.where]
            in_files: Floats = np.bincount(file, weights=at.counts, minlength=files).astype(np.float64, copy=False)
            if not whole_alive:
                in_files *= alive
            found = (in_files > 0).nonzero()[0]
            common = _idf(statistics.files, len(found))
            rarity = weight * common
            # Its lines are looked for as it is written; as it is written otherwise only where that is all there is.
            weights |= dict.fromkeys([wanted.term] if wanted.term in each else each, rarity)
            whole[found] += rarity * _saturated(in_files[found], norms.files[found], _FILE_K)
            says = rarity * _saturated(at.counts, norms.chunks[at.where], _K)
            chunk[at.where] += says if whole_alive else says * alive[file]
        for field, postings, also in ((stem, stems, short), (folder, folders, ()), (names, defined, ())):
            at = postings.of([t for t in (*forms, *also) if t in postings])
            at = at if whole_alive else _alive(at, alive)
            if at is None:
                continue
            # Few folders have a name that is in every text: how rare a word is, the texts know better.
            rare = common if field is folder and common is not None else _idf(statistics.files, len(at.where))
            norm = norms.names[at.where] if field is names else _K
            field[at.where] += weight * rare * _saturated(at.counts, norm, _K)
            if field is not names:
                named.append(at.where)
        if wanted.term in query.area:
            areas += common or 1.0
            if named:
                area[distinct(np.concatenate(named))] += common or 1.0
    for name in query.symbols:
        at = _alive(_gather([s.symbols for s in view.segments], symbol_term(name), view.offsets), alive)
        if at is not None:
            symbol[at.where] += (at.counts if query.single else at.counts / 2) * _idf(statistics.files, len(at.where))

    chunks_of_files = _best_chunks(chunk, chunk_file, files)
    only = query.single and not query.names[0].islower()
    # From here on it is about files that have a word of the query, which are few: an answer depends on no others, so it holds while these
    # and the commits are the same.
    matched = (whole > 0) | (stem > 0) | (folder > 0) | (names > 0) | (symbol > 0) | (area > 0)
    some = np.flatnonzero(matched & alive)

    def of_all(values: Floats) -> Floats:
        spread = np.zeros(files)
        spread[some] = values
        return spread

    says = FILE * _share(whole[some]) + CHUNK * _share(chunks_of_files[some])
    total = says + STEM * _share(stem[some]) + FOLDER * _share(folder[some])
    total += NAMES * _share(names[some]) + (ONLY_SYMBOL if only else SYMBOL) * _share(symbol[some])
    total += AREA * area[some] / (areas or 1.0)
    votes, recent, together = _past(view, query, seen, view.past[some])
    total += HISTORY * votes + RECENT * recent + TOGETHER * together
    parts = _role_weights(query)[columns.roles[some]]
    total *= parts
    tested = _after_the_best(total, TESTED * parts * said_by_tests(view, some, says))
    score = of_all(total)
    if query.single:
        code = ~np.isin(columns.roles, _NO_CODE)
        plain = query.names[0].isalpha() and not only
        score = _where_it_is_defined_first(score, (symbol > 0) & code, of_all(parts), plain=plain)
    votes, together, tested = of_all(votes), of_all(together), of_all(tested)
    return Signals(score, stem, folder, names, symbol, votes, together, tested, chunk, chunk_file, weights)


def by_role(view: View, query: Query) -> Floats:
    """The order of files that nothing else tells apart: by the part each plays."""
    return _role_weights(query)[view.columns.roles] * view.columns.alive


def with_terms(view: View, terms: frozenset[int]) -> NDArray[np.bool_]:
    """Which files have all of the terms."""
    found = view.columns.alive.copy()
    for term in terms:
        has = np.zeros(len(found), np.bool_)
        for segment, base in zip(view.segments, view.offsets, strict=False):
            if (at := segment.chunks.of(term)) is not None:
                has[segment.chunk_file[at[0]] + base] = True
        found &= has
    return found


def with_any(view: View, alternatives: Iterable[frozenset[int]]) -> NDArray[np.bool_]:
    """Which files have all terms of one of the alternatives."""
    found = np.zeros(len(view.columns.alive), np.bool_)
    for terms in alternatives:
        found |= with_terms(view, terms)
    return found


def defining(view: View, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which files define all of the names."""
    found = view.columns.alive.copy()
    for name in names:
        has = np.zeros(len(found), np.bool_)
        at = _gather([s.symbols for s in view.segments], symbol_term(name), view.offsets)
        if at is not None:
            has[at.where] = True
        found &= has
    return found


def _where_it_is_defined_first(score: Floats, defines: NDArray[np.bool_], parts: Floats, *, plain: bool) -> Floats:
    """Who asks for one name and nothing else asks where it is defined: no file goes before those that define it.

    Of these count those that play the weightiest part: the tests, when only tests define it; no test, when a source does. A plain word in
    small letters may as well be just a word: then the best of them comes second at the latest.
    """
    defines = defines & (score > 0)
    if not defines.any():
        return score
    defines &= parts == parts[defines].max()
    others = score[~defines & (score > 0)]
    if not len(others):
        return score
    score = score.copy()
    if plain:
        best = int(np.argmax(np.where(defines, score, 0.0)))
        second = float(np.partition(others, -2)[-2]) if len(others) > 1 else 0.0
        score[best] = max(score[best], np.nextafter(second, np.inf))
    else:
        score[defines] += max(0.0, np.nextafter(float(others.max()), np.inf) - float(score[defines].min()))
    return score


def _after_the_best(total: Floats, more: Floats) -> Floats:
    """Adds to the scores of files after the best `_AHEAD` as much as leaves them after these; what was added."""
    before = total.copy()
    if len(total) <= _AHEAD or not more.any():
        return total - before
    least = float(np.partition(total, -_AHEAD)[-_AHEAD])
    at = np.flatnonzero((total > 0) & (total < least) & (more > 0))
    lifted = total[at] + more[at]
    # Those that would pass the best stay in the order of what they would have.
    total[at] = np.where(lifted < least, lifted, least * (1 - 1e-6 * least / np.maximum(lifted, least)))
    return total - before


def _telling(history: History, term: int) -> float:
    """How much less a word says that many messages of commits have: it stands in many questions too."""
    commits = len(history.lengths)
    said = history.messages.of(term) if commits >= _FEW_COMMITS else None
    if said is None:
        return 1.0
    return min(1.0, max(_OFTEN_SAID, math.log((commits + 1) / (len(said[0]) + 0.5)) / _OFTEN))


def _past(view: View, query: Query, seen: Collection[str], files: Ints) -> tuple[Floats, Floats, Floats]:
    """For each of some files, by their numbers in the history's paths: what the messages of the commits that touched it say, how much it
    was worked on lately, and how often together with what the session has seen."""
    history = view.history
    votes = history.votes([(wanted.term, wanted.weight) for wanted in query.terms])
    together = history.together(seen) if seen else np.zeros(len(history.paths))
    votes, recent, together = (np.append(values, 0.0)[files] for values in (votes, history.recent, together))
    return _share(votes), recent, _share(together)


def _gather(fields: list[Postings], term: int, bases: tuple[int, ...]) -> _Column | None:
    found = []
    for field, base in zip(fields, bases, strict=False):
        if (at := field.of(term)) is not None:
            found.append((at[0] + np.int64(base), at[1]))
    if not found:
        return None
    if len(found) == 1:
        return _Column(found[0][0], found[0][1].astype(np.float64))
    return _Column(np.concatenate([w for w, _ in found]), np.concatenate([c for _, c in found]).astype(np.float64))


def _alive(column: _Column | None, alive: NDArray[np.bool_]) -> _Column | None:
    if column is None:
        return None
    kept = alive[column.where]
    return _Column(column.where[kept], column.counts[kept]) if kept.any() else None


def _idf(files: float, having: int) -> float:
    """BM25's, which is log(1 + (N - n + ½) / (n + ½)); never quite nothing, as N is rounded."""
    return math.log(max((files + 1) / (having + 0.5), 1.02))


def _saturated(counts: Floats, norm: Floats | float, k: float) -> Floats:
    """BM25's share of a term that stands `counts` times in a text; `norm`: what `_norm` is of the text's length."""
    return counts * (k + 1) / (counts + norm)


def _norm(length: Floats, average: float, k: float, b: float) -> Floats:
    return k * (1 - b + b * (length / average))


@dataclass(frozen=True, slots=True)
class _Norms:
    """What BM25 makes of the lengths of all files, their chunks, and the names they define."""

    files: Floats
    chunks: Floats
    names: Floats


def _norms(view: View) -> _Norms:
    """Of each view it is worked out once."""
    known = _NORMS.get(view)
    if known is None:
        columns, average = view.columns, view.statistics
        known = _NORMS[view] = _Norms(
            _norm(columns.length, average.file_length, _FILE_K, _B),
            _norm(columns.chunk_length, average.chunk_length, _K, _B),
            _norm(columns.names_length, average.names_length, _K, _NAMES_B),
        )
    return known


_NORMS: WeakKeyDictionary[View, _Norms] = WeakKeyDictionary()


def _best_chunks(chunk: Floats, chunk_file: Ints, files: int) -> Floats:
    """For each file the sum of its best chunks, each counting half as much as the one before."""
    hit = (chunk > 0).nonzero()[0]
    # One sort of whole numbers puts them in order, file by file: a number has its file in its upper bits, and the lower ones are the less
    # the higher the value is. What is left of a value, to 28 binary places, does not depend on the others.
    values = chunk[hit].view(np.uint64) >> _CUT
    keys = np.sort(chunk_file[hit].astype(np.uint64) << _VALUE_BITS | _LOWEST - values)
    file = (keys >> _VALUE_BITS).astype(np.int64)
    value = (_LOWEST - (keys & _LOWEST) << _CUT).view(np.float64)
    numbers = np.arange(len(file))
    begins = np.ones(len(file), np.bool_)
    np.not_equal(file[1:], file[:-1], out=begins[1:])
    place = numbers - np.maximum.accumulate(numbers * begins)
    counts = value * _SHARES[np.minimum(place, _BEST_CHUNKS)]
    return np.bincount(file, weights=counts, minlength=files).astype(np.float64, copy=False)


def _share(values: Floats) -> Floats:
    top = float(values.max()) if len(values) else 0.0
    return values / top if top > 0 else values


def _role_weights(query: Query) -> Floats:
    def weight(role: Role) -> float:
        return max(_ASKED_FOR, WEIGHTS[role]) if role in query.roles else WEIGHTS[role]

    return np.array([weight(role) for role in ROLES])
