"""The list of sessions by pages. A cursor names the session that a page ended with, and when it was used."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow

MOST = 1000
"""Sessions of one page at most."""


def page_of(rows: Sequence[SessionRow], after: str | None, limit: int | None) -> tuple[list[SessionRow], str | None]:
    """A page of sessions, the one used last first, and the cursor of the next one; None: there is none.

    A session that is used between two pages moves before them: it is not shown twice, and a new first page has it.

    Args:
        limit: sessions of the page; None: all there are.

    Raises:
        ReconveneError: `invalid_field`: `after` is no cursor of this list.
    """
    ordered = sorted(rows, key=_place, reverse=True)
    if after:
        place = _parsed(after)
        ordered = [row for row in ordered if _place(row) < place]
    if limit is None or len(ordered) <= limit:
        return ordered, None
    last = ordered[limit - 1]
    text = json.dumps(_place(last), separators=(",", ":"))
    return ordered[:limit], base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(row: SessionRow) -> tuple[float, str]:
    return row.active_at, row.id


def _parsed(after: str) -> tuple[float, str]:
    try:
        at, id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except (ValueError, TypeError, binascii.Error):
        at, id = None, None
    if type(at) not in (int, float) or not isinstance(id, str):
        sentence = "after is no cursor of this list. Take it from `next` of the page before."
        raise ReconveneError("invalid_field", sentence, path="after")
    return at, id
