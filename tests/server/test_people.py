"""People who were added: their tokens, their sign-ins, what they may not do, and what is kept of what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kept import Store
from serving import Answer, Serving, closed, hello, prompt, receive, send, serving

from reconvene.errors import ReconveneError
from reconvene.server.audit import KEPT, Audit
from reconvene.server.credentials import Credentials, owner_token
from reconvene.server.people import LONGEST_NAME, People


def of(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def added(server: Serving, name: str) -> tuple[str, str]:
    """(id, token) of somebody new."""
    answer = await server.http("POST", "/api/users", {"name": name})
    assert answer.status == 201, answer.body
    return answer.json["id"], answer.json["token"]


def cookie_of(answer: Answer) -> str:
    return (answer.header("set-cookie") or "").partition(";")[0]


async def test_only_a_hash_of_a_token_is_kept_and_people_outlive_a_restart() -> None:
    store = Store()
    people = await People.open(store)
    ann, token = await people.add("  Ann ")
    assert ann.name == "Ann" and token.startswith("rcv_") and token not in str(store.kept)
    again = await People.open(store)
    assert again.by_token(token.encode()) == ann and again.by_token(b"rcv_") is None
    assert again.named("ANN") == again.named(ann.id) == ann


async def test_bad_names_are_refused_with_a_sentence() -> None:
    people = await People.open(Store())
    await people.add("Ann")
    for name in ("", "   ", "ann", "x" * (LONGEST_NAME + 1), "a\nb", "a\u202eb"):
        with pytest.raises(ReconveneError) as refused:
            await people.add(name)
        assert refused.value.code == "invalid_field", name
    with pytest.raises(ReconveneError) as unknown:
        people.named("Bob")
    assert unknown.value.code == "no_such_user" and "users list" in unknown.value.message


async def test_what_a_repaired_store_holds_instead_of_a_person_is_nobody() -> None:
    store = Store()
    await (await People.open(store)).add("Ann")
    store.kept |= {"person:1": "no json", "person:2": "[]", "person:3": '{"id": "u"}', "person:4": "null"}
    assert [p.name for p in (await People.open(store)).all()] == ["Ann"]


async def test_an_account_is_known_by_issuer_and_subject_not_by_its_name() -> None:
    people = await People.open(Store())
    one = await people.of_account("https://i", "1", "Ann")
    two = await people.of_account("https://i", "2", "Ann")
    assert one.id != two.id and (one.name, two.name) == ("Ann", "Ann 2")
    assert await people.of_account("https://i", "1", "Ann Other") == one
    await people.disable("Ann", True)
    with pytest.raises(ReconveneError) as refused:
        await people.of_account("https://i", "1", "Ann")
    assert refused.value.code == "forbidden"


async def test_a_token_lets_in_until_it_is_renewed_or_the_person_is_disabled(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        id, token = await added(server, "Ann")
        me = (await server.http("GET", "/api/me", headers=of(token), bearer=False)).json
        assert (me["owner"], me["name"], me["role"]) == (id, "Ann", "user")
        async with server.connect(headers=of(token)) as socket:
            await send(socket, hello())
            await receive(socket, "session")
            fresh = (await server.http("POST", "/api/users/ann/token")).json["token"]
            assert (await closed(socket))[0] == 4401
        assert (await server.http("GET", "/api/me", headers=of(token), bearer=False)).status == 401
        async with server.connect(headers=of(fresh)) as socket:
            await send(socket, hello())
            await receive(socket, "session")
            assert (await server.http("PATCH", "/api/users/Ann", {"disabled": True})).json["disabled"]
            assert (await closed(socket))[0] == 4401
        assert (await server.http("GET", "/api/me", headers=of(fresh), bearer=False)).status == 401
        await server.http("PATCH", "/api/users/Ann", {"disabled": False})
        assert (await server.http("GET", "/api/me", headers=of(fresh), bearer=False)).status == 200


async def test_a_browser_signs_in_with_a_token_or_a_link_of_ones_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        id, token = await added(server, "Ann")
        origin = {"Origin": f"http://localhost:{server.port}", "Accept": "text/html"}

        async def typed(text: str, **headers: str) -> Answer:
            return await server.http(
                "POST", "/sign-in", f"token={text}".encode(), headers={**origin, **headers}, bearer=False
            )

        form = await server.http("GET", "/sign-in", headers=origin, bearer=False)
        assert (
            form.status == 200
            and b"<form" in form.body
            and "form-action 'self'" in (form.header("content-security-policy") or "")
        )
        for wrong in ("", "rcv_wrong", "%ff", "x" * 3000):
            refused = await typed(wrong)
            assert refused.status == 401 and refused.header("set-cookie") is None, wrong
        assert (await typed("x" * 5000)).status == 413
        assert (await typed(token, Origin="http://evil.test")).status == 403
        cookie = cookie_of(await typed(token))
        me = await server.http("GET", "/api/me", headers={"Cookie": cookie}, bearer=False)
        assert me.json["owner"] == id
        link = (await server.http("POST", "/api/sign-in-links", {"user": "Ann"})).json["url"]
        other = cookie_of(await server.http("GET", link.partition(str(server.port))[2], bearer=False))
        assert (await server.http("GET", "/api/me", headers={"Cookie": other}, bearer=False)).json["owner"] == id
        # Everywhere is everywhere of one's own.
        owners = cookie_of(
            await server.http(
                "GET",
                (await server.http("POST", "/api/sign-in-links")).json["url"].partition(str(server.port))[2],
                bearer=False,
            )
        )
        own = {"Cookie": other, "Origin": f"http://localhost:{server.port}", "Sec-Fetch-Site": "same-origin"}
        assert (
            await server.http("POST", "/api/sign-out", {"everywhere": True}, headers=own, bearer=False)
        ).status == 204
        for value, status in ((cookie, 401), (other, 401), (owners, 200)):
            assert (await server.http("GET", "/api/me", headers={"Cookie": value}, bearer=False)).status == status


async def test_a_person_does_not_change_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        _, token = await added(server, "Ann")
        for method, path, body in (
            ("GET", "/api/users", None),
            ("POST", "/api/users", {"name": "Eve"}),
            ("PATCH", "/api/users/Ann", {"disabled": False}),
            ("POST", "/api/users/Ann/token", None),
            ("GET", "/api/audit", None),
            ("POST", "/api/roots", {"path": "/"}),
            ("POST", "/api/stop", {}),
            ("POST", "/api/sign-in-links", {}),
            ("PATCH", "/api/model", {"model": None}),
            ("POST", "/api/indexes", {"do": "rebuild"}),
        ):
            answer = await server.http(method, path, body, headers=of(token), bearer=False)
            assert (answer.status, answer.json["code"]) == (403, "forbidden"), path
        assert (await server.http("GET", "/metrics", headers=of(token), bearer=False)).status == 403


async def test_who_runs_the_server_sees_counts_and_no_content(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        _, token = await added(server, "Ann")
        async with server.connect(headers=of(token)) as socket:
            await send(socket, hello())
            session = (await receive(socket, "session"))["content"]["session_id"]
            await send(socket, prompt("p1", "a secret thought"))
            await receive(socket, "ack")
            shown = await server.http("GET", "/api/users")
        ann = shown.json["users"][0]
        assert (ann["name"], ann["sessions"], ann["connections"]) == ("Ann", 1, 1) and ann["bytes"] > 0
        assert b"thought" not in shown.body
        assert (await server.http("GET", f"/api/sessions/{session}")).status == 404
        assert (await server.http("GET", "/api/sessions")).json["sessions"] == []


async def test_what_was_done_is_written_down_without_secrets(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        _, token = await added(server, "Ann")
        await server.http("PATCH", "/api/model", {"provider": "openai", "key": "sk-not-to-be-seen"})
        await server.http("PATCH", "/api/users/Ann", {"disabled": True})
        async with server.connect() as socket:
            await send(socket, hello())
            session = (await receive(socket, "session"))["content"]["session_id"]
        await server.http("DELETE", f"/api/sessions/{session}")
        answer = await server.http("GET", "/api/audit")
        found = [(e["deed"], e["by"]) for e in answer.json["entries"]]
        assert found == [
            ("session_deleted", "owner"), ("user_disabled", "owner"), ("model_changed", "owner"), ("user_added", "owner"),
        ]  # fmt: skip
        assert {e["peer"] for e in answer.json["entries"]} == {"127.0.0.1"}
        assert token.encode() not in answer.body and b"not-to-be-seen" not in answer.body
        assert (await server.http("GET", "/api/audit?limit=1")).json["entries"] == answer.json["entries"][:1]
        for bad in ("0", "-1", "x", str(KEPT + 1)):
            assert (await server.http("GET", f"/api/audit?limit={bad}")).status == 422


async def test_of_the_account_the_oldest_goes_when_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.server.audit.KEPT", 3)
    store = Store()
    audit = await Audit.open(store)
    for n in range(5):
        await audit.note("user_added", "owner", "", {"n": n})
    assert len(await audit.newest(100)) == 5
    assert [e.about["n"] for e in await (await Audit.open(store)).newest(100)] == [4, 3, 2]
    assert all(json.loads(text)["deed"] == "user_added" for text in store.kept.values())


async def test_a_sign_in_at_another_server_on_the_same_store_is_found(tmp_path: Path) -> None:
    """What a second server wrote into the store is taken in when somebody comes with it, and a revoked one is not kept."""
    async with serving(tmp_path) as server:
        credentials = server.services.credentials
        moved: dict[str, float] = {"now": credentials._clock()}
        credentials._clock = lambda: moved["now"]
        other = await type(credentials).open(server.data_dir, server.sessions.log, server.sessions.uptime.now)
        value = await other.sign_in("owner")
        cookie = {"Cookie": f"{credentials.cookie_name}={value}"}
        assert (await server.http("GET", "/api/me", headers=cookie, bearer=False)).status == 401, "looked a moment ago"
        moved["now"] += 2
        assert (await server.http("GET", "/api/me", headers=cookie, bearer=False)).status == 200
        principal = other.by_cookies([cookie["Cookie"].encode()])
        assert principal is not None
        await other.revoke(principal.sign_in, "owner")
        moved["now"] += 2
        await credentials.look_again()
        assert (await server.http("GET", "/api/me", headers=cookie, bearer=False)).status == 401


async def test_servers_on_one_store_take_each_others_tokens_and_links(tmp_path: Path) -> None:
    store, up = Store(), lambda: 100.0
    for name in "ab":
        (tmp_path / name).mkdir()
    one = await Credentials.open(tmp_path / "a", store, up, node="a")
    two = await Credentials.open(tmp_path / "b", store, up, node="b")
    tokens = [owner_token(tmp_path / name).encode() for name in "ab"]
    assert tokens[0] != tokens[1] and all(two.by_bearer(token) for token in tokens)
    assert one.by_bearer(tokens[1]) is None, "it has not looked since"
    one._looked = float("-inf")
    assert await one.look_again() and one.by_bearer(tokens[1]) is not None
    secret = (await one.new_shared_link("http://x")).partition("?t=")[2].encode()
    assert secret not in str(store.kept).encode()
    assert (await two.redeem(secret))[1] == "owner"
    for server in (one, two):
        with pytest.raises(ReconveneError):
            await server.redeem(secret)
    printed = two.new_link("http://x").partition("?t=")[2].encode()
    assert (await two.redeem(printed))[1] == "owner"
    alone = await Credentials.open(tmp_path / "a", store, up)
    assert alone.by_bearer(tokens[1]) is None, "a server that is alone takes its own token only"
    # Revoked at one, what is open at the other ends when it looks.
    principal = two.by_cookies([f"{two.cookie_name}={await two.sign_in('owner')}".encode()])
    assert principal is not None
    one._looked = float("-inf")
    await one.look_again()
    ended: list[bool] = []
    one.on_revoked.append(lambda gone: ended.append(gone(principal)))
    await two.revoke(principal.sign_in, "owner")
    one._looked = float("-inf")
    await one.look_again()
    assert ended == [True]


BAD_BODIES: list[tuple[str, str, Any]] = [
    ("POST", "/api/users", {}),
    ("POST", "/api/users", {"name": 5}),
    ("POST", "/api/users", {"name": "x" * 65}),
    ("POST", "/api/users", {"name": "a", "more": 1}),
    ("PATCH", "/api/users/Ann", {"disabled": "yes"}),
    ("POST", "/api/sign-in-links", {"user": ""}),
]


async def test_bad_bodies_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await added(server, "Ann")
        for method, path, body in BAD_BODIES:
            assert (await server.http(method, path, body)).json["code"] == "invalid_field", (path, body)
        for path in ("/api/users/Bob", "/api/users/%00"):
            assert (await server.http("PATCH", path, {"disabled": True})).json["code"] == "no_such_user"
        assert (await server.http("POST", "/api/sign-in-links", {"user": "Bob"})).json["code"] == "no_such_user"
