"""The files of an answer, as they are now: one that is not what it was when indexed is left out, to be indexed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconvene.errors import ReconveneError
from reconvene.index.definitions import Definition
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.search.texts import KnownTexts, Text
from reconvene.workspace.names import display_path
from reconvene.workspace.reading import blob_id, decode_text

texts = KnownTexts()
"""Of all answers."""
_GONE = frozenset({"file_not_found", "not_a_regular_file", "is_a_directory", "path_outside_root", "too_large"})


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read for an answer. `number`: counted through all segments."""

    number: int
    path: str
    blob: bytes
    text: Text
    definitions: Sequence[Definition]

    @property
    def lines(self) -> Sequence[str]:
        return self.text.lines


class Files:
    """Reads files for one answer until its time is over."""

    def __init__(self, index: RootIndex, view: View, deadline: float) -> None:
        self._index = index
        self._view = view
        self._deadline = deadline
        self.stale: list[str] = []
        self.truncated = False
        self.fingerprints: dict[str, str] = {}
        """Of what was read, by its displayed path."""

    def read(self, numbers: Iterable[int], worth: Callable[[str], bool] | None = None) -> Iterator[File]:
        """
        Args:
            worth: whether a file is worth more than a look at its text; the others are left out.

        Raises:
            ReconveneError: `workspace_gone`, `tool_failed`.
        """
        for number in numbers:
            if time.monotonic() > self._deadline:
                self.truncated = True
                return
            path = self._view.path(number)
            blob = self._view.blob(path)
            waits = blob is None and self._view.waits(number)
            if blob is None and not waits:
                continue  # known by its path only: nothing to show
            lines: Sequence[str] | None
            try:
                if blob is None:
                    blob, lines = read_now(self._index, path)
                    if lines is not None and worth is not None and not worth("\n".join(lines)):
                        continue
                else:
                    lines = read_as_indexed(self._index, path, blob.hex(), worth)
            except ReconveneError as e:
                if e.code in ("workspace_gone", "tool_failed"):
                    raise
                self.truncated = True
                continue
            if lines is None:
                if not waits:
                    self.stale.append(path)
                continue
            if not lines:
                continue  # not worth it
            self.fingerprints[display_path(path)] = blob.hex()
            text = texts.of(blob.hex(), lines)
            yield File(number, path, blob, text, self._index.definitions_of(blob, path))


def read_as_indexed(
    index: RootIndex, path: str, fingerprint: str | None, worth: Callable[[str], bool] | None = None
) -> Sequence[str] | None:
    """A file's lines, which nobody may change; None when it is not what it was, none at all when its text is not `worth` them.

    Raises:
        ReconveneError: why it cannot be read.
    """
    try:
        data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    except ReconveneError as e:
        if e.code in _GONE:
            return None
        raise
    if fingerprint is None or blob_id(data) != fingerprint:
        return None
    if (known := texts.get(fingerprint)) is not None:
        return known.lines if worth is None or worth("\n".join(known.lines)) else ()
    if (text := decode_text(data)) is None:
        return None
    text = text.removesuffix("\n")
    if worth is not None and not worth(text):
        return ()
    return texts.of(fingerprint, text.split("\n"), len(text)).lines


def read_now(index: RootIndex, path: str) -> tuple[bytes, list[str] | None]:
    """Content's id and lines of a file that the index has not come to yet; no lines when it has none to show.

    Raises:
        ReconveneError: why it cannot be read.
    """
    data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    text = decode_text(data) if data.strip() else None
    return bytes.fromhex(blob_id(data)), None if text is None else text.removesuffix("\n").split("\n")
