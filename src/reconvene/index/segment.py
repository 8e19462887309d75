"""Postings in memory: for each term, where it stands and how often. Immutable once made, so any thread may read them.

A segment holds some files; a `View` (see there) is made of a few segments. Chunks of a file follow each other in a segment, and so do
the files, in the order they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reconvene.index.arrays import U16, U32, Arrays
from reconvene.index.distinct import distinct
from reconvene.index.languages.registry import LANGUAGES, language_of
from reconvene.index.plain_names import number, plain, stem
from reconvene.index.roles import ROLES, role_of
from reconvene.index.words import WORD, many_terms, terms

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bounds = NDArray[np.uint32] | NDArray[np.int64]
"""Of so many terms that half the width counts: wide only where there are too many entries."""
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

LANGUAGE_NUMBER = {name: i for i, name in enumerate(LANGUAGES)}
UNREAD = ("denied", "poison")
"""States of files that could not be read, or that no worker survived."""
_AT_ONCE = 1 << 20
"""Entries merged at a time: 40 MB for a moment."""
_ROLE_NUMBER = {role: i for i, role in enumerate(ROLES)}


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the index. `blob`: its content's id, None when only its path is known. `state`: its analysis', or why there is none."""

    path: str
    blob: bytes | None
    language: str
    state: str
    lines: int
    symbols: int
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Postings:
    """Term → (where, how often). `keys`: terms, ascending; those of `keys[k]` are at `bounds[k]:bounds[k + 1]` of `where` and `counts`."""

    keys: U32
    bounds: Bounds
    where: I32
    counts: U16

    @classmethod
    def build(cls, terms: U32, where: I32, counts: U16) -> Postings:
        # Sorting term and position as one number is several times faster than an argsort, and as stable.
        packed = terms.astype(np.uint64) << np.uint64(32)
        packed |= np.arange(len(terms), dtype=np.uint64)
        packed.sort()
        order = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
        ordered = (packed >> np.uint64(32)).astype(np.uint32)
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
        return cls(ordered[first], _bounds(first, len(ordered)), where[order], counts[order])

    @classmethod
    def merge(
        cls, parts: Sequence[Postings], kept: Sequence[Mask], numbers: Sequence[I32], go_on: Callable[[], None]
    ) -> Postings:
        """Of several, without the places that are not `kept`; `numbers[p]` gives the new number of each place of part `p`.

        It goes through the terms range by range, which takes little memory and leaves other threads room in between. `go_on` is called
        for each.
        """
        most = sum(len(p.where) for p in parts)
        where, counts = np.empty(most, np.int32), np.empty(most, np.uint16)
        keys, firsts = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
        done = 0
        for low, high in pairwise(_ranges(parts, most)):
            go_on()
            found = [_between(p, k, n, low, high) for p, k, n in zip(parts, kept, numbers, strict=True)]
            terms, places, times = (np.concatenate(columns) for columns in zip(*found, strict=True))
            piece = cls.build(terms, places, times)
            keys.append(piece.keys)
            firsts.append(piece.bounds[:-1].astype(np.int64) + done)
            where[done : done + len(places)] = piece.where
            counts[done : done + len(places)] = piece.counts
            done += len(places)
        if done < most:
            where, counts = where[:done].copy(), counts[:done].copy()
        return cls(np.concatenate(keys), _bounds(np.concatenate(firsts), done), where, counts)

    def of(self, term: int) -> tuple[I32, U16] | None:
        """Where a term stands, ascending, and how often; None when nowhere."""
        k = int(self.keys.searchsorted(np.uint32(term)))
        if k == len(self.keys) or self.keys[k] != term:
            return None
        span = slice(int(self.bounds[k]), int(self.bounds[k + 1]))
        return self.where[span], self.counts[span]

    def files_of_each(self, file_of: I32) -> U32:
        """For each of `keys`, how many files have it; `file_of` gives the file of a place, ascending."""
        found = np.zeros(len(self.keys), np.uint32)
        steps = self._keys_at(np.arange(0, len(self.where), _AT_ONCE))
        for first, last in pairwise([*distinct(steps).tolist(), len(self.keys)]):
            bounds = self.bounds[first : last + 1] - self.bounds[first]
            file = file_of[self.where[self.bounds[first] : self.bounds[last]]]
            new = np.empty(len(file), np.bool_)
            np.not_equal(file[1:], file[:-1], out=new[1:])
            new[bounds[:-1]] = True
            found[first:last] = np.add.reduceat(new, bounds[:-1], dtype=np.uint32)
        return found

    def files_of_some(self, file_of: I32, wanted: Mask) -> tuple[U32, I64]:
        """Of those of `keys` that stand in the wanted files: in how many of these."""
        at = np.concatenate(
            [
                np.flatnonzero(wanted[file_of[self.where[first : first + _AT_ONCE]]]) + first
                for first in range(0, len(self.where), _AT_ONCE)
            ]
            or [np.zeros(0, np.int64)]
        )
        key = self._keys_at(at)
        each = distinct(key * (len(wanted) + 1) + file_of[self.where[at]])
        which, counts = np.unique(each // (len(wanted) + 1), return_counts=True)
        return self.keys[which], counts.astype(np.int64)

    def terms(self) -> U32:
        """The term of each entry."""
        return np.repeat(self.keys, np.diff(self.bounds))

    def _keys_at(self, entries: NDArray[Any]) -> I64:
        """Of which key each of some entries is."""
        # In another type than theirs, all bounds would be converted first.
        return np.searchsorted(self.bounds, entries.astype(self.bounds.dtype), side="right") - 1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Segment:
    """Some files. Per file: `blobs`, `languages` (number in LANGUAGES), `unread` (denied or given up), `lines`, `symbol_counts`,
    `roles` (number in ROLES), `names_numbers` (of its plain name, see `plain_names`), `length` and `names_length` (terms).

    Per chunk: `chunk_file` (ascending), `chunk_start` (line, from 1), `chunk_length` (terms).
    """

    paths: tuple[str, ...]
    blobs: tuple[bytes | None, ...]
    languages: NDArray[np.uint8]
    unread: Mask
    lines: I64
    symbol_counts: I64
    roles: NDArray[np.uint8]
    names_numbers: U32
    length: I64
    names_length: I64
    chunk_file: I32
    chunk_start: I32
    chunk_length: I64
    chunks: Postings
    names: Postings
    symbols: Postings
    stems: Postings
    folders: Postings
    used: U32
    """For each term of `chunks`, how many files have it."""
    number: dict[str, int]
    """Path → file."""

    @classmethod
    def build(cls, documents: Sequence[Document]) -> Segment:
        paths = tuple(d.path for d in documents)
        arrays = [d.arrays for d in documents]
        counts = [len(a.starts) for a in arrays]
        chunk_file = _each(counts)
        chunk_length = _joined([a.lengths for a in arrays], np.int64)
        # A file's chunk numbers begin at 0: here they go on from those of the file before.
        offsets = np.cumsum([0, *counts])[:-1]
        sizes = [len(a.terms) for a in arrays]
        where = _joined([a.chunks for a in arrays], np.int32) + np.repeat(offsets, sizes).astype(np.int32)
        names, symbols = [len(a.name_terms) for a in arrays], [len(a.symbols) for a in arrays]
        name_counts = _joined([a.name_counts for a in arrays], np.uint16)
        postings = Postings.build(
            _joined([a.terms for a in arrays], np.uint32), where, _joined([a.counts for a in arrays], np.uint16)
        )
        return cls(
            paths=paths,
            blobs=tuple(d.blob for d in documents),
            languages=np.array([LANGUAGE_NUMBER[d.language] for d in documents], np.uint8),
            unread=np.array([d.state.startswith(UNREAD) for d in documents], np.bool_),
            lines=np.array([d.lines for d in documents], np.int64),
            symbol_counts=np.array([d.symbols for d in documents], np.int64),
            roles=_roles(paths),
            names_numbers=_names_numbers(paths),
            length=_summed(chunk_file, chunk_length, len(documents)),
            names_length=_summed(_each(names), name_counts, len(documents)),
            chunk_file=chunk_file,
            chunk_start=_joined([a.starts for a in arrays], np.int32),
            chunk_length=chunk_length,
            chunks=postings,
            names=Postings.build(_joined([a.name_terms for a in arrays], np.uint32), _each(names), name_counts),
            symbols=Postings.build(
                _joined([a.symbols for a in arrays], np.uint32),
                _each(symbols),
                _joined([a.weights for a in arrays], np.uint16),
            ),
            stems=_of_paths(paths, stem_terms),
            folders=_of_paths(paths, folder_terms),
            used=postings.files_of_each(chunk_file),
            number={path: i for i, path in enumerate(paths)},
        )

    @classmethod
    def listed(cls, paths: Sequence[str]) -> Segment:
        """Of files that nothing is known of but where they are. As `build` of such documents, in a third of the time."""
        files, nothing = (
            len(paths),
            Postings.build(np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.uint16)),
        )
        return cls(
            paths=tuple(paths),
            blobs=(None,) * files,
            languages=np.array([LANGUAGE_NUMBER[language_of(path).name] for path in paths], np.uint8),
            unread=np.zeros(files, np.bool_),
            lines=np.zeros(files, np.int64),
            symbol_counts=np.zeros(files, np.int64),
            roles=_roles(paths),
            names_numbers=_names_numbers(paths),
            length=np.zeros(files, np.int64),
            names_length=np.zeros(files, np.int64),
            chunk_file=np.zeros(0, np.int32),
            chunk_start=np.zeros(0, np.int32),
            chunk_length=np.zeros(0, np.int64),
            chunks=nothing,
            names=nothing,
            symbols=nothing,
            stems=_of_paths(paths, stem_terms),
            folders=_of_paths(paths, folder_terms),
            used=np.zeros(0, np.uint32),
            number={path: i for i, path in enumerate(paths)},
        )

    @classmethod
    def merge(
        cls, segments: Sequence[Segment], alive: Sequence[Mask], go_on: Callable[[], None] = lambda: None
    ) -> Segment:
        """One segment of the files that are alive in several. `go_on` is called now and then, and may raise."""
        kept = [np.flatnonzero(a) for a in alive]
        kept_chunks = [a[s.chunk_file] for s, a in zip(segments, alive, strict=True)]
        files = _renumbered(alive)
        chunks = _renumbered(kept_chunks)

        def of_files(name: str) -> Postings:
            return Postings.merge([getattr(s, name) for s in segments], alive, files, go_on)

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(s, name)[k] for s, k in zip(segments, kept, strict=True)])

        order = [(s, i) for s, k in zip(segments, kept, strict=True) for i in k.tolist()]
        paths = tuple(s.paths[i] for s, i in order)
        chunk_file = np.concatenate([f[s.chunk_file[c]] for s, c, f in zip(segments, kept_chunks, files, strict=True)])
        postings = Postings.merge([s.chunks for s in segments], kept_chunks, chunks, go_on)
        return cls(
            paths=paths,
            blobs=tuple(s.blobs[i] for s, i in order),
            languages=column("languages"),
            unread=column("unread"),
            lines=column("lines"),
            symbol_counts=column("symbol_counts"),
            roles=column("roles"),
            names_numbers=column("names_numbers"),
            length=column("length"),
            names_length=column("names_length"),
            chunk_file=chunk_file,
            chunk_start=np.concatenate([s.chunk_start[c] for s, c in zip(segments, kept_chunks, strict=True)]),
            chunk_length=np.concatenate([s.chunk_length[c] for s, c in zip(segments, kept_chunks, strict=True)]),
            chunks=postings,
            names=of_files("names"),
            symbols=of_files("symbols"),
            stems=of_files("stems"),
            folders=of_files("folders"),
            used=postings.files_of_each(chunk_file),
            number={path: i for i, path in enumerate(paths)},
        )


