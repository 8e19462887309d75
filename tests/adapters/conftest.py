from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from real import Place

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))  # its server in this process
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))  # its provider


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for a file: a server costs two seconds of processor time to start."""
    made = Place(tmp_path_factory.mktemp("place"))
    yield made
    made.close()
