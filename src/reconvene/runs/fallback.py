"""The model that takes over when the first one is overloaded, down or out of quota: for the rest of the run, shown as a step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.runs.journal import ONCE, Journal
from reconvene.sessions.rows import event, private
from reconvene.sessions.state import SessionState

_CODES = frozenset({"provider_unavailable", "provider_rate_limited"})
COOL = 300.0
"""Seconds for which a model that failed is not asked first again."""


@dataclass
class Failing:
    """Models that failed a short while ago, in this process: the next runs need not find out for themselves."""

    _since: dict[str, tuple[float, ReconveneError]] = field(default_factory=dict)

    def note(self, model: str, why: ReconveneError) -> None:
        self._since[model] = (time.monotonic(), why)

    def why(self, model: str) -> ReconveneError | None:
        """What was wrong with it; None: nothing is known against it (any more)."""
        since, why = self._since.get(model, (0.0, None))
        if why is None or time.monotonic() - since > COOL:
            self._since.pop(model, None)
            return None
        return why


def fails_over(e: ReconveneError) -> bool:
    """Whether another model may help. A key that is refused is for the person to mend."""
    return e.code in _CODES or bool(e.details.get("quota"))


def taken_over(journal: Journal, state: SessionState) -> str | None:
    """The model that took over in this run. When a person says `retry`, the first one is tried once more."""
    model = journal.once.get(_key(journal, state))
    return str(model) if model else None


async def takes_over(journal: Journal, why: ReconveneError, other: str, failing: Failing | None) -> str:
    """Write down, and show, that `other` takes over. Returns the reason for the next attempt.

    Args:
        failing: where the model that failed is noted; None: it is known already.
    """
    state = await journal.sessions.state(journal.session_id)
    first = journal.model or "the model"
    if failing is not None:
        failing.note(first, why)
    key = _key(journal, state)
    item = f"{journal.run_id}.{key}"
    said = f"{why.message} Going on with {other}."
    call = ev.ToolCall(id=item, name="fallback", args={"from": first, "to": other})
    rows = [
        *journal.struck(),
        event(call, run_id=journal.run_id, item_id=item, key=f"call:{item}"),
        event(ev.ToolResult(id=item, summary=said), run_id=journal.run_id, item_id=item, key=f"result:{item}"),
        private(
            ONCE,
            {"key": key, "value": other},
            run_id=journal.run_id,
            key=f"once:{journal.run_id}:{key}",
            stateful=False,
        ),
    ]
    await journal.write(rows)
    journal.once[key] = other
    return f"{first} failed; {other} goes on."


def _key(journal: Journal, state: SessionState) -> str:
    retried = sum(state.settled.get(q, (None,))[0] == "retry" for q in journal.questions("pause"))
    return f"fallback-{retried}"
