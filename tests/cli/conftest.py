"""Machines for the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import Machine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One server for all tests that leave it as it was."""
    machine = Machine(tmp_path_factory.mktemp("served"))
    machine.serve()
    machine.run("index")  # returns once every file was read
    yield machine
    machine.clean()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine where nothing runs yet."""
    machine = Machine(tmp_path)
    yield machine
    machine.clean()
