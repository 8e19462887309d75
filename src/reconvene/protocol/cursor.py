"""The cursor: an opaque string that names one prefix of one log.

It holds the log's epoch, the seq and the random tag of that row, so that a log that was rolled back, restored or
written anew is noticed instead of silently continued.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from reconvene.errors import ReconveneError

_SHAPE = re.compile(r"([A-Za-z0-9_-]{1,32})\.(\d{1,15})\.([0-9a-f]{8})")
START_TAG = "00000000"
"""The tag of the empty prefix."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """`seq` events of the log with this `epoch` are known; the last of them has this `tag` (8 hex digits)."""

    epoch: str
    seq: int
    tag: str = START_TAG

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.epoch}.{self.seq}.{self.tag}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: object) -> Cursor:
        """
        >>> Cursor.parse(str(Cursor("e1", 7, "0a0b0c0d")))
        Cursor(epoch='e1', seq=7, tag='0a0b0c0d')

        Raises:
            ReconveneError: `invalid_field`.
        """
        if isinstance(text, str) and len(text) <= 96 and text.isascii():
            try:
                plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
            except (binascii.Error, UnicodeDecodeError):
                plain = ""
            if m := _SHAPE.fullmatch(plain):
                return cls(m[1], int(m[2]), m[3])
        raise ReconveneError(
            "invalid_field",
            "config.cursor is not a cursor of this server. Leave it out to get everything.",
            path="config.cursor",
        )
