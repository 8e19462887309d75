"""Signing in with an account of a provider: the whole way against a provider on loopback, and everything that may be wrong with it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from serving import Answer, Serving, serving

from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.server.oidc import BACK, Oidc

KEY, OTHER_KEY = ECKey.generate_key("P-256", {"kid": "1"}), ECKey.generate_key("P-256", {"kid": "1"})
SECRET = "s3cret of the provider"


class Provider:
    """OpenID Connect's three documents and one endpoint; `claims`, `key` and `alg` are what it says next."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.without: tuple[str, ...] = ()
        self.key, self.alg = KEY, "ES256"
        self.asked: dict[str, str] = {}
        self.status = 200
        self.issuer = ""
        self.named: str | None = None
        self.calls: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if ": " in line)
            body = (await reader.readexactly(int(lines.get("content-length", 0)))).decode()
            status, answer = self.answer(head.split()[1], dict(parse_qsl(body)), lines)
            data = json.dumps(answer).encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data
            )
            await writer.drain()
        writer.close()

    def answer(self, path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        self.calls.append(path)
        if path == "/.well-known/openid-configuration":
            return self.status, {
                "issuer": self.named or self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            return 200, {"keys": [KEY.as_dict(private=False)]}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        basic = base64.b64encode(("rv:" + SECRET.replace(" ", "+")).encode()).decode().lower()
        if (
            form["code"] != "the-code"
            or challenge.decode() != self.asked["code_challenge"]
            or basic not in headers["authorization"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": "42", "aud": "rv", "exp": now + 300, "iat": now, "nonce": self.asked["nonce"],
            "email": "Ann@Example.com", "email_verified": True, "name": "Ann Example",
        }  # fmt: skip
        claims = {k: v for k, v in {**claims, **self.claims}.items() if k not in self.without}
        if self.alg == "none":
            parts = ({"alg": "none"}, claims)
            token = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."
        else:
            token = jwt.encode({"alg": self.alg, "kid": "1"}, claims, self.key)
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


@contextlib.asynccontextmanager
async def provided(
    tmp_path: Path, allow: tuple[str, ...] = ("@example.com",)
) -> AsyncIterator[tuple[Serving, Provider]]:
    provider = Provider()
    listening = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.issuer = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    settings = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "rv",
        "oidc_client_secret": SECRET,
        "oidc_allow": allow,
    }
    async with listening, serving(tmp_path, **settings) as server:
        yield server, provider


async def gone(server: Serving, provider: Provider) -> tuple[str, str]:
    """To the provider: (state, cookie)."""
    answer = await server.http("GET", "/sign-in/oidc", headers={"Accept": "text/html"}, bearer=False)
    assert answer.status == 303, answer.body
    to = urlsplit(answer.header("location") or "")
    provider.asked = dict(parse_qsl(to.query))
    assert to.path == "/authorize" and provider.asked["code_challenge_method"] == "S256"
    assert provider.asked["redirect_uri"] == f"http://localhost:{server.port}{BACK}"
    set_cookie = answer.header("set-cookie") or ""
    assert "HttpOnly" in set_cookie and "SameSite=Lax" in set_cookie and f"Path={BACK}" in set_cookie
    return provider.asked["state"], set_cookie.partition(";")[0]


async def back(server: Serving, query: str, cookie: str | None) -> Answer:
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", **({"Cookie": cookie} if cookie else {})}
    return await server.http("GET", f"{BACK}?{query}", headers=headers, bearer=False)


async def signed_in(server: Serving, provider: Provider) -> Answer:
    state, cookie = await gone(server, provider)
    return await back(server, f"code=the-code&state={state}", cookie)


def cookies_of(answer: Answer) -> str:
    return "; ".join(v.partition(";")[0] for k, v in answer.headers if k == "set-cookie" and "Max-Age=0" not in v)


async def test_who_the_provider_knows_has_sessions_of_their_own(tmp_path: Path) -> None:
    async with provided(tmp_path) as (server, provider):
        page = await server.http("GET", "/", headers={"Accept": "text/html"}, bearer=False)
        assert page.status == 401 and b'href="/sign-in"' in page.body
        form = await server.http("GET", "/sign-in", headers={"Accept": "text/html"}, bearer=False)
        assert b'href="/sign-in/oidc"' in form.body
        answer = await signed_in(server, provider)
        assert answer.status == 200 and b"url=/" in answer.body, (
            "goes on from a page of ours, so that a strict cookie comes along"
        )
        cookie = {"Cookie": cookies_of(answer)}
        me = (await server.http("GET", "/api/me", headers=cookie, bearer=False)).json
        assert (me["name"], me["role"]) == ("Ann Example", "user")
        again = (
            await server.http(
                "GET", "/api/me", headers={"Cookie": cookies_of(await signed_in(server, provider))}, bearer=False
            )
        ).json
        assert again["owner"] == me["owner"], "the same account is the same person"
        users = (await server.http("GET", "/api/users")).json["users"]
        assert [(u["name"], u["account"]) for u in users] == [("Ann Example", provider.issuer)]
        assert SECRET.encode() not in (await server.http("GET", "/api/audit")).body


@pytest.mark.parametrize(
    ("claims", "without"),
    [
        pytest.param({"nonce": "other"}, (), id="nonce"),
        pytest.param({"aud": "somebody-else"}, (), id="audience"),
        pytest.param({"iss": "https://elsewhere"}, (), id="issuer"),
        pytest.param({"exp": 1}, (), id="expired"),
        pytest.param({"azp": "somebody-else"}, (), id="party"),
        pytest.param({}, ("nonce",), id="no-nonce"),
        pytest.param({}, ("sub",), id="no-subject"),
        pytest.param({}, ("exp",), id="no-end"),
    ],
)
async def test_what_cannot_be_believed_lets_nobody_in(
    tmp_path: Path, claims: dict[str, Any], without: tuple[str, ...]
) -> None:
    async with provided(tmp_path) as (server, provider):
        provider.claims, provider.without = claims, without
        answer = await signed_in(server, provider)
        assert answer.status == 401 and not cookies_of(answer), answer.body
        assert (await server.http("GET", "/api/users")).json["users"] == []


async def test_signatures_ways_back_and_accounts_that_do_not_fit(tmp_path: Path) -> None:
    async with provided(tmp_path, ("ann@example.com", "@other.org")) as (server, provider):
        provider.key = OTHER_KEY
        assert (await signed_in(server, provider)).status == 401, "signed by somebody else"
        provider.key, provider.alg = KEY, "none"
        assert (await signed_in(server, provider)).status == 401, "signed by nobody"
        provider.alg = "ES256"
        for claims in (
            {"email": "eve@example.com"},
            {"email": "x@evil-other.org.test"},
            {"email_verified": False},
            {"email": 5},
        ):
            provider.claims = claims
            assert (await signed_in(server, provider)).status == 403, claims
        provider.claims = {"email": "Bob@Other.org", "sub": "43"}
        assert (await signed_in(server, provider)).status == 200
        state, cookie = await gone(server, provider)
        for query, brought in (
            (f"code=the-code&state={state}", None),
            ("code=the-code&state=other", cookie),
            ("code=the-code", cookie),
            (f"code=wrong&state={state}", cookie),
            (f"error=access_denied&error_description=no&state={state}", cookie),
            (f"code=the-code&state={state}", cookie.partition("=")[0] + "=.."),
            ("state=", cookie.partition("=")[0] + "="),
        ):
            answer = await back(server, query, brought)
            assert answer.status == 401 and not cookies_of(answer), query


async def test_a_provider_that_fails_is_said_so_and_the_token_still_works(tmp_path: Path) -> None:
    async with provided(tmp_path) as (server, provider):
        page = {"Accept": "text/html"}
        provider.status = 500
        assert (await server.http("GET", "/sign-in/oidc", headers=page, bearer=False)).status == 502
        provider.status, provider.named = 200, "https://elsewhere"
        assert (await server.http("GET", "/sign-in/oidc", headers=page, bearer=False)).status == 502
        assert (await server.http("GET", "/api/me")).status == 200
    async with serving(tmp_path) as server:
        assert (await server.http("GET", "/sign-in/oidc", bearer=False)).status == 404


async def test_a_disabled_account_stays_outside(tmp_path: Path) -> None:
    async with provided(tmp_path) as (server, provider):
        cookie = {"Cookie": cookies_of(await signed_in(server, provider))}
        await server.http("PATCH", "/api/users/Ann%20Example", {"disabled": True})
        assert (await server.http("GET", "/api/me", headers=cookie, bearer=False)).status == 401
        assert (await signed_in(server, provider)).status == 403


@pytest.mark.parametrize(
    "given",
    [
        {"oidc_issuer": "http://provider.example", "oidc_client_id": "a", "oidc_allow": ("*",)},
        {"oidc_issuer": "https://provider.example", "oidc_allow": ("*",)},
        {"oidc_issuer": "https://provider.example", "oidc_client_id": "a"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused_at_the_start(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ReconveneError) as refused:
        Oidc.of(Settings(data_dir=tmp_path, **given), "http://localhost:8000")
    assert refused.value.code == "invalid_field" and "oidc_" in refused.value.message


def test_the_secret_is_not_shown(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, oidc_client_secret=SECRET)  # type: ignore[arg-type]
    assert SECRET not in repr(settings) and SECRET not in str(settings.model_dump())


async def test_control_without_the_nonce_a_stolen_answer_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from authlib.oidc.core import CodeIDToken

    validate = CodeIDToken.validate

    def forgetful(self: Any, now: int | None = None, leeway: int = 0) -> None:
        self.options.pop("nonce")
        self.params.pop("nonce")
        validate(self, now, leeway)

    monkeypatch.setattr(CodeIDToken, "validate", forgetful)
    with pytest.raises(AssertionError):
        await test_what_cannot_be_believed_lets_nobody_in(tmp_path, {"nonce": "other"}, ())
