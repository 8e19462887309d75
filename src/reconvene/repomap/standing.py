"""The overview that a session is told, and goes on being told: a text that stays the same can stay in a provider's cache.

It is made at a session's first run, and again only when more than 2 % of the files changed since.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Any

from reconvene.index.root import RootIndex
from reconvene.repomap.map import RepoMap, repo_map

TOKENS = 800
SHARE = 0.02
"""Of the files that may change before the overview is made again."""
RECIPE = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """An overview as a session's log keeps it. `files`: of the code base when it was made, at `epoch`; `whole`: all of them were read."""

    text: str
    tokens: int
    fingerprint: str
    files: int
    epoch: int
    whole: bool

    def to_json(self) -> str:
        return json.dumps({"recipe": RECIPE, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Standing | None:
        """None for what another version wrote."""
        try:
            value: dict[str, Any] = json.loads(text)
            return cls(**value) if value.pop("recipe", None) == RECIPE else None
        except (ValueError, TypeError, AttributeError):
            return None


async def standing(
    index: RootIndex, kept: Standing | None, *, chars_per_token: float
) -> tuple[Standing, RepoMap | None]:
    """The overview to tell now: the one that is kept, as long as it is near enough to the truth, else a new one.

    Returns:
        It, and the map it was made of if it is new.
    """
    if kept is not None and await _near(index, kept):
        return kept, None
    epoch, whole = index.epoch, not index.partial
    made = await repo_map(index, tokens=TOKENS, chars_per_token=chars_per_token)
    return Standing(made.text, made.tokens, made.fingerprint, made.files, epoch, whole), made


async def _near(index: RootIndex, kept: Standing) -> bool:
    if not kept.whole:
        return False
    changed = await asyncio.to_thread(index.changed_since, kept.epoch)
    return changed is not None and len(changed) <= SHARE * max(kept.files, index.files)
