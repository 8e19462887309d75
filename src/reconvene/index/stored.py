"""What a stored index says: its files as documents for memory, their words, what its commits said. Blocking."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Collection, Mapping

from reconvene.index.arrays import EMPTY, Arrays
from reconvene.index.history import NO_HISTORY, History
from reconvene.index.languages.registry import language_of
from reconvene.index.segment import UNREAD, Document, path_terms
from reconvene.index.store import BlobKey, FileRecord, Store


def document(store: Store, path: str, record: FileRecord) -> Document:
    """A file as it was when last looked at."""
    language = language_of(path).name
    found = store.analysis((record.blob, language)) if record.blob is not None else None
    if found is None:
        return Document(path, record.blob, language, record.state if record.blob is None else "", 0, 0, EMPTY)
    arrays = Arrays.unpack(found.postings)
    return Document(path, record.blob, language, found.state, found.lines, found.symbols, arrays)


def documents(store: Store, records: Mapping[str, FileRecord]) -> list[Document]:
    """All of them; one query for each content, not for each file."""
    states = store.states()
    keys = {path: (record.blob, language_of(path).name) for path, record in records.items() if record.blob is not None}
    arrays = {key: Arrays.unpack(postings) for key, postings in store.postings(dict.fromkeys(keys.values()))}
    unknown = ("", 0, 0)
    found_all = []
    for path, record in records.items():
        key = keys.get(path)
        state, lines, symbols = states.get(key, unknown) if key else (record.state, 0, 0)
        found = arrays.get(key, EMPTY) if key else EMPTY
        found_all.append(Document(path, record.blob, language_of(path).name, state, lines, symbols, found))
    return found_all


def history(store: Store) -> History:
    """An empty one when what is kept cannot be read: it is made again from the commits."""
    kept = store.history()
    with contextlib.suppress(ValueError, EOFError, zlib.error):
        return History.unpack(*kept) if kept else NO_HISTORY
    return NO_HISTORY


def left_out(store: Store) -> dict[str, str]:
    """Files that are not in the index though they should be, and why."""
    states = store.states()
    found = {}
    for path, record in store.files().items():
        state = states[record.blob, language_of(path).name][0] if record.blob else record.state
        if state.startswith(UNREAD):
            found[path] = state
    return found


def concerned(store: Store, epoch: int, terms: Collection[int], most: int) -> frozenset[str] | None:
    """Paths that changed since an epoch and had one of these terms before, or have it now.

    None when that is not known, or more than `most` changed.
    """
    changes = store.changes(epoch)
    if changes is None or len(changes) > most:
        return None
    wanted = frozenset(terms)
    found = set()
    for change in changes:
        if (change.old is None or change.new is None) and not wanted.isdisjoint(path_terms(change.path)):
            found.add(change.path)
            continue
        for blob in filter(None, (change.old, change.new)):
            had = _terms(store, (blob, language_of(change.path).name))
            if had is None or not wanted.isdisjoint(had):
                found.add(change.path)
                break
    return frozenset(found)


def _terms(store: Store, key: BlobKey) -> frozenset[int] | None:
    for _, postings in store.postings([key]):
        arrays = Arrays.unpack(postings)
        return frozenset(arrays.terms.tolist()) | frozenset(arrays.symbols.tolist())
    return None
