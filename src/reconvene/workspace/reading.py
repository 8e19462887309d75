"""A file's text, page by page, and its fingerprint. Memory stays flat whatever the size of the file or of its lines.

A line ends with "\\n"; a "\\r" before it belongs to the ending. Text is UTF-8 (a BOM is dropped) or, with its BOM,
UTF-16; what does not decode becomes U+FFFD. Control characters come out as their pictures (ESC as ␛), so no text can
steer a terminal.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconvene.config import Limits
from reconvene.errors import ReconveneError

_CHUNK = 256 * 1024
_HEAD = 8000
"""Git looks at as many bytes for a NUL to tell binary from text."""
SCAN_PAGES = 64
"""A page is looked for in the first `SCAN_PAGES * limits.file_read` bytes (64 MiB) of a file; lines further in are
not counted."""

_PICTURES = (
    {c: 0x2400 + c for c in range(0x20) if chr(c) not in "\t\n"}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PLAIN_ASCII = bytes({9, 10, *range(0x20, 0x7F)})
_KINDS = (
    (b"\x89PNG", "PNG image"), (b"\xff\xd8\xff", "JPEG image"), (b"GIF8", "GIF image"), (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive"), (b"\x1f\x8b\x08", "gzip archive"), (b"\xfd7zXZ\0", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"), (b"\x7fELF", "ELF program"), (b"SQLite format 3\0", "SQLite database"),
    (b"\0asm", "WebAssembly"), (b"\xca\xfe\xba\xbe", "Java class"), (b"wOFF", "font"), (b"wOF2", "font"),
)  # fmt: skip
_MAGICS = tuple(magic for magic, _ in _KINDS)
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Lines `start` to `end` of a file, from 1, both inclusive (`end` is `start - 1` when there are none).

    `path` is the display form, which `Workspace.read` takes again. `text` has its lines joined by "\\n" without a
    closing one.
    `truncated`: not all that was asked for is here, either lines (go on at `next_start`) or the rest of a cut line.
    `next_start`: the line after `end`; None at the end of the file. `total_lines`: None when the file is too big to
    count. `fingerprint` is of the whole file, see `Workspace.fingerprint`. `size`: bytes of the whole file.
    """

    path: str
    start: int
    end: int
    total_lines: int | None
    text: str
    truncated: bool
    next_start: int | None
    fingerprint: str
    size: int


def blob_id(data: bytes) -> str:
    """Git's name for a file's content, 40 hex digits.

    >>> blob_id(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def big_id(st: os.stat_result) -> str:
    """The fingerprint of a file over `limits.indexed_file`: `big-<size>-<mtime_ns>`; no sweep reads it whole."""
    return f"big-{st.st_size}-{st.st_mtime_ns}"


def binary_kind(head: bytes) -> str | None:
    """What a file is when its first bytes are not text; None for text."""
    if utf16(head):
        return None
    if head.startswith(_MAGICS):
        return next(kind for magic, kind in _KINDS if head.startswith(magic))
    return "binary data" if b"\0" in head[:_HEAD] else None


def utf16(head: bytes) -> str | None:
    """The codec of a UTF-16 file, by its BOM."""
    utf32 = head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff"))
    return None if utf32 else _UTF16.get(head[:2])


def decode_text(data: bytes) -> str | None:
    """A whole file's text as `FileSlice.text` would have it, its closing line end kept; None when it is binary."""
    if binary_kind(data[:_HEAD]) is not None:
        return None
    return _plain(b"".join(_utf8(iter((data,)), data[:_HEAD])))


def read_whole(fd: int, size: int) -> bytes:
    """At most `size` bytes from the start of a file: what fstat promised (a pseudo-file that promises nothing gives
    nothing)."""
    pieces: list[bytes] = []
    done = 0
    while done < size and (piece := os.pread(fd, size - done, done)):
        pieces.append(piece)
        done += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_slice(
    path: str, fd: int, st: os.stat_result, *, start: int, end: int | None, max_bytes: int, limits: Limits
) -> FileSlice:
    """See `Workspace.read`. Of a file within `limits.indexed_file`, text and fingerprint are of the same bytes."""
    reach = SCAN_PAGES * limits.file_read
    if st.st_size <= limits.indexed_file:
        data = read_whole(fd, st.st_size)
        head, fingerprint, size = data[:_HEAD], blob_id(data), len(data)
        chunks: Iterator[bytes] = iter((data,))
    else:
        head, fingerprint, size = os.pread(fd, _HEAD, 0), big_id(st), st.st_size
        chunks = _chunks(fd, min(size, reach))
    if kind := binary_kind(head):
        raise ReconveneError(
            "binary_file", f"{path} is not text: {kind}, {size:,} bytes.", path=path, size=size, kind=kind
        )
    whole = size <= reach
    page = _Page(start, end, max_bytes, min(limits.line, max_bytes))
    for chunk in _utf8(chunks, head):
        page.feed(chunk)
        if page.full and not whole:
            break
    page.close(whole)
    if not page.lines and start > 1:
        if whole:
            sentence = f"{path} has {page.count:,} lines; there is no line {start:,}."
            raise ReconveneError("invalid_field", sentence, path=path, total_lines=page.count)
        sentence = (
            f"Line {start:,} of {path} is not within its first {reach:,} bytes, and further is not read. "
            f"The file has {size:,} bytes."
        )
        raise ReconveneError("too_large", sentence, path=path, size=size, limit=reach)
    last = start + len(page.lines) - 1
    more = last < page.count if whole else True
    return FileSlice(
        path=path,
        start=start,
        end=last,
        total_lines=page.count if whole else None,
        text="\n".join(page.lines),
        truncated=page.cut or (more and (end is None or last < end)),
        next_start=last + 1 if more and (whole or page.full) else None,
        fingerprint=fingerprint,
        size=size,
    )


