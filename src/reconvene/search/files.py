"""The files of an answer, as they are now: one that is not what it was when indexed is left out, to be indexed again."""

from __future__ import annotations

import re
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, overload

from reconvene.errors import ReconveneError
from reconvene.index.definitions import Definition
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.search.texts import KnownTexts, Text
from reconvene.workspace.names import display_path
from reconvene.workspace.reading import binary_kind, blob_id, decode_text

texts = KnownTexts()
"""Of all answers."""
_WIDE_CONTROL = re.compile(rb"\xc2[\x80-\x9f]")
"""Those of two bytes."""
_NO_CONTROLS = bytes(code for code in range(256) if code in b"\t\n" or (code >= ord(" ") and code != 0x7F))
"""Bytes of a text that are not, or not by themselves, control characters."""
_GONE = frozenset({"file_not_found", "not_a_regular_file", "is_a_directory", "path_outside_root", "too_large"})


@dataclass(frozen=True)
class File:
    """A file as it was read for an answer. `number`: counted through all segments."""

    number: int
    path: str
    blob: bytes
    text: Text
    _index: RootIndex

    @cached_property
    def definitions(self) -> Sequence[Definition]:
        return self._index.definitions_of(self.blob, self.path)


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
            text: Text | Literal["not worth it"] | None
            try:
                if blob is None:
                    blob, text = read_now(self._index, path, worth)
                else:
                    text = read_as_indexed(self._index, path, blob.hex(), worth)
            except ReconveneError as e:
                if e.code in ("workspace_gone", "tool_failed"):
                    raise
                self.truncated = True
                continue
            if text is None:
                if not waits:
                    self.stale.append(path)
                continue
            if isinstance(text, str):
                continue
            self.fingerprints[display_path(path)] = blob.hex()
            yield File(number, path, blob, text, self._index)


@overload
def read_as_indexed(index: RootIndex, path: str, fingerprint: str | None) -> Text | None: ...


@overload
def read_as_indexed(
    index: RootIndex, path: str, fingerprint: str | None, worth: Callable[[str], bool] | None
) -> Text | Literal["not worth it"] | None: ...


def read_as_indexed(
    index: RootIndex, path: str, fingerprint: str | None, worth: Callable[[str], bool] | None = None
) -> Text | Literal["not worth it"] | None:
    """A file's text; None when it is not what it was.

    Args:
        worth: whether a text is worth more than a look.

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
        return known if worth is None or worth(known.data.decode()) else "not worth it"
    return _taken(data, fingerprint, worth)


def read_now(
    index: RootIndex, path: str, worth: Callable[[str], bool] | None
) -> tuple[bytes, Text | Literal["not worth it"] | None]:
    """Content's id and text of a file that the index has not come to yet; no text when it has none to show.

    Raises:
        ReconveneError: why it cannot be read.
    """
    data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    blob = blob_id(data)
    return bytes.fromhex(blob), _taken(data, blob, worth) if data.strip() else None


def _taken(data: bytes, fingerprint: str, worth: Callable[[str], bool] | None) -> Text | Literal["not worth it"] | None:
    """The text of a content, known from now on; None when it is binary."""
    if worth is None:
        found = text_bytes(data)
        return None if found is None else texts.of(fingerprint, found)
    # Of most it ends here, and then the bytes of their text are not asked for.
    text = decode_text(data)
    if text is None:
        return None
    text = text.removesuffix("\n")
    return texts.of(fingerprint, text.encode()) if worth(text) else "not worth it"


def text_bytes(data: bytes) -> bytes | None:
    """A whole file's text as `decode_text` has it, in UTF-8 and without a line end at its end; None when it is binary."""
    if _reads_as_written(data) and not binary_kind(data):
        return data.removesuffix(b"\n")
    text = decode_text(data)
    return None if text is None else text.removesuffix("\n").encode()


def _reads_as_written(data: bytes) -> bool:
    """Whether nothing of a text is shown as something else, as far as it is plain: it is UTF-8 without a mark, and has no control
    characters."""
    if not data.isascii():
        if data.startswith(BOM_UTF8) or _WIDE_CONTROL.search(data):
            return False
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
    return not data.translate(None, _NO_CONTROLS)
