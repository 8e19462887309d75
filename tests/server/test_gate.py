"""Who may come in: the gate alone, on raw scopes, and every route of a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.server.app import App
from reconvene.server.asgi import Message, Receive, Scope, Send
from reconvene.server.capacity import Capacity
from reconvene.server.gate import OPEN_PATHS, Addresses, Gate, Principal
from reconvene.server.metrics import Metrics

TOKEN = b"a-token-of-forty-three-characters-0123456789"
COOKIE = b"reconvene_x=cookie"


class _Authenticator:
    several = False

    async def look_again(self) -> bool:
        return False

    def by_bearer(self, token: bytes) -> Principal | None:
        return Principal("owner", "bearer") if token == TOKEN else None

    def by_cookies(self, cookie_headers: list[bytes]) -> Principal | None:
        return Principal("owner", "cookie", "n") if COOKIE in cookie_headers else None


class Knock:
    """A gate with nothing behind it but a bell."""

    def __init__(self, kind: type[Gate] = Gate, limits: Limits | None = None, **addresses: Any) -> None:
        self.rang = 0
        self.now = 0.0
        limits = limits or Limits()
        self.gate = kind(
            self._app,
            addresses=Addresses.of(8000, **addresses),
            authenticator=_Authenticator(),
            capacity=Capacity(limits, lambda: self.now),
            limits=limits,
            metrics=Metrics(),
        )
        self.held: list[asyncio.Event] = []

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.rang += 1
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            if self.held:
                await self.held[0].wait()
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def __call__(
        self, *headers: tuple[bytes, bytes], kind: str = "http", method: str = "GET", path: str = "/", body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        """The status (101: the upgrade was let through) and headers."""
        scope: Scope = {"type": kind, "path": path, "headers": list(headers), "query_string": b"", "scheme": "http"}
        scope |= {"method": method} if kind == "http" else {"extensions": {"websocket.http.response": {}}}
        sent: list[Message] = []
        queue = [{"type": "websocket.connect"}] if kind == "websocket" else [{"type": "http.request", "body": body}]

        async def receive() -> Message:
            return queue.pop(0) if queue else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.gate(scope, receive, send)
        first = sent[0]
        if first["type"] == "websocket.accept":
            return 101, {}
        names = {name.decode(): value.decode() for name, value in first["headers"]}
        return first["status"], names


HOST = (b"host", b"localhost:8000")
BEARER = (b"authorization", b"Bearer " + TOKEN)
SIGNED_IN = (b"cookie", COOKIE)
OWN = (b"origin", b"http://localhost:8000")


def origin(value: bytes) -> tuple[bytes, bytes]:
    return (b"origin", value)


HOSTILE = [
    pytest.param([origin(b"http://evil.test")], 403, id="bad1-foreign-origin"),
    pytest.param([origin(b"http://localhost:9000")], 403, id="bad2-other-port"),
    pytest.param([origin(b"null")], 403, id="bad3-null-origin"),
    pytest.param([origin(b"https://localhost:8000")], 403, id="bad4-other-scheme"),
    pytest.param([origin(b"http://localhost:8000.evil.test")], 403, id="bad1-suffix"),
    pytest.param([origin(b"http://evil.test"), OWN], 403, id="bad1-two-origins"),
    pytest.param([origin(b"http://localhost:8000/")], 403, id="bad1-slash"),
    pytest.param([origin(b"HTTP://LOCALHOST:8000")], 403, id="bad1-case"),
    pytest.param([origin(b"\xff\xfe")], 403, id="bad1-no-ascii"),
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("headers", "status"), HOSTILE)
async def test_a_foreign_origin_stays_outside(kind: str, headers: list[tuple[bytes, bytes]], status: int) -> None:
    for credential in (BEARER, SIGNED_IN):
        knock = Knock()
        assert (await knock(HOST, credential, *headers, kind=kind, path="/ws"))[0] == status
        assert knock.rang == 0
        assert knock.gate.metrics.bad_inputs["forbidden_origin"] == 1


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        pytest.param([b"evil.test:8000"], 421, id="bad11-rebinding"),
        pytest.param([b"localhost:8000", b"evil.test"], 400, id="bad12-two-hosts"),
        pytest.param([b"localhost:8000", b"localhost:8000"], 400, id="bad12-same-host-twice"),
        pytest.param([], 400, id="bad12-no-host"),
        pytest.param([b"localhost/x?"], 421, id="bad13-badhost"),
        pytest.param([b"localhost:8000/x?"], 421, id="bad13-badhost-port"),
        pytest.param([b"localhost"], 421, id="bad11-without-port"),
        pytest.param([b"localhost:8001"], 421, id="bad11-other-port"),
        pytest.param([b"0.0.0.0:8000"], 421, id="bad11-any-address"),
        pytest.param([b"localhost.:8000"], 421, id="bad11-trailing-dot"),
        pytest.param([b"\xe9:8000"], 421, id="bad11-no-ascii"),
    ],
)
async def test_a_foreign_host_stays_outside(kind: str, hosts: list[bytes], status: int) -> None:
    knock = Knock()
    assert (await knock(*[(b"host", h) for h in hosts], BEARER, kind=kind, path="/ws"))[0] == status
    assert knock.rang == 0


@pytest.mark.parametrize("host", [b"localhost:8000", b"LocalHost:8000", b"127.0.0.1:8000", b"[::1]:8000"])
async def test_our_own_names_pass(host: bytes) -> None:
    assert (await Knock()((b"host", host), BEARER))[0] == 200
    assert (await Knock()((b"host", host), BEARER, kind="websocket", path="/ws"))[0] == 101


async def test_a_public_url_adds_one_host_and_one_origin() -> None:
    for url, host, good in (
        ("https://box.example", b"box.example", b"https://box.example"),
        ("http://box.example:9000/", b"box.example:9000", b"http://box.example:9000"),
    ):
        knock = Knock(public_url=url)
        assert (await knock((b"host", host), BEARER, origin(good)))[0] == 200
        assert (await knock((b"host", host), BEARER, origin(b"http://box.example")))[0] == 403
        assert (await knock((b"host", b"other.example"), BEARER))[0] == 421
    knock = Knock(allowed_origins=("http://localhost:5173",))
    assert (await knock(HOST, BEARER, origin(b"http://localhost:5173"), kind="websocket"))[0] == 101
    assert (await knock((b"host", b"localhost:5173"), BEARER))[0] == 421


@pytest.mark.parametrize(
    "url",
    [
        "box.example",
        "ftp://box.example",
        "https://box.example/path",
        "https://u:p@box.example",
        "https://",
        "https://a b",
        "http://x:99999",
    ],
)
def test_a_public_url_is_checked(url: str) -> None:
    with pytest.raises(ReconveneError) as refused:
        Addresses.of(8000, public_url=url)
    assert refused.value.code == "invalid_field"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="bad5-nothing"),
        pytest.param([OWN], id="bad7-right-origin-no-cookie"),
        pytest.param([(b"cookie", b"reconvene_x=expired")], id="bad8-unknown-cookie"),
        pytest.param([(b"authorization", b"Bearer " + TOKEN[:-1] + b"!")], id="bad10-one-off"),
        pytest.param([(b"authorization", b"Bearer ")], id="bad10-empty"),
        pytest.param([(b"authorization", b"Bearer")], id="bad10-no-token"),
        pytest.param([(b"authorization", b"Bearer " + b"x" * 1_000_000)], id="bad10-1MB"),
        pytest.param([(b"authorization", b"Bearer \xc3\xa9\xff")], id="bad10-no-ascii"),
        pytest.param([(b"authorization", b"Bearer wrong"), SIGNED_IN], id="bad10-wrong-bearer-beside-cookie"),
        pytest.param([BEARER, BEARER], id="bad10-two-bearers"),
        pytest.param([(b"authorization", b"Basic " + TOKEN)], id="bad10-other-scheme"),
    ],
)
async def test_without_a_credential_401(kind: str, headers: list[tuple[bytes, bytes]]) -> None:
    knock = Knock()
    status, names = await knock(HOST, *headers, kind=kind, path="/ws")
    assert (status, knock.rang) == (401, 0)
    assert names["www-authenticate"].startswith("Bearer")


async def test_bad6_a_bearer_needs_no_origin() -> None:
    assert (await Knock()(HOST, BEARER, kind="websocket"))[0] == 101
    assert (await Knock()(HOST, BEARER, method="POST"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param([(b"sec-fetch-site", b"cross-site")], 403, id="bad19-cross-site-form"),
        pytest.param([(b"sec-fetch-site", b"same-site")], 403, id="bad19-other-port"),
        pytest.param([(b"sec-fetch-site", b"same-site"), OWN], 403, id="bad19-own-origin-but-same-site"),
        pytest.param([], 403, id="bad19-silent"),
        pytest.param([OWN], 200, id="own-page-of-a-plain-http-name"),
        pytest.param([(b"sec-fetch-site", b"same-origin"), OWN], 200, id="own-page"),
        pytest.param([(b"sec-fetch-site", b"none")], 200, id="person"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_cookie_changes_something_only_from_our_page(
    method: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    assert (await Knock()(HOST, SIGNED_IN, *headers, method=method))[0] == status


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, id=f"bad21-{m}") for m in ("TRACE", "CONNECT", "PUT", "BREW")]
    + [pytest.param("OPTIONS", id="bad20-preflight")],
)
async def test_methods(method: str) -> None:
    knock = Knock()
    status, names = await knock(HOST, BEARER, OWN, (b"access-control-request-method", b"POST"), method=method)
    assert (status, knock.rang) == (405, 0)
    assert names["allow"] == "DELETE, GET, HEAD, PATCH, POST"
    assert not [name for name in names if name.startswith("access-control")]


async def test_a_body_is_refused_by_its_announced_length() -> None:  # bad16
    knock = Knock(limits=Limits(frame=1000))
    assert (await knock(HOST, BEARER, (b"content-length", b"1001"), method="POST"))[0] == 413
    assert (await knock(HOST, BEARER, (b"content-length", b"9" * 400), method="POST"))[0] == 413
    assert knock.rang == 0
    assert (await knock(HOST, BEARER, (b"content-length", b"1000"), method="POST", body=b"x" * 1000))[0] == 200
    with pytest.raises(ReconveneError) as refused:  # one without a length is counted; App turns this into 413
        await knock(HOST, BEARER, method="POST", body=b"x" * 1001)
    assert refused.value.code == "too_large"


async def test_security_headers_are_on_everything() -> None:
    for headers in ([BEARER], []):
        _, names = await Knock()(HOST, *headers)
        assert (
            "require-trusted-types-for 'script'" in names["content-security-policy"]
            or "default-src 'none'" in names["content-security-policy"]
        )
        assert names["x-content-type-options"] == "nosniff"
        assert names["cross-origin-opener-policy"] == names["cross-origin-resource-policy"] == "same-origin"
        assert names["referrer-policy"] == "no-referrer"
        assert "microphone=()" in names["permissions-policy"]


async def test_bad22_capacity_comes_last() -> None:
    knock = Knock(limits=Limits(handshakes_per_second=2, connections_per_user=3, connections=4))
    for _ in range(5):
        assert (await knock(HOST, kind="websocket"))[0] == 401  # costs no place
    assert [(await knock(HOST, BEARER, kind="websocket"))[0] for _ in range(3)] == [101, 101, 503]
    status, names = await knock(HOST, BEARER, kind="websocket")
    assert (status, names["retry-after"]) == (503, "1")
    knock.now = 1.0
    assert (await knock(HOST, BEARER, kind="websocket"))[0] == 101
    knock.held.append(asyncio.Event())
    knock.now = 100.0
    waiting = []
    for n in range(3):
        knock.now += 1
        waiting.append(asyncio.create_task(knock(HOST, BEARER, kind="websocket")))
        await asyncio.sleep(0)
        assert knock.gate.capacity.connections == n + 1
    knock.now += 1
    status, names = await knock(HOST, BEARER, kind="websocket")
    assert (status, int(names["retry-after"]) >= 1) == (503, True)
    knock.held[0].set()
    await asyncio.gather(*waiting)
    assert knock.gate.capacity.connections == 0


def test_retry_hints_grow_with_the_number_of_clients() -> None:
    capacity = Capacity(Limits(handshakes_per_second=50), clock=lambda: 0.0)
    assert (capacity.retry().base_ms, capacity.retry().spread_ms) == (300, 0)
    for _ in range(25):
        capacity.enter("me")
    assert capacity.retry().spread_ms == 500


# --- every check, broken: the cases above must notice


class _NoOrigin(Gate):
    def check_origin(self, scope: Scope) -> None: ...


class _NoHost(Gate):
    def check_host(self, scope: Scope) -> None: ...


class _NoCredential(Gate):
    def check_credential(self, scope: Scope) -> Principal | None:
        return Principal("owner", "bearer")


class _PrefixOrigin(Gate):
    def check_origin(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"origin" and not value.startswith(b"http://localhost:8000"):
                raise ReconveneError("forbidden_origin", "no")


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_mutation_controls(kind: str) -> None:
    evil = origin(b"http://evil.test")
    assert (await Knock(_NoOrigin)(HOST, BEARER, evil, kind=kind))[0] in (200, 101)
    assert (await Knock(_PrefixOrigin)(HOST, BEARER, origin(b"http://localhost:8000.evil.test"), kind=kind))[0] in (
        200,
        101,
    )
    assert (await Knock(_NoHost)((b"host", b"evil.test:8000"), BEARER, kind=kind))[0] in (200, 101)
    assert (await Knock(_NoCredential)(HOST, kind=kind))[0] in (200, 101)


# --- a real server


async def every_route(server: Serving) -> list[tuple[str, str, str]]:
    gate = server.server.services
    assert gate is not None
    return await App(gate).routes()


async def test_every_route_asks_for_a_credential(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        routes = await every_route(server)
        assert len(routes) > 25, "the walk must see the whole API"
        seen = {path for _, _, path in routes}
        assert {
            "/",
            "/metrics",
            "/sample",
            "/api/me",
            "/api/sessions/{session_id}/messages",
            "/api/stop",
            "/api/openapi.json",
        } <= seen
        for kind, method, path in [
            *routes,
            ("http", "GET", "/no/such/path"),
            ("http", "GET", "/api/no-such"),
            ("websocket", "GET", "/other"),
        ]:
            path = path.replace("{session_id}", "s_0123456789012345678901")
            if kind == "websocket":
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://localhost:{server.port}{path}", proxy=None)
                assert refused.value.response.status_code == 401, path
                continue
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Cookie": f"{server.services.credentials.cookie_name}=wrong"},
            ):
                answer = await server.http(method, path, headers=headers, bearer=False)
                if path in OPEN_PATHS:
                    assert answer.status in (200, 403, 404, 405, 503), path
                else:
                    assert answer.status == 401, (method, path)
        assert {"/healthz", "/readyz", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/back", "/shared"} == OPEN_PATHS


async def test_a_websocket_is_refused_before_the_upgrade(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for headers, status in (
            ({"Origin": "http://evil.test"}, 403),
            ({"Origin": "null"}, 403),
            ({"Authorization": "Bearer wrong"}, 401),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await server.connect(headers=headers)
            response = refused.value.response
            assert response.status_code == status
            problem = json.loads(response.body or b"")
            assert problem["status"] == status
            assert "Access-Control-Allow-Origin" not in response.headers
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        async with server.connect(headers={"Origin": f"http://localhost:{server.port}"}) as socket:
            await socket.close()
        log = (server.data_dir / "logs" / "server.log").read_text()
        assert '"code": "forbidden_origin"' in log and "http://evil.test" in log  # the audit line
        assert server.token not in log


async def test_bad22_a_storm_is_shed_and_those_inside_stay(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"handshakes_per_second": 10}) as server, server.connect() as inside:
        answers = await asyncio.gather(*(server.connect() for _ in range(60)), return_exceptions=True)
        refused = [a.response for a in answers if isinstance(a, InvalidStatus)]
        assert refused and {r.status_code for r in refused} == {503}
        assert all(int(r.headers["Retry-After"]) >= 1 for r in refused)
        accepted = [a for a in answers if not isinstance(a, BaseException)]
        assert 5 <= len(accepted) <= 30
        await (await inside.ping())
        for socket in accepted:
            await socket.close()
