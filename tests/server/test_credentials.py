"""Signing in: the token file, one-time links, the cookie and its life."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from kept import Store
from serving import Answer, Serving, closed, hello, receive, send, serving

from reconvene.errors import ReconveneError
from reconvene.server.credentials import LINK_TIME, SIGN_IN_TIME, Credentials, owner_token
from reconvene.server.gate import Principal


class Clocks:
    up = 0.0
    mono = 0.0


async def credentials(folder: Path, store: Store, clocks: Clocks) -> Credentials:
    return await Credentials.open(folder, store, lambda: clocks.up, clock=lambda: clocks.mono)


def secret_of(link: str) -> bytes:
    return link.partition("?t=")[2].encode()


async def signed_in(c: Credentials) -> bytes:
    value, _ = await c.redeem(secret_of(c.new_link("http://localhost:8000")))
    return f"{c.cookie_name}={value}".encode()


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    token = owner_token(tmp_path)
    assert len(token) == 43 and owner_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "owner.token").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["owner.token"]


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    owner_token(tmp_path)
    (tmp_path / "owner.token").chmod(0o644)
    with pytest.raises(ReconveneError) as refused:
        owner_token(tmp_path)
    assert refused.value.code == "unsafe_permissions" and "chmod 600" in refused.value.message


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "owner.token").symlink_to("/etc/passwd")
    with pytest.raises(ReconveneError):
        owner_token(tmp_path)
    (tmp_path / "owner.token").unlink()
    (tmp_path / "owner.token").touch(0o600)  # a crash between making and writing it
    assert len(owner_token(tmp_path)) == 43
    (tmp_path / "owner.token").unlink()
    os.mkfifo(tmp_path / "owner.token", 0o600)
    with pytest.raises(ReconveneError):
        owner_token(tmp_path)


async def test_a_link_works_once(tmp_path: Path) -> None:
    c = await credentials(tmp_path, Store(), Clocks())
    link = c.new_link("http://localhost:8000")
    assert link.startswith("http://localhost:8000/sign-in?t=")
    await c.redeem(secret_of(link))
    for secret in (secret_of(link), b"", b"x" * 43, b"\xff\xfe"):
        with pytest.raises(ReconveneError) as refused:
            await c.redeem(secret)
        assert refused.value.code == "link_used"


async def test_a_link_lives_five_minutes(tmp_path: Path) -> None:
    clocks = Clocks()
    c = await credentials(tmp_path, Store(), clocks)
    early, late = c.new_link(""), c.new_link("")
    clocks.mono = LINK_TIME - 1
    await c.redeem(secret_of(early))
    clocks.mono = LINK_TIME + 1
    with pytest.raises(ReconveneError):
        await c.redeem(secret_of(late))


async def test_only_a_hash_is_stored_and_it_survives_a_restart(tmp_path: Path) -> None:
    store, clocks = Store(), Clocks()
    c = await credentials(tmp_path, store, clocks)
    cookie = await signed_in(c)
    value = cookie.partition(b"=")[2].decode()
    assert value not in str(store.kept)
    again = await credentials(tmp_path, store, clocks)
    assert again.instance == c.instance
    assert again.by_cookies([b"other=1; " + cookie]) is not None
    assert again.by_cookies([b"x=y", cookie + b"; z=1"]) is not None
    assert again.by_cookies([cookie + b"x"]) is None
    assert again.by_cookies([cookie.replace(b"=", b"_=")]) is None
    shadowed = f"{c.cookie_name}=wrong; ".encode() + cookie  # another port of this host set one of our name
    assert again.by_cookies([shadowed]) is not None


async def test_a_sign_in_slides_and_expires_by_uptime(tmp_path: Path) -> None:
    store, clocks = Store(), Clocks()
    c = await credentials(tmp_path, store, clocks)
    cookie = await signed_in(c)
    principal = c.by_cookies([cookie])
    assert principal is not None
    assert not await c.seen(principal)
    clocks.up = SIGN_IN_TIME - 10
    assert await c.seen(principal) and not await c.seen(principal)
    clocks.up += SIGN_IN_TIME - 10
    again = await credentials(tmp_path, store, clocks)
    assert again.by_cookies([cookie]) is not None
    clocks.up += 20
    assert again.by_cookies([cookie]) is None  # bad8
    await credentials(tmp_path, store, clocks)
    assert not await store.scan("sign_in:"), "an expired one is forgotten"
    clocks.mono += 10 * SIGN_IN_TIME  # another clock changes nothing
    assert (await credentials(tmp_path, store, Clocks())).instance == c.instance


async def test_revoke(tmp_path: Path) -> None:
    store = Store()
    c = await credentials(tmp_path, store, Clocks())
    one, two = await signed_in(c), await signed_in(c)
    first, second = c.by_cookies([one]), c.by_cookies([two])
    assert isinstance(first, Principal) and isinstance(second, Principal)
    told: list[tuple[bool, bool]] = []
    c.on_revoked.append(lambda gone: told.append((gone(first), gone(second))))
    await c.revoke(first.sign_in, first.owner)
    assert c.by_cookies([one]) is None and c.by_cookies([two]) is not None
    assert not c.still(first) and c.still(second)
    await c.revoke(None, second.owner)
    assert c.by_cookies([two]) is None and not await store.scan("sign_in:")
    assert told == [(True, False), (False, True)]


# --- over HTTP


async def sign_in(server: Serving, **headers: str) -> Answer:
    link = (await server.http("POST", "/api/sign-in-links")).json["url"]
    return await server.http("GET", link.partition(str(server.port))[2], headers=headers, bearer=False)


def cookie_of(answer: Answer) -> str:
    return (answer.header("set-cookie") or "").partition(";")[0]


async def test_signing_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await sign_in(server)
        assert (answer.status, answer.header("location")) == (303, "/")
        assert answer.header("cache-control") == "no-store" and answer.header("referrer-policy") == "no-referrer"
        assert f"reconvene_{server.services.credentials.instance}=" in cookie_of(answer)
        attributes = (answer.header("set-cookie") or "").split("; ")[1:]
        assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={30 * 86400}"]
        me = await server.http("GET", "/api/me", headers={"Cookie": cookie_of(answer)}, bearer=False)
        assert me.status == 200 and me.json["owner"] == "owner"
        async with server.connect(
            headers={"Authorization": "", "Cookie": cookie_of(answer), "Origin": f"http://localhost:{server.port}"}
        ) as socket:
            await send(socket, hello())
            await receive(socket, "session")
    async with serving(tmp_path, port=server.port) as server:  # survives a restart
        assert (await server.http("GET", "/api/me", headers={"Cookie": cookie_of(answer)}, bearer=False)).status == 200


async def test_bad9_a_link_used_twice(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        url = (await server.http("POST", "/api/sign-in-links")).json["url"]
        path = url.partition(str(server.port))[2]
        cookie = cookie_of(await server.http("GET", path, bearer=False))
        again = await server.http("GET", path, headers={"Cookie": cookie}, bearer=False)
        assert (again.status, again.header("location")) == (303, "/")
        without = await server.http("GET", path, headers={"Accept": "text/html"}, bearer=False)
        assert without.status == 403 and b"already used" in without.body and b"reconvene open" in without.body
        assert (await server.http("GET", path, bearer=False)).json["code"] == "link_used"
        log = (server.data_dir / "logs" / "server.log").read_text()
        assert path.partition("=")[2] not in log and cookie.partition("=")[2] not in log


async def test_a_link_is_not_burned_by_looking(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        path = (await server.http("POST", "/api/sign-in-links")).json["url"].partition(str(server.port))[2]
        assert (await server.http("HEAD", path, bearer=False)).status == 405
        assert (await server.http("GET", path, headers={"Sec-Purpose": "prefetch"}, bearer=False)).status == 204
        assert (await server.http("GET", path, bearer=False)).status == 303


async def test_bad8_the_page_says_how_to_sign_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for path in ("/", "/s/s_0123456789012345678901", "/sample", "/anything"):
            answer = await server.http(
                "GET", path, headers={"Accept": "text/html,*/*", "Cookie": "reconvene_x=old"}, bearer=False
            )
            assert answer.status == 401 and b"reconvene open" in answer.body
            assert (
                "script-src" not in (answer.header("content-security-policy") or "") and b"<script" not in answer.body
            )
        assert b"http-equiv" not in answer.body
        # a link on another site: the Strict cookie was withheld; loading once more from here sends it
        answer = await server.http(
            "GET", "/", headers={"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}, bearer=False
        )
        assert b'http-equiv="refresh"' in answer.body


async def test_signing_out_closes_its_connections(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        cookie = cookie_of(await sign_in(server))
        own = {"Cookie": cookie, "Origin": f"http://localhost:{server.port}", "Sec-Fetch-Site": "same-origin"}
        async with server.connect(headers={"Authorization": "", **own}) as socket, server.connect() as other:
            await send(socket, hello())
            await receive(socket, "session")
            await send(other, hello())
            answer = await server.http("POST", "/api/sign-out", headers=own, bearer=False)
            assert answer.status == 204 and "Max-Age=0" in (answer.header("set-cookie") or "")
            assert (await closed(socket))[0] == 4401
            await (await other.ping())
        assert (await server.http("GET", "/api/me", headers=own, bearer=False)).status == 401


async def test_what_only_the_token_may(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        cookie = cookie_of(await sign_in(server))
        own = {"Cookie": cookie, "Origin": f"http://localhost:{server.port}", "Sec-Fetch-Site": "same-origin"}
        for path, body in (("/api/roots", {"path": "/tmp"}), ("/api/sign-in-links", {}), ("/api/stop", {})):
            answer = await server.http("POST", path, body, headers=own, bearer=False)
            assert (answer.status, answer.json["code"]) == (403, "forbidden")


async def test_behind_a_tls_proxy_links_name_it_and_cookies_are_secure(tmp_path: Path) -> None:
    async with serving(tmp_path, public_url="https://box.example") as server:
        url = (await server.http("POST", "/api/sign-in-links")).json["url"]
        assert url.startswith("https://box.example/sign-in?t=") and server.ready.url == "https://box.example"
        answer = await server.http(
            "GET", url.removeprefix("https://box.example"), headers={"Host": "box.example"}, bearer=False
        )
        assert (answer.header("set-cookie") or "").endswith("; Secure")
        assert "Secure" not in (await sign_in_at(server)).header("set-cookie")  # type: ignore[operator]


async def sign_in_at(server: Serving) -> Answer:
    link = server.services.credentials.new_link("")
    return await server.http("GET", link, bearer=False)
