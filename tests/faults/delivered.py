"""What a client was sent of a session over all its connections, and whether that is what the log has: no gap, no repeat, nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from reconvene.client.following import Lost
from reconvene.client.link import Advanced, Frame, Happening, Link, Replaced, new_id
from reconvene.log.port import Row
from reconvene.protocol.follower import Follower
from reconvene.protocol.view import View, reduce

FOLDED = ("text", "reasoning", "item_aborted", "run", "usage", "plan")
"""What a snapshot or a batch may leave out, when something later says all of it."""


class Delivered:
    """Give `happened` to a `Following` of `link`."""

    def __init__(self, name: str, *, root: str | None = None, session: str | None = None) -> None:
        config = {} if root is None else {"root_directory": root}
        self.link = Link(client={"id": new_id(), "name": name}, config=config, follower=Follower(session))
        self.name = name
        self.events: list[Frame] = []
        """In order, without what a snapshot repeats."""
        self.wrong: list[str] = []
        self.news = asyncio.Event()

    @property
    def view(self) -> View:
        return self.link.follower.view

    def happened(self, happening: Happening | Lost) -> None:
        if isinstance(happening, Replaced | Advanced):
            seen = self.events[-1]["seq"] if self.events else 0
            fresh = [e for e in happening.events if e["seq"] > seen]
            if isinstance(happening, Advanced) and len(fresh) != len(happening.events):
                self.wrong.append(f"{self.name} was sent again {[e['seq'] for e in happening.events]} after {seen}")
            self.events += fresh
            self.came(fresh)
        elif isinstance(happening, Lost) and "join" in happening.reason:
            self.wrong.append(f"{self.name} found a gap: {happening.reason}")
        self.news.set()

    def came(self, fresh: Sequence[Frame]) -> None:
        """For those who want to know of each event once."""

    def check(self, log: Sequence[Row]) -> None:
        """Raises AssertionError."""
        assert not self.wrong, self.wrong[0]
        check_events(self.name, self.events, log)
        if reduce(public(log)).to_json() != self.view.to_json():
            raise AssertionError(f"{self.name} shows something else than the log")


def public(log: Sequence[Row]) -> list[dict[str, Any]]:
    return [json.loads(row.wire()) for row in log if row.public]


def check_events(name: str, events: Sequence[Frame], log: Sequence[Row]) -> None:
    """Raises AssertionError."""
    there = {e["seq"]: e for e in public(log)}
    seqs = [e["seq"] for e in events]
    if seqs != sorted(set(seqs)):
        raise AssertionError(f"{name} was sent something twice or out of order: {seqs}")
    wanted = [e for e in there.values() if e["type"] not in FOLDED]
    if [e for e in events if e["type"] not in FOLDED] != wanted:
        missing = [e["seq"] for e in wanted if e not in events]
        raise AssertionError(f"{name} was not sent what the log has: {missing} is missing or other")
    if wrong := [e for e in events if e["seq"] not in there or e["type"] != there[e["seq"]]["type"]]:
        raise AssertionError(f"{name} was sent what is not in the log: {str(wrong)[:300]}")
