"""An index that went through anything answers as one that was built now, byte for byte. The long proof is in tests/faults."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from index_campaign import PROOF, Campaign
from proof import report
from reconvene.index.reader import Gathered
from reconvene.index.root import RootIndex
from reconvene.index.store import FileRecord
from reconvene.index.workers import Workers
from reconvene.workspace.listing import FileStat


async def test_sixty_random_steps_end_where_a_new_index_begins(tmp_path: Path, workers: Workers) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    campaign = Campaign(tmp_path, seed, workers)
    wrong = await campaign.run(60, compare=15, kills=2)
    assert not wrong, f"seed {seed}\n" + "\n".join(wrong)
    assert campaign.compared == 4 and campaign.deaths.total() == 2


def gone_stays(patch: pytest.MonkeyPatch) -> None:
    """The row of a deleted file is not removed."""

    def nothing(self: Gathered, path: str, before: FileRecord) -> None:
        return None

    patch.setattr(Gathered, "remove", nothing)


def believes_the_time(patch: pytest.MonkeyPatch) -> None:
    """A file of the same size and time is the same file."""

    def only_stat(self: RootIndex, path: str, stat: FileStat) -> bool:
        record = self._records.get(path)
        return record is None or (record.mtime_ns, record.size) != (stat.mtime_ns, stat.size)

    patch.setattr(RootIndex, "_must_read", only_stat)


def history_is_kept(patch: pytest.MonkeyPatch) -> None:
    """What was read of the commits stays when others are checked out."""
    take = RootIndex.take_in_history

    async def once(self: RootIndex) -> bool:
        return False if self.view.history.mark else await take(self)

    patch.setattr(RootIndex, "take_in_history", once)


@pytest.mark.parametrize("mutation", [gone_stays, believes_the_time, history_is_kept])
async def test_control_a_broken_way_is_noticed(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch, mutation: Callable[[pytest.MonkeyPatch], None]
) -> None:
    campaign = Campaign(tmp_path, 13, workers)
    with monkeypatch.context() as patched:
        mutation(patched)
        assert await campaign.run(120, compare=20, kills=0)
    told = f"{mutation.__name__}: noticed in comparison {campaign.compared} of one each 20 steps"
    report(PROOF, control=told, seed=13)
