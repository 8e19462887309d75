"""What other people's libraries cost is paid when their first client comes: not at the server's start, and never in the bridges."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("acp", "mcp", "ag_ui", "pydantic_ai", "fastapi")


def imported(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_the_server_serves_without_them() -> None:
    found = imported(
        "from reconvene.server.lifecycle import Server\nfrom reconvene.adapters import endpoints\nendpoints(None)"
    )
    assert not found


@pytest.mark.parametrize("bridge", ["acp", "mcp"])
def test_a_bridge_imports_none_of_them(bridge: str) -> None:
    assert not imported(f"from reconvene.cli.main import app\nimport reconvene.cli.{bridge}")


def test_mutation_an_import_would_be_seen() -> None:
    assert imported("import acp") >= {"acp"}
