"""The resumable client's decisions, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peer import SESSION, batch, session, snapshot
from reconvene.client.link import (
    Advanced,
    Broken,
    HeldBack,
    Link,
    Notice,
    Opened,
    Receipt,
    Replaced,
    Settled,
    TurnedAway,
    new_id,
)
from reconvene.errors import ReconveneError
from reconvene.protocol.follower import Follower

CONVERSATIONS = sorted((Path(__file__).parents[1] / "conformance").glob("*.jsonl"))


def link(**more: Any) -> Link:
    return Link(client={"id": "c1", "name": "test"}, random=lambda: 1.0, **more)


def receive(link: Link, *frames: dict[str, Any]) -> list[Any]:
    return [h for f in frames for h in link.receive(json.dumps(f))]


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda p: p.stem)
def test_it_follows_every_recorded_conversation(path: Path) -> None:
    tested = link()
    for line in path.read_text("utf-8").splitlines():
        step = json.loads(line)
        if "connect" in step:
            assert tested.follower.connect() == step["connect"]
        elif "receive" in step:
            happened = tested.receive(json.dumps(step["receive"]))
            expected = {
                "applied": (Replaced, Advanced),
                "dropped": (),
                "gap": (Broken,),
                "other": (Opened, Notice, Settled),
            }
            assert all(isinstance(h, expected[step["outcome"]]) for h in happened)
            assert len(happened) == (step["outcome"] in ("applied", "gap")) or step["outcome"] == "other"
        elif "view" in step:
            assert tested.follower.view.to_json() == step["view"]
            assert tested.follower.cursor == step["cursor"]


def test_a_new_session_begins_with_its_prompt() -> None:
    tested = link(config={"root_directory": "/r"})
    put = tested.put({"type": "default", "content": "Why?"})
    (first,) = tested.opening()
    assert first == {**put, "proto": 1, "client": {"id": "c1", "name": "test"}}
    assert first["config"] == {"root_directory": "/r"}


def test_a_known_session_begins_with_its_cursor_and_sends_what_has_no_answer() -> None:
    tested = link(config={"root_directory": "/r"}, follower=Follower(SESSION))
    receive(tested, session(), snapshot("c0"), batch("c0", "c3", 1, 3))
    waiting = tested.put({"type": "default", "content": "Why?"})
    hello, again = tested.opening()
    assert hello["config"] == {"root_directory": "/r", "session_id": SESSION, "cursor": "c3"}
    assert again == waiting


def test_the_body_of_a_prompt_is_the_same_however_often_it_is_sent() -> None:
    tested = link(config={"root_directory": "/r"})
    tested.put({"type": "default", "content": "Why?", "id": "p1"})
    (first,) = tested.opening()
    receive(tested, session())
    _, later = tested.opening()
    bodies = [{k: v for k, v in f.items() if k not in ("proto", "client")} for f in (first, later)]
    assert bodies[0] == bodies[1]


def test_an_answer_settles_a_frame_once() -> None:
    tested = link()
    tested.put({"type": "cancel", "content": {}, "id": "x"})
    ack = {"type": "ack", "reply_to": "x", "content": {"status": "accepted", "seq": 3, "run_id": "r1"}}
    assert receive(tested, ack, ack) == [Settled("x", Receipt("accepted", 3, "r1"))]
    assert len(tested.opening()) == 1


def test_a_refusal_settles_it_too() -> None:
    tested = link()
    tested.put({"type": "cancel", "content": {}, "id": "x"})
    refused = {"code": "no_such_run", "message": "No.", "retryable": False, "details": {"a": 1}}
    (settled,) = receive(tested, {"type": "nack", "reply_to": "x", "content": refused})
    assert settled.error.content() == refused
    assert not tested.outbox


@pytest.mark.parametrize("code", ["rate_limited", "starting", "draining", "store_busy"])
def test_not_now_keeps_it(code: str) -> None:
    tested = link()
    tested.put({"type": "cancel", "content": {}, "id": "x"})
    refused = {"code": code, "message": "Later.", "retryable": True, "details": {"retry_after": 0.5}}
    assert receive(tested, {"type": "nack", "reply_to": "x", "content": refused}) == [HeldBack("x", 0.5)]
    assert list(tested.outbox) == ["x"]


def test_a_refusal_without_a_name_is_of_the_only_frame_there_is() -> None:
    tested = link()
    tested.put({"type": "cancel", "content": {}, "id": "x"})
    refused = {"code": "invalid_json", "message": "No.", "retryable": False, "details": {}}
    (settled,) = receive(tested, {"type": "nack", "reply_to": None, "content": refused})
    assert settled.id == "x"


def test_a_server_that_took_us_for_a_plain_client_has_refused_the_first_frame() -> None:
    tested = link()
    tested.put({"type": "default", "content": "x", "id": "x"})
    content = {"code": "too_large", "message": "Shorten it.", "retryable": False, "details": {}}
    (settled,) = receive(tested, {"type": "error", "content": content})
    assert (settled.id, settled.error.code) == ("x", "too_large")


def test_a_refused_hello_is_told_from_a_refusal_later() -> None:
    tested = link(follower=Follower(SESSION))
    content = {"code": "root_mismatch", "message": "No.", "retryable": False, "details": {}}
    refused = {"type": "nack", "reply_to": None, "content": content}
    tested.opening()
    (before,) = receive(tested, refused)
    assert isinstance(before, TurnedAway)
    assert receive(tested, session(), refused)[1:] == [Notice("root_mismatch", "No.")]


def test_another_session_makes_the_cursor_worthless() -> None:
    tested = link(follower=Follower(SESSION))
    receive(tested, session(), snapshot("c0"), session("s_" + "b" * 22, reason="expired"))
    assert tested.follower.connect() == {"session_id": "s_" + "b" * 22, "cursor": None}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"type": "batch", "content": null}', '{"type": "session", "content": {}}']
)
def test_a_frame_that_cannot_be_read_breaks_the_connection_not_the_client(text: str) -> None:
    assert [type(h) for h in link().receive(text)] == [Broken]


def test_frames_of_a_later_server_are_passed_over() -> None:
    assert link().receive('{"type": "weather", "content": {"sun": true}}') == []


class TestPacing:
    def test_a_heartbeat_says_anew_over_how_long_to_come_back(self) -> None:
        tested = link()
        receive(tested, session(base_ms=300, cap_ms=2000, spread_ms=20))
        more = {"base_ms": 300, "cap_ms": 40_000, "spread_ms": 20_000}
        receive(tested, {"type": "hb", "content": {"head": 1, "retry": more}})
        receive(tested, {"type": "hb", "content": {"head": 1}})
        tested.random = lambda: 0.5
        assert tested.closed(None).delay == 10.0

    def test_the_first_try_is_spread_and_later_ones_back_off(self) -> None:
        tested = link()
        receive(tested, session(base_ms=300, cap_ms=2000, spread_ms=700))
        assert [tested.closed(1006).delay for _ in range(5)] == [0.7, 0.6, 1.2, 2.0, 2.0]

    def test_a_connection_that_lived_starts_again(self) -> None:
        tested = link()
        assert [tested.closed(1006, lived=lived).delay for lived in (1, 1, 60, 1)] == [0.3, 0.6, 0.3, 0.6]

    @pytest.mark.parametrize("code", [4000, 4002, 4008, 4009, 1009])
    def test_reconnect_at_once_but_not_in_a_loop(self, code: int) -> None:
        tested = link()
        assert [tested.closed(code).delay for _ in range(3)] == [0.0, 0.6, 1.2]

    @pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 4100, 4101, None])
    def test_back_off(self, code: int | None) -> None:
        after = link().closed(code)
        assert after.error is None
        assert after.delay > 0

    def test_it_never_gives_up(self) -> None:
        tested = link()
        assert all(tested.closed(1006).error is None and tested.refused(None).error is None for _ in range(1000))
        assert tested.closed(1006).delay == 10.0

    @pytest.mark.parametrize("code", [4400, 4401, 4403, 4408, 4410, 4429, 1002, 1003, 1007, 1008])
    def test_stop_and_show(self, code: int) -> None:
        error = link().closed(code, "the reason").error
        assert error is not None
        assert "the reason" in error.message

    def test_a_gone_session_stops(self) -> None:
        error = link().closed(4300).error
        assert error is not None
        assert error.code == "no_such_session"

    def test_without_cursor(self) -> None:
        tested = link(follower=Follower(SESSION))
        receive(tested, session(), snapshot("c0"))
        assert tested.closed(4200).error is None
        assert tested.follower.connect() == {"session_id": SESSION, "cursor": None}

    @pytest.mark.parametrize(
        ("status", "code"), [(401, "unauthorized"), (403, "forbidden_origin"), (421, "forbidden_host")]
    )
    def test_a_refused_handshake_that_cannot_mend(self, status: int, code: str) -> None:
        error = link().refused(status).error
        assert error is not None
        assert error.code == code

    def test_a_busy_server_says_when(self) -> None:
        assert link().refused(503, 4.0).delay == 4.0
        assert link().refused(500).error is None


def test_after_1009_only_the_frame_that_was_too_big_is_failed() -> None:
    tested = link()
    tested.put({"type": "default", "content": "x" * 1000, "id": "big"})
    tested.put({"type": "cancel", "content": {}, "id": "small"})
    settled = tested.too_big()
    assert settled is not None
    assert isinstance(settled.error, ReconveneError)
    assert settled.id == "big"
    assert list(tested.outbox) == ["small"]


def test_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    ids = [new_id(lambda t=t: t) for t in (1.0, 2.0, 3.0, 1e9)]  # type: ignore[misc]
    assert ids == sorted(ids)
    assert all(i[14] == "7" and i[19] in "89ab" and len(i) == 36 for i in ids)
