"""Two nodes are upgraded one after the other while people work at both: nothing is lost, and nobody waits for long; see `rolling`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest
from rolling import CLIENTS, Tally

from proof import report

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
PROOF = "Nodes: a rolling upgrade of both"


async def upgraded(**job: object) -> Tally:
    print(f"\nseed {SEED} {job}")
    program = [sys.executable, str(Path(__file__).with_name("rolling.py")), json.dumps({"seed": SEED, **job})]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = await process.stdout.read()
    assert await process.wait() == 0, "the upgrade itself broke; its output is above"
    return Tally(**json.loads(told))


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_an_upgrade_of_both_nodes_under_load_loses_nothing():
    rounds, takeover, began = int(os.environ.get("ROUNDS", "10")), 60.0, time.monotonic()
    tally = await upgraded(rounds=rounds, takeover=takeover)
    assert tally.violations == [] and tally.restarts == 2 * rounds
    assert len(tally.pauses) == CLIENTS and tally.prompts > CLIENTS
    # A run that was not given back at once would wait for the silence after which a node is taken for dead.
    assert max(tally.pauses) < 0.3 * takeover
    each = ", ".join(f"{pause:.1f}" for pause in sorted(tally.pauses))
    figure = (
        "{restarts:,} stops and starts of two nodes in turn under {clients:,} people who ask and {clients:,} who read along, "
        f"{{prompts:,}} prompts acknowledged: 0 lost, doubled or stuck; longest pause of each: {each} s (with both nodes left alone "
        f"at most {max(tally.before):.1f} s); a node stops in {max(tally.stops):.1f} s at most"
    )
    counts = {"restarts": tally.restarts, "clients": CLIENTS, "prompts": tally.prompts}
    report(PROOF, figure, counts=counts, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_control_a_node_that_keeps_its_runs_when_it_stops_is_noticed():
    takeover, began = 30.0, time.monotonic()
    tally = await upgraded(rounds=1, takeover=takeover, mutation="keeps_its_runs")
    assert max(tally.pauses) >= 0.5 * takeover
    control = f"runs not given back by the node that stops: a pause of {max(tally.pauses):.0f} s"
    report(PROOF, control=control, seconds=time.monotonic() - began)
