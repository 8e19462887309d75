"""Pages of an answer. A cursor says how many entries were shown, of which question, and names what they were.

Nothing is kept for it: the next page is made anew. When the entries before it are still the same, it goes on right after them. When a
change moved them, nobody could tell what was seen and what was not: then the answer begins again, and says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from reconvene.errors import ReconveneError

VERSION = 1
_FORM = Struct(">BH6s6s")
_CHECK = Struct(">I")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after so many entries, which `digest` names. The default is the beginning."""

    shown: int = 0
    digest: bytes = b""


BEGINNING = Position()


def digest_of(entries: Iterable[object]) -> bytes:
    """Names what was shown. An entry is a tuple of what tells it from another: path, lines, fingerprint."""
    return _digest(list(entries))


def written(question: object, entries: Iterable[object]) -> str:
    """The cursor for what comes after these entries of the answer to a question (anything with a `repr` of its own)."""
    shown = list(entries)
    body = _FORM.pack(VERSION, len(shown), _digest(question), digest_of(shown))
    return base64.urlsafe_b64encode(body + _CHECK.pack(crc32(body))).decode().rstrip("=")


def read(cursor: str | None, question: object) -> Position:
    """The position a cursor of this question names.

    Raises:
        ReconveneError: `invalid_field`: it is no cursor, or one of another question or code base.
    """
    if cursor is None:
        return BEGINNING
    size = _FORM.size + _CHECK.size
    body = b""
    if re.fullmatch(r"[\w-]{1,64}=*", cursor, re.ASCII):
        try:
            body = base64.b64decode(cursor.rstrip("=") + "=" * (-len(cursor.rstrip("=")) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            body = b""
    if len(body) != size or _CHECK.unpack(body[-4:])[0] != crc32(body[:-4]) or body[0] != VERSION:
        sentence = "This is no cursor. Give it exactly as the page before printed it, or leave it out."
        raise ReconveneError("invalid_field", sentence, field="cursor")
    _, shown, asked, digest = _FORM.unpack(body[:-4])
    if asked != _digest(question):
        sentence = "This cursor is of another question. Repeat that one word for word, or leave the cursor out."
        raise ReconveneError("invalid_field", sentence, field="cursor")
    return Position(shown, digest)


def _digest(value: object) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=6).digest()
