"""What a session has searched, and when such an answer still holds.

A remembered answer is served only if a new search would give the same, to the letter: the question reads alike to the ranking
(`Query.key`: its terms, names, phrases and filters; the order of words matters exactly as far as neighbours form a compound and sentences
end), the files shown are what they were, no file changed since that had or has a word of the question, and the statistics of the code base
and its commits are the same (`View.mark`). Likeness of the question's text plays no part. What the session has come to see since plays
none either: it is the answer to who had seen what it had then (`Entry.seen`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.errors import ReconveneError
from reconvene.index import paging
from reconvene.index.paging import BEGINNING, Position
from reconvene.index.query import Query, parse
from reconvene.index.root import RootIndex, version
from reconvene.search.answer import LATELY, check_limit, page, question
from reconvene.search.files import read_as_indexed
from reconvene.search.result import SearchResult, Snippet, pointed_out
from reconvene.search.texts import cut_text

Cache = Literal["cached", "refreshed", "fresh"]

RECIPE = 11
"""Raise it when the same question would be answered otherwise from the same files, so that nothing older is served."""
PATIENCE = 2.0
"""Seconds to wait for a look at the disk where a remembered answer could be served; after that it is not."""
FRESH_PATIENCE = 0.3
"""Seconds to wait for it otherwise; then the answer is from the index as it is."""
KEPT = 300
"""Answers a session remembers."""


@dataclass(frozen=True, slots=True)
class Place:
    """A snippet without its text, which is read again when it is served."""

    path: str
    start: int
    end: int
    score: float
    symbol: str | None
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it is kept in the log. `whole`: nothing was missing from it, so it may be served again."""

    key: str
    query: str
    epoch: int
    mark: str
    whole: bool
    total: int
    places: tuple[Place, ...]
    fingerprints: Mapping[str, str]
    next: str | None = None
    """Cursor of the page after it."""
    seen: tuple[str, ...] = ()
    """What the session had seen last, as far as it moved the order."""
    further: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: str, result: SearchResult, seen: tuple[str, ...] = ()) -> Entry:
        places = tuple(Place(s.path, s.start, s.end, s.score, s.symbol, s.why) for s in result.snippets)
        whole = not (result.truncated or result.partial)
        shown = dict(result.fingerprints)
        return cls(
            key, result.query, result.epoch, result.mark, whole, result.total, places, shown, result.next, seen, result.further,
        )  # fmt: skip

    def to_json(self) -> str:
        places = [[p.path, p.start, p.end, p.score, p.symbol, list(p.why)] for p in self.places]
        value = {
            "key": self.key, "query": self.query, "epoch": self.epoch, "mark": self.mark, "whole": self.whole,
            "total": self.total, "places": places, "fingerprints": dict(self.fingerprints),
            "next": self.next, "seen": list(self.seen), "further": list(self.further),
        }  # fmt: skip
        return json.dumps(value, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """
        Raises:
            ValueError: it is not an entry as this version writes them.
        """
        try:
            value: dict[str, Any] = json.loads(text)
            places = tuple(Place(p[0], p[1], p[2], p[3], p[4], tuple(p[5])) for p in value["places"])
            return cls(
                value["key"], value["query"], value["epoch"], value["mark"], value["whole"], value["total"], places, value["fingerprints"],
                value["next"], tuple(value["seen"]), tuple(value["further"]),
            )  # fmt: skip
        except (KeyError, IndexError, TypeError) as e:
            raise ValueError("not an entry of a search context") from e


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and where it came from. `entry` belongs into the log, in the commit that has the answer.

    `cache`: `cached`, served from the session's context; `refreshed`, it was known but no longer held, so it was searched again; `fresh`.
    """

    result: SearchResult
    cache: Cache
    entry: Entry


class SearchContext:
    """One session's searches, newest last. Folded from the `searched` rows of its log."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    @classmethod
    def fold(cls, rows_content: Iterable[str]) -> SearchContext:
        """From the contents of the rows, oldest first. What another version wrote is left aside: it will be searched again."""
        context = cls()
        for content in deque(rows_content, maxlen=KEPT):
            try:
                entry = Entry.from_json(content)
            except ValueError:
                continue
            context.add(entry)
        return context

    def add(self, entry: Entry) -> None:
        self._entries.pop(entry.key, None)
        self._entries[entry.key] = entry
        while len(self._entries) > KEPT:
            del self._entries[next(iter(self._entries))]

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def before(self, cursor: str | None) -> Entry | None:
        """The page that a cursor comes from, of those that are remembered."""
        return next((e for e in reversed(self._entries.values()) if e.next == cursor), None) if cursor else None

    def __len__(self) -> int:
        return len(self._entries)

    def paths(self) -> Iterator[str]:
        """Every path that was found, those found last at the end, each once."""
        latest: dict[str, None] = {}
        for entry in self._entries.values():
            for place in entry.places:
                latest.pop(place.path, None)
                latest[place.path] = None
        return iter(latest)

    def known(self, *, tokens: int = 600) -> str:
        """What an agent may be told it has found already, newest searches first: `path:10-40 Symbol`, one place a line.

        Args:
            tokens: of four characters each, at most.
        """
        room = tokens * 4
        lines: list[str] = []
        told: set[tuple[str, int, int]] = set()
        for entry in reversed(self._entries.values()):
            for place in entry.places:
                if (place.path, place.start, place.end) in told:
                    continue
                told.add((place.path, place.start, place.end))
                line = f"{place.path}:{place.start}-{place.end}" + (
                    f" {' '.join(place.symbol.split())}" if place.symbol else ""
                )
                room -= len(line) + 1
                if room < 0:
                    return "\n".join(lines)
                lines.append(line)
        return "\n".join(lines)


async def lookup_or_search(
    context: SearchContext,
    index: RootIndex,
    query: str,
    limit: int = 8,
    seen: Iterable[str] = (),
    cursor: str | None = None,
) -> Found:
    """The answer to a question of a session: the remembered one if it still holds, else a new one, which the context remembers.

    `seen`: paths that the session knows, the last it came to at the end. `cursor`: of the page before; each page is remembered for itself.

    Raises:
        ReconveneError: as `search`.
    """
    parsed = parse(query, index.limits)
    check_limit(limit, index)
    at = paging.read(cursor, question(index, parsed))
    key = key_of(parsed, limit, at)
    entry = context.get(key)
    index.want(query)
    patience = FRESH_PATIENCE if entry is None or index.partial else PATIENCE
    verified = await index.refresh_within(patience) is not None
    known = tuple(seen)
    if entry is not None and verified:
        result = await asyncio.to_thread(remembered, index, parsed, entry)
        if result is not None:
            return Found(pointed_out(result, known), "cached", entry)
    # What a page shows is seen by then: the next one goes on in the order of the first.
    first = context.before(cursor)
    lately = known[-LATELY:] if first is None else first.seen
    result = await page(index, parsed, limit, at, lately)
    now = Entry.of(key_of(parsed, limit) if result.moved else key, result, lately)
    context.add(now)
    return Found(pointed_out(result, known), "fresh" if entry is None else "refreshed", now)


def key_of(query: Query, limit: int, at: Position = BEGINNING) -> str:
    page = (at.shown, at.digest)
    return hashlib.sha256(repr((RECIPE, version(), limit, page, query.key)).encode()).hexdigest()[:32]


def remembered(index: RootIndex, query: Query, entry: Entry) -> SearchResult | None:
    """The entry as an answer, its text read anew; None when a new search might differ. Blocking."""
    view = index.view
    if not entry.whole or view.partial or entry.mark != view.mark or not unconcerned(index, query, entry):
        return None
    snippets = []
    for place in entry.places:
        try:
            text = read_as_indexed(index, place.path, entry.fingerprints.get(place.path))
        except ReconveneError:
            return None
        if text is None:
            return None
        shown = cut_text(text, place.start, place.end)
        snippets.append(Snippet(place.path, place.start, place.end, place.score, place.symbol, shown, place.why))
    return SearchResult(
        query.text, tuple(snippets), entry.total, False, index.skipped, view.epoch, view.mark, False, entry.fingerprints,
        entry.further, entry.next,
    )  # fmt: skip


def unconcerned(index: RootIndex, query: Query, entry: Entry) -> bool:
    """Whether no file changed since the entry that has, or had, anything to do with the question."""
    changed = (
        index.changed_since(entry.epoch)
        if query.concerns is None
        else index.concerned_since(entry.epoch, query.concerns)
    )
    return changed is not None and not changed
