from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codebase import CodeBase
from reconvene.index.workers import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Shared by the tests: a process takes a while to start."""
    made = Workers(1)
    yield made
    made.close()


@pytest.fixture
def code(tmp_path: Path) -> CodeBase:
    return CodeBase(tmp_path)
