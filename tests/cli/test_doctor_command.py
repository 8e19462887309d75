"""`doctor`: what it finds on a fresh machine, beside a server, and without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine import Machine, lines
from reconvene.cli.doctor import chosen, model
from reconvene.config import Settings


def test_doctor_on_a_fresh_machine_and_beside_a_server(machine: Machine, served: Machine) -> None:
    fresh = machine.run("doctor")
    assert fresh.returncode == 0, fresh.stdout
    assert all(line[0] in "✓" for line in fresh.stdout.splitlines())
    assert not machine.data_dir.exists()
    findings = lines(served.run("doctor", "--json").stdout)
    assert all(f["ok"] for f in findings), findings
    assert {
        "machine",
        "python",
        "sqlite",
        "disk",
        "data folder",
        "owner token",
        "database",
        "model",
        "index",
        "port",
        "server",
    } <= {f["check"] for f in findings}


def test_doctor_says_which_key_is_missing_and_shows_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings.load({"data_dir": tmp_path}, {"RECONVENE_MODEL": "anthropic:claude-sonnet-5-5"})
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    without = model(settings)
    assert not without.ok
    assert "ANTHROPIC_API_KEY" in without.detail
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    assert model(settings).ok
    assert "secret" not in str(model(settings))
    assert [f.detail for f in chosen(settings)] == ["anthropic:claude-sonnet-5-5 (from RECONVENE_MODEL)"]
