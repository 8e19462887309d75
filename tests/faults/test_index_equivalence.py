"""The long proof that an index stays true: hundreds of random steps, some of them killed in the middle of taking them in."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from index_campaign import PLACES, PROOF, Campaign
from proof import report
from reconvene.index.workers import Workers

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = int(os.environ.get("STEPS", "500"))


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_five_hundred_random_steps_end_where_a_new_index_begins(tmp_path: Path, workers: Workers) -> None:
    print(f"\nseed {SEED}, {STEPS} steps")
    began, cpu = time.monotonic(), time.process_time()
    campaign = Campaign(tmp_path, SEED, workers)
    wrong = await campaign.run(STEPS, compare=5, kills=STEPS // 12)
    print(f"{campaign.compared} comparisons; {dict(campaign.done)}; killed: {dict(campaign.deaths)}")
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong)
    assert campaign.compared == STEPS // 5
    assert STEPS < 500 or set(PLACES) <= campaign.deaths.keys(), "it died at every place"
    figure = (
        "{steps:,} random steps (edits, renames, links, moved folders, branches, undone commits), {killed:,} times killed in the middle of "
        "taking them in; {compared:,} comparisons of all files, definitions, 14 searches and 4 maps with an index built anew: 0 differences"
    )
    counts = {
        "steps": STEPS,
        "killed": campaign.deaths.total() - campaign.deaths["too late"],
        "compared": campaign.compared,
    }
    spent = time.process_time() - cpu
    report(PROOF, figure, counts=counts, seed=SEED, seconds=time.monotonic() - began, cpu=spent)
