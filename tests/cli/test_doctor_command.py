"""`doctor`: what it finds on a fresh machine, beside a server, and without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine import Machine, lines
from reconvene.agents.providers import Access, Providers
from reconvene.agents.spending import Spending
from reconvene.cli.doctor import chosen
from reconvene.cli.doctor_model import daily_cap, fallback, model
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
        "fallback",
        "daily cap",
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


def test_doctor_looks_at_the_model_that_was_chosen_and_at_the_one_that_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.load({"data_dir": tmp_path}, {})
    assert model(settings).detail.startswith("offline") and fallback(settings).detail.startswith("none")
    providers = Providers.of(settings)
    providers.allow("anthropic", Access("sk-of-anthropic", None))
    providers.choose("anthropic:claude-sonnet-4-5")
    providers.choose_fallback("openai:gpt-5")
    assert model(settings).ok and "reconvene model" in model(settings).detail
    without = fallback(settings)
    assert not without.ok and "OPENAI_API_KEY" in without.detail and without.fix
    providers.allow("openai", Access("sk-of-openai", None))
    assert fallback(settings).ok and "sk-of" not in f"{fallback(settings)} {model(settings)}"
    providers.choose_fallback("anthropic:claude-sonnet-4-5")
    assert not fallback(settings).ok and "itself" in fallback(settings).detail


def test_doctor_tells_the_cap_what_was_spent_and_what_is_not_counted(tmp_path: Path) -> None:
    settings = Settings.load({"data_dir": tmp_path}, {})
    assert daily_cap(settings).ok and "none" in daily_cap(settings).detail
    providers = Providers.of(settings)
    providers.cap(5.0)
    providers.choose("openai:gpt-5")
    Spending(tmp_path).note("s/r1", 1.5)
    assert daily_cap(settings).ok and daily_cap(settings).detail == "$1.50 of $5.00 today"
    Spending(tmp_path).note("s/r2", 4.0)
    reached = daily_cap(settings)
    assert not reached.ok and "midnight" in reached.detail and "--daily-cap 10" in (reached.fix or "")
    providers.choose_fallback("openai-chat:nobody-knows-its-price")
    assert "nobody-knows-its-price counts nothing" in daily_cap(settings).detail
