"""Pages of an answer. A cursor says how many places were shown, of which question, and names what they were.

Nothing is kept for it: the next page is searched anew. When the places before it are still the same, it goes on right after them. When a
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
from reconvene.index.query import Query
from reconvene.index.root import RootIndex

VERSION = 1
_FORM = Struct(">BH6s6s")
_CHECK = Struct(">I")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after so many places, which `digest` names. The default is the beginning."""

    shown: int = 0
    digest: bytes = b""


BEGINNING = Position()

Shown = tuple[str, int, int, str]
"""A place: path, first and last line, fingerprint of its file."""


def digest_of(places: Iterable[Shown]) -> bytes:
    return _digest(list(places))


def written(index: RootIndex, query: Query, places: Iterable[Shown]) -> str:
    """The cursor for what comes after these places."""
    shown = list(places)
    body = _FORM.pack(VERSION, len(shown), _question(index, query), digest_of(shown))
    return base64.urlsafe_b64encode(body + _CHECK.pack(crc32(body))).decode().rstrip("=")


def read(cursor: str | None, index: RootIndex, query: Query) -> Position:
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
        sentence = "This is no cursor of a search. Give it exactly as the page before printed it, or leave it out."
        raise ReconveneError("invalid_field", sentence, field="cursor")
    _, shown, question, digest = _FORM.unpack(body[:-4])
    if question != _question(index, query):
        sentence = "This cursor is of another search. Repeat that search word for word, or leave the cursor out."
        raise ReconveneError("invalid_field", sentence, field="cursor")
    return Position(shown, digest)


def _question(index: RootIndex, query: Query) -> bytes:
    return _digest((str(index.workspace.root), query.key))


def _digest(value: object) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=6).digest()
