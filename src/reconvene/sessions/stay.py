"""How long a session is kept, in the sweeper's own terms, said to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconvene.log.port import SessionRow

_DAY, _HOUR = 86400.0, 3600.0
Reason = Literal["pinned", "running", "waiting", "open", "idle", "archived"]


@dataclass(frozen=True, slots=True)
class Stay:
    """`left`: seconds of the server's uptime until it may be deleted; None while it stays for another reason."""

    reason: Reason
    left: float | None

    @property
    def sentence(self) -> str:
        match self.reason:
            case "pinned":
                return "Kept until you unpin it."
            case "running":
                return "Kept while it runs."
            case "waiting":
                return "Kept while it waits for you."
            case "open":
                return "Kept while it is open somewhere."
        when = f"in {_span(self.left)}" if self.left else "at the next cleanup"
        what = f"deleted {when}" if self.reason == "archived" else f"archived {when}, then deleted"
        return f"If nobody uses it, it is {what}. Only time in which the server runs counts."


def stay(session: SessionRow, *, now: float, retention: float, is_open: bool) -> Stay:
    """
    Args:
        now: total uptime, seconds.
        retention: the setting of that name.
        is_open: whether a client is connected to it.
    """
    if session.status != "idle":
        return Stay("waiting" if session.status == "waiting" else "running", None)
    if session.pinned:
        return Stay("pinned", None)
    if is_open:
        return Stay("open", None)
    left = max(0.0, retention - (now - session.last_active))
    return Stay("archived" if session.archived else "idle", left)


def _span(seconds: float) -> str:
    """
    >>> _span(86400 * 12.4), _span(5400), _span(30)
    ('12 days', '2 hours', 'less than an hour')
    """
    for unit, name in ((_DAY, "day"), (_HOUR, "hour")):
        if seconds >= unit:
            n = round(seconds / unit)
            return f"{n} {name}{'s' * (n != 1)}"
    return "less than an hour"