class _Page:
    """Collects lines `start` to `end` from a stream of UTF-8 chunks, up to `room` bytes, and counts the rest.

    A line over `longest` bytes is cut and says so.
    """

    def __init__(self, start: int, end: int | None, room: int, longest: int) -> None:
        self.lines: list[str] = []
        self.cut = False
        """Whether a line was."""
        self.full = False
        """Nothing further is taken; lines are only counted."""
        self.count = 0
        """Lines that ended so far; after `close`, all."""
        self._start, self._end, self._room, self._longest = start, end, room, longest
        self._line = bytearray()
        self._size = 0
        """Bytes of the line that is being read, with those that are not kept."""
        self._open = False
        """The last chunk ended within a line."""

    def feed(self, chunk: bytes) -> None:
        if not chunk:
            return
        self._open = not chunk.endswith(b"\n")
        at = 0
        if (skip := self._start - 1 - self.count) > 0 and not self.full:
            breaks = chunk.count(b"\n")
            if breaks < skip:
                self.count += breaks
                return
            for _ in range(skip):
                at = chunk.index(b"\n", at) + 1
            self.count += skip
        while not self.full and at < len(chunk):
            stop = chunk.find(b"\n", at)
            self._take(chunk, at, stop if stop >= 0 else len(chunk))
            if stop < 0:
                return
            self._finish(ended=True, newline=True)
            self.count += 1
            at = stop + 1
        self.count += chunk.count(b"\n", at)

    def close(self, whole: bool) -> None:
        """The stream is over; `whole`: with the end of the file."""
        if self._open and not self.full and self.count >= self._start - 1:
            self._finish(ended=whole, newline=False)
        self.count += self._open

    def _take(self, chunk: bytes, at: int, stop: int) -> None:
        self._size += stop - at
        # Two more than a line may have: its "\r", and the sign that it goes on.
        self._line += chunk[at : min(stop, at + max(0, self._longest + 2 - len(self._line)))]

    def _finish(self, *, ended: bool, newline: bool) -> None:
        line, size = bytes(self._line), self._size
        self._line.clear()
        self._size = 0
        if newline and line.endswith(b"\r") and len(line) == size:
            line, size = line[:-1], size - 1
        text = _plain(line)
        encoded = text.encode()
        cut = not ended or size > self._longest or len(encoded) > self._longest
        if cut:
            encoded = encoded[: self._longest]
            more = "" if ended else "more than "
            text = f"{encoded.decode('utf-8', 'ignore')} … [line cut here: it has {more}{size:,} bytes]"
        cost = len(encoded) + bool(self.lines)
        if self.lines and cost > self._room:
            self.full = True
            return
        self._room -= cost
        self.cut |= cut
        self.lines.append(text)
        self.full = self._start - 1 + len(self.lines) == self._end


def _chunks(fd: int, size: int) -> Iterator[bytes]:
    at = 0
    while at < size and (chunk := os.pread(fd, min(_CHUNK, size - at), at)):
        yield chunk
        at += len(chunk)


def _utf8(chunks: Iterator[bytes], head: bytes) -> Iterator[bytes]:
    """The text's bytes in UTF-8, without a BOM."""
    if codec := utf16(head):
        decoder = codecs.getincrementaldecoder(codec)("replace")
        skip = 2
        for chunk in chunks:
            yield decoder.decode(chunk[skip:]).encode()
            skip = 0
        yield decoder.decode(b"", True).encode()
        return
    skip = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    for chunk in chunks:
        yield chunk[skip:]
        skip = 0


def _plain(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.isascii():  # most is, and deleting what it may have is ten times as fast as looking for a pattern
        return text.translate(_PICTURES) if text.encode().translate(None, _PLAIN_ASCII) else text
    return text.translate(_PICTURES) if _CONTROL.search(text) else text