@lru_cache(maxsize=1 << 14)
def folder_terms(folder: str) -> tuple[int, ...]:
    """The terms of a path's folders; of `a/b`, not of a path with its file."""
    return tuple(many_terms(WORD.findall(folder.replace("/", " ").replace("-", "_"))))


def stem_terms(name: str) -> tuple[int, ...]:
    """The terms of a file's name without its suffix."""
    words = (name.rpartition(".")[0] or name).replace("-", "_")
    # Most are a single one.
    return terms(words) if words.isascii() and words.isidentifier() else tuple(many_terms(WORD.findall(words)))


def path_terms(path: str) -> set[int]:
    """All terms a file is found by for its path alone."""
    folder, _, name = path.rpartition("/")
    return {*folder_terms(folder), *stem_terms(name)}


def _roles(paths: Sequence[str]) -> NDArray[np.uint8]:
    return np.array([_ROLE_NUMBER[role_of(path)] for path in paths], np.uint8)


def _names_numbers(paths: Sequence[str]) -> U32:
    return np.array([number(plain(stem(path))) for path in paths], np.uint32)


def _of_paths(paths: Sequence[str], terms_of: Callable[[str], tuple[int, ...]]) -> Postings:
    side = 0 if terms_of is folder_terms else 2
    found = [terms_of(path.rpartition("/")[side]) for path in paths]
    terms = np.array([t for ts in found for t in ts], np.uint32)
    return Postings.build(terms, _each([len(ts) for ts in found]), np.ones(len(terms), np.uint16))


