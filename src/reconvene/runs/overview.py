"""What a run is told of the code base at its beginning: the session's overview, the same text for all lives of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconvene.agents.redact import redact
from reconvene.index import RootIndex
from reconvene.log.port import NewEvent, Row
from reconvene.protocol import events as ev
from reconvene.repomap.standing import Standing, standing
from reconvene.runs.journal import Journal
from reconvene.sessions.rows import event

OVERVIEW = "overview"
"""Private row: the overview that the session is told from this run on (`Standing`)."""


async def overview_of(journal: Journal, rows: Sequence[Row], index: RootIndex, chars_per_token: float) -> str:
    """The text; a new one is in the log before what the model makes of it, with the event that shows it.

    `rows`: the session's of type `OVERVIEW`.
    """
    kept = Standing.from_json(rows[-1].content) if rows else None
    key = f"map:{journal.run_id}"
    if kept is not None and key in journal.keys:
        return kept.text  # this run was told it before
    now, made = await standing(index, kept, chars_per_token=chars_per_token)
    shown = ev.RepoMap(
        files=index.files, symbols=index.symbols, tokens=now.tokens, fingerprint=now.fingerprint,
        built_ms=made.built_ms if made else 0, reused=made is None or made.reused, partial=index.partial or index.truncated,
    )  # fmt: skip
    told = [event(shown, run_id=journal.run_id, item_id=f"{journal.run_id}.map", key=key)]
    if now is not kept:
        now = replace(now, text=redact(now.text))  # the log keeps it for longer than the code may hold a secret
        told.insert(0, NewEvent(OVERVIEW, now.to_json(), journal.run_id, public=False))
    await journal.hold(told)
    return now.text
