"""Real weights, a real server. Without the weights nothing here is collected: `make test-model` fetches them and says what is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
sys.path[:0] = [str(HERE), str(HERE / "tests" / "e2e")]

from bench.eval.local_model import LocalModel, why_not  # noqa: E402
from bench.eval.weights import CODER, SMALL, Unavailable, Weights  # noqa: E402

WANTED = os.environ.get("MODEL_TESTS") == "1"
collect_ignore = [] if WANTED else ["test_coder_model.py"]
if not WANTED and why_not(SMALL, download=False):
    collect_ignore.append("test_small_model.py")


def served(weights: Weights, folder: Path) -> LocalModel:
    """Fetched if need be; when that cannot be, the test says why."""
    if missing := why_not(weights, download=WANTED):
        pytest.fail(f"{weights.name} cannot run: {missing}", pytrace=False)
    try:
        return LocalModel(weights, log=folder / "model.log")
    except Unavailable as e:
        pytest.fail(str(e), pytrace=False)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    with served(SMALL, tmp_path_factory.mktemp("small")) as model:
        yield model


@pytest.fixture(scope="session")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    with served(CODER, tmp_path_factory.mktemp("coder")) as model:
        yield model