def _bounds(firsts: I64, end: int) -> Bounds:
    bounds = np.append(firsts, end)
    return bounds.astype(np.uint32) if end <= 0xFFFFFFFF else bounds


def _each(counts: Sequence[int]) -> I32:
    """0 as often as the first count says, then 1 …"""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _joined(columns: Sequence[NDArray[Any]], dtype: type[T]) -> NDArray[T]:
    return np.concatenate([*columns, np.zeros(0, dtype)]).astype(dtype, copy=False)


def _summed(where: I32, values: NDArray[Any], size: int) -> I64:
    return np.bincount(where, weights=values, minlength=size).astype(np.int64)


def _renumbered(kept: Sequence[Mask]) -> list[I32]:
    """For each segment, the number that each of its entries gets when only the kept ones are counted through all segments."""
    numbers: list[I32] = []
    base = 0
    for mask in kept:
        numbers.append((np.cumsum(mask) - 1 + base).astype(np.int32))
        base += int(mask.sum())
    return numbers


def _ranges(parts: Sequence[Postings], entries: int) -> list[int]:
    """Bounds of ranges of terms with about `_AT_ONCE` entries each, by how the largest part's are spread."""
    largest = max(parts, key=lambda p: len(p.where))
    steps = np.linspace(0, len(largest.where), max(1, -(-entries // _AT_ONCE)) + 1)[1:-1]
    at = largest._keys_at(steps)
    return [0, *distinct(largest.keys[at]).tolist(), 1 << 32] if len(largest.keys) else [0, 1 << 32]


def _between(part: Postings, kept: Mask, numbers: I32, low: int, high: int) -> tuple[U32, I32, U16]:
    """Entries of the terms from `low` to before `high`, without the places that are not kept: term, number of the place, count."""
    first = int(np.searchsorted(part.keys, np.uint32(low)))
    last = len(part.keys) if high > 0xFFFFFFFF else int(np.searchsorted(part.keys, np.uint32(high)))
    bounds = part.bounds[first : last + 1]
    terms = np.repeat(part.keys[first:last], np.diff(bounds))
    where, counts = part.where[bounds[0] : bounds[-1]], part.counts[bounds[0] : bounds[-1]]
    left = kept[where]
    if not left.all():
        terms, where, counts = terms[left], where[left], counts[left]
    return terms, numbers[where], counts
