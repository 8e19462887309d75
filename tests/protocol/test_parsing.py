"""Every refusal of a frame is typed, names what is wrong and carries the frame's id; nothing else ever comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconvene.protocol import parsing, strict_json
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.frames import Answer, Cancel, Default, Hello, PlainFrame
from reconvene.protocol.parsing import (
    FrameRefused,
    body_hash,
    load_json,
    parse_first,
    parse_plain,
    parse_resumable,
    plain_key,
)

SESSION = "s_" + "a" * 22
CURSOR = str(Cursor("e1", 7, "0a0b0c0d"))


def frame(**fields: Any) -> str:
    return json.dumps({"type": "default", "id": "m1", "proto": 1, "content": "Why?"} | fields)


def refused(text: str | bytes, *, first: bool = True, **limits: int) -> FrameRefused:
    with pytest.raises(FrameRefused) as e:
        parse_resumable(text, first=first, **limits)
    json.dumps(e.value.content()).encode()
    assert e.value.message.endswith(".")
    return e.value


JSON_CASES: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("bad30-empty", "", {}),
    ("bad30-white-space", " \n ", {}),
    ("bad31-object", '{"type":"default"', {"position": 17, "line": 1, "column": 18}),
    ("bad31-string", '{"type":"defau', {"position": 8}),
    ("bad31-second-line", '{"type":"default",\n', {"line": 2, "column": 1}),
    ("bad33-nan", '{"a":NaN}', {}),
    ("bad33-infinity", '{"a":-Infinity}', {}),
    ("bad34-int", '{"a":9223372036854775808}', {}),
    ("bad34-negative", '{"a":-9223372036854775809}', {}),
    ("bad34-many-digits", '{"a":' + "9" * 5000 + "}", {}),
    ("bad34-double", '{"a":1e999}', {}),
    ("bad35-duplicate", '{"a":1,"a":1}', {"key": "a"}),
    ("bad35-nested", '{"a":[{"b":1,"\\u0062":2}]}', {"key": "b"}),
    ("bad36-lists", "[" * 100_000, {"limit": 32}),
    ("bad36-objects", '{"a":' * 100_000, {"limit": 32}),
    ("bad36-balanced", "[" * 33 + "]" * 33, {"limit": 32}),
    ("bad37-high", r'{"a":"\ud800"}', {}),
    ("bad37-low", r'{"a":"x\uDFFFx"}', {}),
    ("bad37-key", r'{"\ud800":1}', {}),
    ("bad37-raw", '{"a":"\ud800"}', {"position": 6}),
    ("bad37-duplicate-key", r'{"\ud800":1,"\ud800":2}', {}),
    ("bad39-text", "\ufeff{}", {}),
    ("bad39-bytes", b"\xef\xbb\xbf{}", {}),
    ("bad40-garbage", '{"a":1} x', {"position": 8}),
    ("bad40-two-values", "{}{}", {"position": 2}),
    ("bad40-comment", "{} // no", {}),
    ("bad40-single-quotes", "{'a':1}", {}),
    ("bad40-trailing-comma", '{"a":1,}', {}),
    ("bad40-leading-zero", '{"a":01}', {}),
    ("bad40-control-character", '{"a":"\t"}', {}),
    ("bad27-bytes", b'{"a":"\xff"}', {"position": 6}),
]


@pytest.mark.parametrize("plain", [False, True], ids=["resumable", "plain"])
@pytest.mark.parametrize(("text", "details"), [c[1:] for c in JSON_CASES], ids=[c[0] for c in JSON_CASES])
def test_what_is_not_json(text: str | bytes, details: dict[str, Any], plain: bool) -> None:
    with pytest.raises(FrameRefused) as e:
        parse_plain(text) if plain else parse_resumable(text, first=True)
    assert e.value.code == "invalid_json"
    assert e.value.details.items() >= details.items()


FRAME_CASES: list[tuple[str, str, str, str | None]] = [
    ("bad32-list", "[]", "invalid_message", None),
    ("bad32-string", '"default"', "invalid_message", None),
    ("bad32-number", "5", "invalid_message", None),
    ("bad32-null", "null", "invalid_message", None),
    ("bad32-true", "true", "invalid_message", None),
    ("bad38-prompt", frame(content="a\0b"), "invalid_field", "content"),
    ("bad38-id", frame(id="a\0b"), "invalid_field", "id"),
    ("bad38-path", frame(config={"root_directory": "/srv\0"}), "invalid_field", "config.root_directory"),
    ("bad38-key", frame(config={"a\0": 1}), "invalid_field", 'config."a\\u0000"'),
    ("bad41-no-type", '{"proto":1}', "invalid_message", None),
    ("bad42-unknown", frame(type="prompt"), "unknown_type", None),
    ("bad42-empty", frame(type=""), "unknown_type", None),
    ("bad43-field", frame(colour="red"), "invalid_field", "colour"),
    ("bad43-config", frame(config={"colour": "red"}), "invalid_field", "config.colour"),
    ("bad43-client", frame(client={"id": "c1", "colour": 1}), "invalid_field", "client.colour"),
    ("bad44-content", frame(content=5), "invalid_field", "content"),
    ("bad44-config", frame(config=[]), "invalid_field", "config"),
    ("bad44-type", frame(type=5), "invalid_field", "type"),
    ("bad44-review", frame(config={"review": "true"}), "invalid_field", "config.review"),
    ("bad44-iterations", frame(config={"max_iterations": 2.5}), "invalid_field", "config.max_iterations"),
    ("bad44-iterations-bool", frame(config={"max_iterations": True}), "invalid_field", "config.max_iterations"),
    ("bad44-client", frame(client={"name": "page"}), "invalid_field", "client.id"),
    ("bad44-delivery", frame(delivery="now"), "invalid_field", "delivery"),
    ("bad44-id", frame(id=5), "invalid_field", "id"),
    ("bad45-empty", frame(content=""), "empty_prompt", None),
    ("bad45-white-space", frame(content=" \n\t\u00a0\u2003"), "empty_prompt", None),
    ("bad49-type", frame(config={"session_id": 5}), "invalid_field", "config.session_id"),
    ("bad49-length", frame(config={"session_id": SESSION + "a"}), "invalid_field", "config.session_id"),
    ("bad49-newline", frame(config={"session_id": SESSION + "\n"}), "invalid_field", "config.session_id"),
    ("bad49-path", frame(config={"session_id": "../x"}), "invalid_field", "config.session_id"),
    ("bad49-sql", frame(config={"session_id": "' or 1=1 --"}), "invalid_field", "config.session_id"),
    ("bad49-word", frame(config={"session_id": "null"}), "invalid_field", "config.session_id"),
    ("bad59-cursor", frame(config={"cursor": "17"}), "invalid_field", "config.cursor"),
    ("bad59-cursor-type", frame(config={"cursor": 17}), "invalid_field", "config.cursor"),
    ("bad59-cursor-long", frame(config={"cursor": "A" * 5000}), "invalid_field", "config.cursor"),
    ("bad70-newer", frame(proto=2, colour="red"), "upgrade_required", None),
    ("bad70-newer-type", frame(proto=2, type="greet"), "upgrade_required", None),
    ("bad70-text", frame(proto="1"), "upgrade_required", None),
    ("bad70-true", frame(proto=True), "upgrade_required", None),
    ("bad70-float", frame(proto=1.0), "upgrade_required", None),
    ("bad70-null", frame(proto=None), "upgrade_required", None),
    ("bad70-hello-without", '{"type":"hello"}', "upgrade_required", None),
    ("bad72-empty-root", frame(config={"root_directory": ""}), "invalid_field", "config.root_directory"),
    ("bad81-long-root", frame(config={"root_directory": "a" * 4097}), "invalid_field", "config.root_directory"),
]


@pytest.mark.parametrize(("text", "code", "path"), [c[1:] for c in FRAME_CASES], ids=[c[0] for c in FRAME_CASES])
def test_what_is_no_frame(text: str, code: str, path: str | None) -> None:
    error = refused(text)
    assert (error.code, error.details.get("path")) == (code, path)
    value = json.loads(text)
    has_id = isinstance(value, dict) and value.get("id") == "m1"
    assert error.frame_id == ("m1" if has_id else None)
    if path and "\0" not in text:
        assert path in error.message


def test_bad42_lists_what_there_is() -> None:
    error = refused(frame(type="prompt"))
    assert error.details["known"] == ["hello", "default", "answer", "decision", "cancel", "action", "ping"]
    assert all(name in error.message for name in error.details["known"])
    assert "prompt" in error.message


@pytest.mark.parametrize(
    "text",
    ["x" * 200_001, "\u00e9" * 100_001, "\U0001f600" * 50_001],
    ids=["bad46-ascii", "bad46-two-bytes", "bad46-four-bytes"],
)
def test_a_prompt_over_the_limit(text: str) -> None:
    error = refused(frame(content=text))
    assert (error.code, error.details["limit"]) == ("too_large", 200_000)
    assert "200,000" in error.message
    whole = parse_resumable(frame(content=text[:-1]), first=True)
    assert isinstance(whole, Default)
    assert refused(frame(content="four"), limits_prompt=3).code == "too_large"


def test_bad46_answers_and_feedback_too() -> None:
    long = "x" * 200_001
    answer = {"type": "answer", "reply_to": "q1", "content": long}
    decision = {"type": "decision", "reply_to": "d1", "content": {"verdict": "feedback", "feedback": long}}
    assert refused(json.dumps(answer), first=False).details["path"] == "content"
    assert refused(json.dumps(decision), first=False).details["path"] == "content.feedback"


def test_bad58_a_prompt_without_an_id_is_a_prompt() -> None:
    made = parse_resumable('{"type":"default","content":"Why?"}', first=False)
    assert made == Default(type="default", content="Why?")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"type":"answer","content":"x"}', "reply_to"),
        ('{"type":"answer","reply_to":"q1","content":5}', "content"),
        ('{"type":"answer","reply_to":"q1","content":null}', "content"),
        ('{"type":"decision","reply_to":"d1","content":{"verdict":"maybe"}}', "content.verdict"),
        ('{"type":"decision","reply_to":"d1","content":{"verdict":"accept","hunks":["h1",5]}}', "content.hunks[1]"),
        ('{"type":"cancel","content":{"run":"r1"}}', "content.run"),
        ('{"type":"cancel","proto":1,"content":{}}', "proto"),
        ('{"type":"action","content":{"args":{}}}', "content.name"),
        ('{"type":"ping","content":{"t":"5"}}', "content.t"),
        ('{"type":"hello","proto":1}', "type"),
    ],
)
def test_bad44_later_frames(text: str, path: str) -> None:
    error = refused(text, first=False)
    assert (error.code, error.details["path"]) == ("invalid_field", path)


def test_an_opening_frame_is_hello_or_default() -> None:
    assert refused('{"type":"cancel","proto":1,"id":"x"}').details["path"] == "type"
    config = {"session_id": SESSION, "cursor": CURSOR}
    hello = json.dumps({"type": "hello", "proto": 1, "client": {"id": "c1"}, "config": config})
    made = parse_first(hello)
    assert isinstance(made, Hello)
    assert made.config is not None
    assert (made.config.session_id, made.config.cursor) == (SESSION, CURSOR)
    assert isinstance(parse_first(frame()), Default)
    # Sent again later from the outbox, as it was.
    assert isinstance(parse_resumable(frame(client={"id": "c1"}), first=False), Default)
    assert isinstance(parse_resumable('{"type":"cancel"}', first=False), Cancel)
    assert isinstance(parse_resumable('{"type":"answer","reply_to":"q1","content":{"a":null}}', first=False), Answer)


def test_text_that_only_looks_bad_is_taken() -> None:
    text = r'{"type":"default","proto":1,"content":"C:\\ud800 \ud83d\ude00 [[[[ \\u0000 \" {{{{"}'
    made = parse_resumable(text.replace("[", "[" * 50), first=True)
    assert isinstance(made, Default)
    assert made.content.startswith("C:\\ud800 \U0001f600 [[[[")
    assert load_json("[" * 32 + "]" * 32) is not None
    assert load_json("[-9223372036854775808, 9223372036854775807, 1e308]") == [-(2**63), 2**63 - 1, 1e308]


def test_bad36_a_limit_beyond_what_python_takes() -> None:
    with pytest.raises(FrameRefused) as e:
        load_json("[" * 100_000, depth=1_000_000)
    assert e.value.code == "invalid_json"


# --- plain clients


def plain(content: object = "Why?", **fields: Any) -> PlainFrame:
    return parse_plain(json.dumps({"type": "default", "content": content} | fields), first=True)


@pytest.mark.parametrize(
    "session_id",
    [
        None,
        "",
        "null",
        "undefined",
        5,
        [],
        {},
        "x" * 300,
        "../x",
        "' or 1=1 --",
        SESSION + "\n",
        "S_" + "a" * 22,
        "s_\0" + "a" * 21,
    ],
    ids=lambda value: f"bad49-{str(value)[:12]!r}",
)
def test_a_plain_session_id_that_is_none(session_id: object) -> None:
    assert plain(config={"session_id": session_id}).session_id is None


def test_the_sample() -> None:
    assert plain().session_id is None
    made = plain(config={"session_id": SESSION, "max_iterations": 3, "review": "yes", "colour": "red"}, colour="red")
    assert made.session_id == SESSION
    assert made.config == {"max_iterations": 3, "review": "yes", "colour": "red"}  # bad43: kept only to compare
    assert made.turn == {"max_iterations": 3}
    assert made.root_directory is None
    assert plain(config={"root_directory": "shop", "recovery": "ask", "review": False}).turn == {"review": False}
    assert plain(config={"root_directory": "shop", "recovery": "ask"}).recovery == "ask"
    assert plain(config={"root_directory": "shop", "recovery": "ask"}).root_directory == "shop"
    assert isinstance(parse_first('{"type":"default","content":"Why?"}'), PlainFrame)


@pytest.mark.parametrize("content", ["", " \n", None, 5, [], True], ids=lambda c: f"bad45-{c!r}")
def test_an_empty_first_frame_attaches(content: object) -> None:
    assert plain(content).content == ""
    assert parse_plain('{"type":"default"}', first=True).content == ""
    with pytest.raises(FrameRefused) as e:
        parse_plain(json.dumps({"type": "default", "content": content}))
    assert e.value.code == ("empty_prompt" if content is None or isinstance(content, str) else "invalid_field")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", "invalid_message"),
        ('{"content":"x"}', "invalid_message"),
        ('{"type":"answer","content":"x"}', "unknown_type"),
        ('{"type":null,"content":"x"}', "invalid_field"),
        ('{"type":"default","content":"a\\u0000"}', "invalid_field"),
        ('{"type":"default","content":"a","config":{"root_directory":"a\\u0000"}}', "invalid_field"),
        ('{"type":"question","content":5}', "invalid_field"),
        ('{"type":"default","content":"%s"}' % ("x" * 200_001), "too_large"),
    ],
    ids=[
        "bad32-list",
        "bad41-type",
        "bad42-type",
        "bad44-type",
        "bad38-prompt",
        "bad38-path",
        "bad44-content",
        "bad46-size",
    ],
)
def test_what_a_plain_client_is_refused(text: str, code: str) -> None:
    with pytest.raises(FrameRefused) as e:
        parse_plain(text, first=True)
    assert e.value.code == code


def test_plain_key_ignores_the_session_and_the_order() -> None:
    one = plain("Why?", config={"session_id": SESSION, "model": "m", "x": {"a": 1, "b": 2}})
    two = plain("Why?", config={"x": {"b": 2, "a": 1}, "model": "m"})
    assert plain_key(one) == plain_key(two)
    others = [
        plain("Why not?", config=one.config),
        plain("Why?"),
        plain("Why?", config={"model": "n", "x": {"a": 1, "b": 2}}),
    ]
    assert len({plain_key(f) for f in [one, *others]}) == 4


# --- ids


def test_bad56_the_body_leaves_out_where_the_client_stood() -> None:
    sent = parse_resumable(frame(client={"id": "c1"}, config={"model": "m", "session_id": None}), first=True)
    again = parse_resumable(
        frame(client={"id": "c2"}, config={"model": "m", "session_id": SESSION, "cursor": CURSOR}), first=True
    )
    later = parse_resumable('{"type":"default","id":"m1","content":"Why?","config":{"model":"m"}}', first=False)
    assert body_hash(sent) == body_hash(again) == body_hash(later)
    bare = parse_resumable(frame(), first=True)
    attached = parse_resumable(frame(config={"session_id": SESSION}), first=True)
    assert body_hash(bare) == body_hash(attached)


def test_bad57_another_body_has_another_hash() -> None:
    frames = [
        frame(),
        frame(content="Why not?"),
        frame(delivery="steer"),
        frame(config={"model": "m"}),
        frame(config={"root_directory": "shop"}),
    ]
    assert len({body_hash(parse_resumable(f, first=True)) for f in frames}) == len(frames)
    values = ['"yes"', "true", '{"a":1}', '{"a":null}', "{}"]
    answers = [f'{{"type":"answer","id":"a1","reply_to":"q1","content":{v}}}' for v in values]
    assert len({body_hash(parse_resumable(a, first=False)) for a in answers}) == len(answers)


# --- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["type", "id", "reply_to", "proto", "client", "config", "delivery", "content", "x"]
VALUES = JSON | st.sampled_from(
    ["hello", "default", "answer", "decision", "cancel", "action", "ping", 1, SESSION, CURSOR]
)
CONTENTS = st.dictionaries(
    st.sampled_from(["name", "args", "verdict", "hunks", "feedback", "run_id", "t", "id"]), VALUES
)
FRAMES = st.dictionaries(st.sampled_from(KEYS), VALUES | CONTENTS).map(json.dumps)


@settings(max_examples=500, deadline=None)
@given(st.binary() | st.text(st.characters(exclude_categories=[])) | FRAMES | JSON.map(json.dumps), st.booleans())
def test_nothing_but_frames_and_refusals_comes_out(text: str | bytes, first: bool) -> None:
    for parse in (
        lambda: parse_resumable(text, first=first),
        lambda: parse_plain(text, first=first),
        lambda: parse_first(text),
    ):
        try:
            made = parse()
        except FrameRefused as e:
            assert e.code != "internal"
            json.dumps(e.content(), ensure_ascii=False).encode()
        else:
            made.model_dump_json()
            plain_key(made) if isinstance(made, PlainFrame) else body_hash(made)


@settings(max_examples=300, deadline=None)
@given(JSON.filter(lambda v: "NaN" not in json.dumps(v) and "Infinity" not in json.dumps(v)))
def test_what_is_json_is_read_as_it_is(value: object) -> None:
    text = json.dumps(value)
    try:
        assert load_json(text) == value
        assert load_json(json.dumps(value, ensure_ascii=False)) == value
    except FrameRefused as e:
        assert "64 bits" in e.message or "surrogate" in e.message or "UTF-8" in e.message


@settings(max_examples=300, deadline=None)
@given(st.text('[]{}",\\:a1 ', max_size=60), st.integers(0, 6))
def test_depth_is_measured_as_the_scanner_sees_it(text: str, depth: int) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        return

    def deep(v: object) -> int:
        inner = v.values() if isinstance(v, dict) else v if isinstance(v, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    assert strict_json.too_deep(text, depth) == (deep(value) > depth)


# --- each defence broken is seen

BREAKS: dict[str, tuple[object, str, object, list[str]]] = {
    "depth": (strict_json, "too_deep", lambda text, depth: False, ["bad36-balanced"]),
    "surrogates": (strict_json, "_SURROGATE_ESCAPE", strict_json.re.compile("(?!)"), ["bad37-high", "bad37-low"]),
    "hooks": (
        strict_json,
        "_DECODER",
        json.JSONDecoder(),
        ["bad33-nan", "bad34-int", "bad34-double", "bad35-duplicate"],
    ),
    "utf8": (strict_json, "decode", lambda text: text, ["bad37-raw"]),
    "nul": (parsing, "find_nul", lambda value, path: None, ["bad38-prompt", "bad38-path"]),
    "size": (parsing, "_too_large", lambda text, limit: False, []),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_defence_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    room, attribute, broken, ids = BREAKS[name]
    monkeypatch.setattr(room, attribute, broken)
    if name == "size":
        with pytest.raises(pytest.fail.Exception):
            test_a_prompt_over_the_limit("x" * 200_001)
    for case in ids:
        text = next(c[1] for c in [*JSON_CASES, *FRAME_CASES] if c[0] == case)
        expected = "invalid_json" if text in [c[1] for c in JSON_CASES] else "invalid_field"
        try:
            load_json(text) if expected == "invalid_json" else parse_resumable(text, first=True)
        except FrameRefused as e:
            assert e.code != expected, case
