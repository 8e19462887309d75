"""Choosing the model over HTTP: with no restart, with no way to read a key, and a page can only name servers of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import serving

EMPTY = {"model": "offline", "fallback": None, "daily_cap": None, "spent_today": 0.0, "providers": []}


async def test_a_model_is_chosen_and_the_key_never_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with serving(tmp_path) as server:
        assert (await server.http("GET", "/api/model")).json == EMPTY
        without = await server.http("PATCH", "/api/model", {"model": "openai:gpt-5"})
        assert without.json["code"] == "model_unknown" and "key" in without.json["detail"]
        assert (await server.http("GET", "/api/me")).json["model"] == "offline"
        done = await server.http("PATCH", "/api/model", {"model": "openai:gpt-5", "key": "sk-secret-1"})
        assert done.status == 200 and done.json["providers"] == [{"provider": "openai", "key": True, "base_url": None}]
        for path in ("/api/model", "/api/me", "/metrics", "/healthz"):
            assert b"sk-secret-1" not in (await server.http("GET", path)).body
        assert (await server.http("GET", "/api/me")).json["model"] == "openai:gpt-5"
        gone = await server.http("PATCH", "/api/model", {"model": None, "provider": "openai", "forget": True})
        assert gone.json == EMPTY


async def test_the_daily_cap_and_the_fallback_are_set_and_taken_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        done = await server.http("PATCH", "/api/model", {"daily_cap": 5, "fallback": "offline"})
        assert done.json == EMPTY | {"daily_cap": 5.0, "fallback": "offline"}
        done = await server.http("PATCH", "/api/model", {"model": "offline"})  # what is not named stays
        assert done.json["daily_cap"] == 5.0 and done.json["fallback"] == "offline"
        done = await server.http("PATCH", "/api/model", {"daily_cap": None, "fallback": None})
        assert done.json == EMPTY


async def test_a_key_does_not_follow_to_another_address(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.http("PATCH", "/api/model", {"provider": "openai", "key": "sk-secret-1"})
        moved = await server.http("PATCH", "/api/model", {"provider": "openai", "base_url": "http://localhost:1/v1"})
        assert moved.json["providers"] == [{"provider": "openai", "key": False, "base_url": "http://localhost:1/v1"}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"key": "sk-1"}, "invalid_field"),
        ({"provider": "openai", "key": "two words"}, "invalid_field"),
        ({"provider": "openai", "base_url": "ftp://x"}, "invalid_field"),
        ({"model": "nonsense"}, "model_unknown"),
        ({"model": 5}, "invalid_field"),
        ({"model": "offline", "token": "x"}, "invalid_field"),
        ({"daily_cap": 0}, "invalid_field"),
        ({"daily_cap": -1.5}, "invalid_field"),
        ({"daily_cap": "5"}, "invalid_field"),
        ({"fallback": "nonsense"}, "model_unknown"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, body: dict[str, Any], code: str) -> None:
    async with serving(tmp_path) as server:
        refused = await server.http("PATCH", "/api/model", body)
        assert refused.json["code"] == code
        assert "two words" not in refused.body.decode()
        assert (await server.http("GET", "/api/model")).json == EMPTY


async def test_a_page_cannot_send_code_to_another_machine(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        body = {"model": "openai:x", "base_url": "https://elsewhere.example/v1", "key": "k"}
        credentials = server.services.credentials
        value, _ = await credentials.redeem(credentials.new_link("http://localhost").partition("?t=")[2].encode())
        page = {"Cookie": f"{credentials.cookie_name}={value}", "Origin": f"http://localhost:{server.port}"}
        refused = await server.http("PATCH", "/api/model", body, headers=page, bearer=False)
        assert refused.status == 403 and refused.json["code"] == "forbidden"
        local = await server.http(
            "PATCH", "/api/model", {**body, "base_url": "http://127.0.0.1:9/v1"}, headers=page, bearer=False
        )
        assert local.status == 200
        assert (await server.http("PATCH", "/api/model", body)).status == 200  # the owner's token may
