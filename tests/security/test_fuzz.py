"""Whatever bytes come in, what reads them refuses in its own words or gives what holds: frames, cursors, a model's edits, diffs.

The short tests mutate known inputs, with the seed printed. The long ones fuzz by coverage (atheris), `FUZZ_SECONDS` each or until
`FUZZ_INPUTS` were tried.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from pathlib import Path

import fuzz_targets
import pytest
from fuzz_targets import MUTATIONS, SEEDS, TARGETS, mutated

from proof import report

TREE = Path(__file__).parents[2]
PROOF = TREE / "build" / "proof" / "bin" / "python"
"""The environment that `make security` makes: atheris is in it."""
SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))
INPUTS = int(os.environ.get("FUZZ_INPUTS", "10000000"))
TITLE = {
    "frames": "frames",
    "cursors": "cursors",
    "edits": "a model's edits carried out",
    "diffs": "diffs and their hunks",
}


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_refusals_comes_out_of_mutated_inputs(target: str) -> None:
    seed = int(os.environ.get("SEED", "4711"))
    print(f"seed {seed}")
    rng = random.Random(seed)
    for data in [*SEEDS[target], *(mutated(target, rng) for _ in range(2000))]:
        TARGETS[target](data)


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m != "lone_surrogates_pass"])
def test_what_is_broken_is_noticed_in_mutated_inputs(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, broken = MUTATIONS[mutation]
    for module, name in (
        (fuzz_targets.change, "changes"),
        (fuzz_targets.edit_blocks, "_places"),
        (fuzz_targets.cursor_module, "_SHAPE"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end
    broken()
    rng = random.Random(1)
    for n in range(5000):
        try:
            TARGETS[target](mutated(target, rng))
        except Exception as e:
            print(f"noticed after {n}: {e!r}")
            return
    pytest.fail("nothing was noticed")


def fuzzed(folder: Path, target: str, seconds: int, seed: int, *mutation: str) -> tuple[int, int, str]:
    """libFuzzer's code, how many inputs were tried, and the end of what was said."""
    assert PROOF.exists(), "make security installs what this needs"
    program = [str(PROOF), "fuzz.py", target, str(seconds), str(INPUTS), str(seed), str(folder), *mutation]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"PYTHONPATH": str(TREE / "src")}
    done = subprocess.run(program, cwd=Path(__file__).parent, env=environ, capture_output=True, text=True, check=False)
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    return done.returncode, int(tried[1]) if tried else 0, done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_fuzzed_by_coverage(tmp_path: Path, target: str) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"\nseed {seed}")
    began = time.monotonic()
    code, tried, said = fuzzed(tmp_path, target, SECONDS, seed)
    assert code == 0, said
    assert tried > 1000 * min(SECONDS, 60) / 10, said
    report(
        f"Fuzz: {TITLE[target]}",
        "{inputs:,} inputs, steered by coverage: 0 uncaught, and what is taken holds",
        counts={"inputs": tried},
        seed=seed,
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_what_is_broken_is_noticed_by_fuzzing(tmp_path: Path, mutation: str) -> None:
    target = MUTATIONS[mutation][0]
    code, _, said = fuzzed(tmp_path, target, 300, 1, mutation)
    assert code == 77, said  # libFuzzer's, for what it found
    report(f"Fuzz: {TITLE[target]}", control=f"{mutation}: noticed")
