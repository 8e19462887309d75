"""Looks at the disk: what one found, and what is known of one that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconvene.workspace.listing import FileStat


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a look at the disk found.

    `changed`: paths whose content is not what it was, or that came or went. `parsed`: files analysed. `ms`: how long it took.
    `reused`: nothing had changed. `partial`: the code base has more than could be looked at (`Listing.truncated`). `paused`: the index
    is paused, so not everything was looked at.
    """

    epoch: int
    changed: frozenset[str]
    parsed: int
    ms: int
    reused: bool
    partial: bool
    paused: bool = False


@dataclass(slots=True)
class LookAtAll:
    """One that is under way. `overtaken`: paths that were looked at by themselves meanwhile, so that what it knows of them is older.
    `missed`: a path was asked for that it may not have seen."""

    stats: Mapping[str, FileStat]
    overtaken: set[str] = field(default_factory=set)
    missed: bool = False
