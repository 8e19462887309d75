from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from real import Place

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))  # its server in this process


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()
