"""What the repository's own commit messages say of its files: people wrote there, in the words that others ask in, what each is about.

The messages are searched like texts, and each that is found votes for the files its commit touched, the fewer they were the more. On
252 commits of nine repositories that alone ranked as well as the files' contents, and added to them it is worth .02 to .03 of the mean
reciprocal rank. Names of moved files lead to where they are now. All of it depends on the commits and on nothing else.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconvene.index.distinct import distinct
from reconvene.index.segment import I32, Postings
from reconvene.index.words import text_counter
from reconvene.workspace.git_history import Commit
from reconvene.workspace.names import decode, encode

MOST = 8000
"""Commits looked at."""
RECIPE = 1
"""Raise it when the same commit would be noted otherwise, or the same notes read otherwise."""
MOST_FILES = 30
"""Of a commit that votes: one that touches more is a sweep over the code base."""
MOST_RENAMES = 20_000
_CHARS = 700
_BEST = 80
"""Messages that vote."""
_DAYS = 180.0
"""After which a commit says so much less, by e, of what is being worked on."""
_K, _B = 1.2, 0.75
_TRAILER = re.compile(
    r"^\s*(co-authored-by|signed-off-by|change-id|reviewed-by|acked-by|tested-by|cc|pull-request|closes|fixes|refs?)\b[:\s].*$",
    re.I | re.M,
)
_LINK = re.compile(r"https?://\S+|#\d+")
_HEAD = Struct("<qIII")
_count = text_counter()

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of a commit. `terms`, `counts`: of its message. `paths`: what it touched; nothing when that was too much."""

    at: int
    terms: array[int]
    counts: array[int]
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, commit: Commit) -> Note:
        renames = commit.renames if len(commit.renames) <= MOST_RENAMES else ()
        at = max(0, min(commit.at, 1 << 40))
        if commit.first or not 0 < len(commit.paths) <= MOST_FILES:
            return cls(at, array("I"), array("H"), (), () if commit.first else renames)
        text = _LINK.sub(" ", _TRAILER.sub(" ", commit.message))[:_CHARS]
        counts = _count(text)
        return cls(at, array("I", counts), array("H", counts.values()), commit.paths, renames)

    def pack(self) -> bytes:
        names = (*self.paths, *(name for pair in self.renames for name in pair))
        head = _HEAD.pack(self.at, len(self.terms), len(self.paths), len(self.renames))
        return head + self.terms.tobytes() + self.counts.tobytes() + zlib.compress(b"\0".join(map(encode, names)), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> Note:
        at, terms, paths, renames = _HEAD.unpack_from(packed)
        found, counts = array("I"), array("H")
        middle, end = _HEAD.size + 4 * terms, _HEAD.size + 6 * terms
        found.frombytes(packed[_HEAD.size : middle])
        counts.frombytes(packed[middle:end])
        names = list(map(decode, zlib.decompress(packed[end:]).split(b"\0"))) if paths + renames else []
        moved = names[paths:]
        return cls(at, found, counts, tuple(names[:paths]), tuple(zip(moved[::2], moved[1::2], strict=True)))


@dataclass(frozen=True, eq=False)
class History:
    """Commits, newest first, as arrays. Immutable.

    `mark` names the commits it is of. `paths`: every name that a file of them has or would have now. Commit `c` touched
    `touched[bounds[c]:bounds[c + 1]]` (numbers in `paths`). `recent`, per path: how much it was worked on lately, at most 1.
    """

    mark: str
    paths: tuple[str, ...]
    bounds: NDArray[np.int64]
    touched: I32
    sizes: Floats
    """Files that a commit touched, also those that are named twice now."""
    messages: Postings
    lengths: Floats
    recent: Floats

    @cached_property
    def number(self) -> Mapping[str, int]:
        return {path: i for i, path in enumerate(self.paths)}

    def votes(self, weighted: Sequence[tuple[int, float]]) -> Floats:
        """Per path, how much the messages that have these terms speak for it."""
        commits = len(self.lengths)
        score = np.zeros(commits)
        average = max(float(self.lengths.mean()), 1.0) if commits else 1.0
        for term, weight in weighted:
            if (at := self.messages.of(term)) is None:
                continue
            where, counts = at[0], at[1].astype(np.float64)
            rarity = weight * math.log(1 + (commits - len(where) + 0.5) / (len(where) + 0.5))
            length = self.lengths[where] / average
            score[where] += rarity * counts * (_K + 1) / (counts + _K * (1 - _B + _B * length))
        votes = np.zeros(len(self.paths))
        found = np.flatnonzero(score)
        for c in found[np.argsort(-score[found], kind="stable")[:_BEST]].tolist():
            files = self.touched[self.bounds[c] : self.bounds[c + 1]]
            votes[files] += score[c] ** 2 / self.sizes[c]
        return votes

    def together(self, paths: Iterable[str]) -> Floats:
        """Per path, how often it was changed together with these, themselves left out; a commit of few files says more."""
        numbers = [self.number[path] for path in paths if path in self.number]
        votes = np.zeros(len(self.paths))
        if numbers:
            commit = np.repeat(np.arange(len(self.sizes)), np.diff(self.bounds))
            these = np.zeros(len(self.paths), np.bool_)
            these[numbers] = True
            ours = np.bincount(commit, these[self.touched], len(self.sizes))
            votes += np.bincount(self.touched, (ours / np.maximum(self.sizes, 1))[commit], len(self.paths))
            votes[numbers] = 0
        return votes

    def cochange(self, path: str) -> list[tuple[str, float]]:
        """Files that changed in the same commits as one, most often first (of equals by their names), each with the share of its commits.

        A commit of many files says less of any two: it counts as one over the others that it touched.
        """
        number = self.number.get(path)
        if number is None:
            return []
        commits = np.searchsorted(self.bounds, np.flatnonzero(self.touched == number), side="right") - 1
        together = np.zeros(len(self.paths))
        for c in commits.tolist():
            files = self.touched[self.bounds[c] : self.bounds[c + 1]]
            together[files] += 1 / max(float(self.sizes[c]) - 1, 1.0)
        together[number] = 0.0
        found = [(self.paths[i], float(together[i]) / len(commits)) for i in np.flatnonzero(together).tolist()]
        return sorted(found, key=lambda f: (-f[1], f[0]))

    def pack(self) -> bytes:
        packed = io.BytesIO()
        m = self.messages
        columns: tuple[NDArray[Any], ...] = (self.bounds, self.touched, self.sizes, self.lengths, self.recent)
        for column in (*columns, m.keys, m.bounds, m.where, m.counts):
            np.save(packed, column, allow_pickle=False)
        names = zlib.compress(b"\0".join(map(encode, self.paths)), 1)
        return packed.getvalue() + names

    @classmethod
    def unpack(cls, mark: str, packed: bytes) -> History:
        stream = io.BytesIO(packed)
        bounds, touched, sizes, lengths, recent, *messages = (np.load(stream, allow_pickle=False) for _ in range(9))
        names = zlib.decompress(stream.read())
        paths = tuple(map(decode, names.split(b"\0"))) if names else ()
        return cls(mark, paths, bounds, touched, sizes, Postings(*messages), lengths, recent)


def mark_of(ids: Sequence[bytes]) -> str:
    """A name for these commits in this order; nothing when there are none."""
    return hashlib.sha256(bytes([RECIPE]) + b"".join(ids)).hexdigest()[:16] if ids else ""


def build(mark: str, notes: Sequence[Note]) -> History:
    """From the notes of all commits, newest first."""
    number: defaultdict[str, int] = defaultdict(lambda: len(number))
    now: dict[str, str] = {}
    voting: list[Note] = []
    touched: list[NDArray[np.int64]] = []
    newest = max((note.at for note in notes), default=0)
    recent: defaultdict[int, float] = defaultdict(float)
    for note in notes:
        if note.paths:
            files = [number[now.get(path, path)] for path in note.paths]
            voting.append(note)
            touched.append(distinct(np.array(files, np.int64)))
            fresh = math.exp(-(newest - note.at) / 86400 / _DAYS) / math.sqrt(len(files))
            for file in files:
                recent[file] += fresh
        # Older commits know the file by its old name.
        for old, new in note.renames:
            now[old] = now.get(new, new)
    lately = np.log1p(np.array([recent[i] for i in range(len(number))], np.float64))
    terms = np.concatenate([np.zeros(0, np.uint32), *(np.array(n.terms, np.uint32) for n in voting)])
    counts = np.concatenate([np.zeros(0, np.uint16), *(np.array(n.counts, np.uint16) for n in voting)])
    where = np.repeat(np.arange(len(voting), dtype=np.int32), [len(n.terms) for n in voting])
    return History(
        mark=mark,
        paths=tuple(number),
        bounds=np.cumsum([0, *map(len, touched)]),
        touched=np.concatenate([np.zeros(0, np.int32), *touched]).astype(np.int32),
        sizes=np.array([len(n.paths) for n in voting], np.float64),
        messages=Postings.build(terms, where, counts),
        lengths=np.array([sum(n.counts) for n in voting], np.float64),
        recent=lately / lately.max() if len(lately) and lately.max() > 0 else lately,
    )


NO_HISTORY = build("", ())
