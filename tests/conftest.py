"""Shared by every test. This file also puts `tests/` on the import path, for `house` and `scripted`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

# The machine's own settings must not leak into a test, and no test may reach a provider.
for name in [n for n in os.environ if n.startswith("RECONVENE_") and n != "RECONVENE_TEST_DATABASE"]:
    del os.environ[name]
os.environ["RECONVENE_OFFLINE_DELAY_MS"] = "0"

# A busy machine is no failure.
hypothesis.settings.register_profile("reconvene", deadline=None)
hypothesis.settings.load_profile("reconvene")


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """A server that a test starts in this process configures the log; what it wrote to is closed when the test ends."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
