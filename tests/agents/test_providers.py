"""The model and its keys, as set while the server runs: kept for the owner alone, never told again, never sent elsewhere by a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconvene.agents import models
from reconvene.agents.providers import Access, Providers
from reconvene.errors import ReconveneError


def test_nothing_set_means_the_settings(tmp_path: Path) -> None:
    providers = Providers(tmp_path, "offline")
    assert providers.model == "offline" and providers.access("openai") is None and providers.known() == {}


def test_what_is_set_holds_at_once_for_everybody_and_is_ours_alone(tmp_path: Path) -> None:
    one, other = Providers(tmp_path, "offline"), Providers(tmp_path, "offline")
    one.allow("openai", Access("sk-secret"))
    one.choose("openai:gpt-5")
    assert other.model == "openai:gpt-5" and other.access("openai-chat") == Access("sk-secret")
    assert (tmp_path / "providers.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["providers.json"]
    one.allow("openai", None)
    one.choose(None)
    assert other.model == "offline" and json.loads((tmp_path / "providers.json").read_text()) == {}


def test_a_key_is_in_no_text_of_it() -> None:
    assert "sk-secret" not in repr(Access("sk-secret")) and "sk-secret" not in str({"a": Access("sk-secret")})


@pytest.mark.parametrize(
    ("provider", "access", "local", "code"),
    [
        ("open ai", Access("k"), False, "invalid_field"),
        ("openai", Access("two words"), False, "invalid_field"),
        ("openai", Access("k\n"), False, "invalid_field"),
        ("openai", Access("é"), False, "invalid_field"),
        ("openai", Access(None, "localhost:11434"), False, "invalid_field"),
        ("openai", Access(None, "file:///etc/passwd"), False, "invalid_field"),
        ("openai", Access(None, "http://user:pw@host/v1"), False, "invalid_field"),
        ("openai", Access(None, "http://[::1/v1"), False, "invalid_field"),
        ("openai", Access(None, "https://elsewhere.example/v1"), True, "forbidden"),
        ("openai", Access(None, "http://127.0.0.1.elsewhere.example/v1"), True, "forbidden"),
        ("openai", Access(None, "http://localhost@elsewhere.example/v1"), True, "invalid_field"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_kept(
    tmp_path: Path, provider: str, access: Access, local: bool, code: str
) -> None:
    providers = Providers(tmp_path, "offline")
    with pytest.raises(ReconveneError) as e:
        providers.allow(provider, access, local_only=local)
    assert e.value.code == code and providers.known() == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"daily_cap": 5}',
        '{"daily_cap": {"usd": "5"}}',
        '{"fallback": "x"}',
        '{"access": []}',
        '{"access": {"openai": {"token": "x"}}}',
        '{"access": {"openai": "x"}}',
    ],
)
def test_a_broken_file_is_said_to_be_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / "providers.json").write_text(text)
    with pytest.raises(ReconveneError) as e:
        _ = Providers(tmp_path, "offline").model
    assert e.value.code == "data_dir_unusable" and (tmp_path / "providers.json").read_text() == text


def test_a_model_is_made_with_what_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    providers = Providers(tmp_path, "offline")
    with pytest.raises(ReconveneError):
        models.resolve("openai:gpt-5", providers)
    providers.allow("openai", Access("sk-1"))
    hosted = models.resolve("openai:gpt-5", providers)
    assert hosted.base_url == "https://api.openai.com/v1/" and type(hosted).__name__ == "OpenAIResponsesModel"
    providers.allow("openai", Access(None, "http://localhost:9/v1"))
    local = models.resolve("openai:own", providers)
    assert local.base_url == "http://localhost:9/v1/" and type(local).__name__ == "OpenAIChatModel"
    providers.allow("anthropic", Access("sk-2"))
    assert models.resolve("anthropic:claude-sonnet-4-5", providers).system == "anthropic"
