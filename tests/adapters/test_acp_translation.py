"""From the log to ACP: golden files, the library's own models, and the property that a resume anywhere gives the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
from acp.schema import RequestPermissionRequest, SessionNotification
from told import conversation, golden

from reconvene.adapters.acp import requests
from reconvene.adapters.acp.prompting import as_text
from reconvene.adapters.acp.translation import Translator
from reconvene.errors import ReconveneError
from reconvene.sessions.state import Pending


def translated(events: list[dict[str, Any]], translator: Translator | None = None) -> list[dict[str, Any]]:
    translator = translator or Translator("/code")
    return [update for event in events for update in translator.apply(event)]


def texts(updates: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for u in updates:
        if "messageId" in u:
            key = (u["sessionUpdate"], u["messageId"])
            found[key] = found.get(key, "") + u["content"]["text"]
    return found


def test_the_conversation_is_translated_as_the_golden_file_has_it() -> None:
    updates = translated(conversation())
    assert updates == golden("acp", updates)


def test_the_library_takes_every_update() -> None:
    for update in translated(conversation()):
        SessionNotification.model_validate({"sessionId": "s_1", "update": update})


def test_a_resume_at_any_place_gives_what_was_missed_and_nothing_twice() -> None:
    events = conversation()
    whole = translated(events)
    for cut in range(len(events) + 1):
        before = Translator("/code")
        first = translated(events[:cut], before)
        again = Translator("/code")
        assert translated(events[:cut], again) == first  # folded silently on the next connection
        assert first + translated(events[cut:], again) == whole


def test_deltas_that_a_chunk_left_out_make_the_same_texts() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    events = conversation()
    replaced = {e["item_id"] for e in events if e["type"] == "message"}
    for _ in range(50):
        start, end = sorted(chance.sample(range(len(events) + 1), 2))
        chunk = events[start:end]
        done = {e["item_id"] for e in chunk if e["type"] == "message"} & replaced
        folded = [e for e in chunk if not (e["type"] in ("text", "reasoning") and e["item_id"] in done)]
        got = texts(translated(events[:start] + folded + events[end:]))
        wanted = texts(translated(events))
        assert (
            "".join(got.values()).replace(" ", "") != "" and got[("agent_thought_chunk", "r1/r1.1.0")] == "Look first."
        )
        for key, text in wanted.items():
            if "r1.1.1" not in key[1]:
                assert got[key] == text, (seed, start, end, key)


def test_a_file_without_a_newline_at_its_end_is_shown_without_one() -> None:
    call = next(u for u in translated(conversation()) if u.get("title") == "Create .github/ci.yml")
    assert call["content"][0] == {
        "type": "diff",
        "path": "/code/.github/ci.yml",
        "oldText": None,
        "newText": "on: push",
    }


def test_each_file_of_a_diff_asks_for_permission_and_a_risky_one_cannot_be_waved_through() -> None:
    diff = next(e for e in conversation() if e["type"] == "diff")["content"]
    asks = requests.of_files("s_1", diff["id"], diff["files"], Translator("/code"))
    for ask in asks:
        RequestPermissionRequest.model_validate(ask.params)
    kinds = [[o["kind"] for o in ask.params["options"]] for ask in asks]
    assert kinds == [["allow_once", "allow_always", "reject_once"], ["allow_once", "reject_once"]]
    assert requests.answer(asks[0], {"outcome": {"outcome": "selected", "optionId": "reject"}}) == (True, False)
    assert requests.answer(asks[1], {"outcome": {"outcome": "selected", "optionId": "accept_all"}}) == (False, None)
    assert requests.answer(asks[0], {"outcome": {"outcome": "cancelled"}}) == (False, None)


def pending(schema: dict[str, Any] | None, id: str = "r1.ask:1", kind: Any = "question") -> Pending:
    return Pending(id, kind, "r1", 3, "Which?", schema)


def test_a_question_becomes_a_form_else_options_else_text() -> None:
    choice = pending({"type": "string", "enum": ["a", "b"]})
    form = requests.of_question("s_1", choice, forms=True)
    assert form is not None and form.method == "elicitation/create"
    assert form.params["requestedSchema"]["properties"]["answer"]["enum"] == ["a", "b"]
    assert requests.answer(form, {"action": "accept", "content": {"answer": "b"}}) == (True, "b")
    assert requests.answer(form, {"action": "decline"}) == (False, None)
    options = requests.of_question("s_1", choice, forms=False)
    assert options is not None and options.method == "session/request_permission"
    assert requests.answer(options, {"outcome": {"outcome": "selected", "optionId": "1"}}) == (True, "b")
    assert requests.of_question("s_1", pending(None), forms=False) is None


def test_permission_for_a_command_is_asked_of_its_own_tool_call() -> None:
    ask = requests.of_question(
        "s_1", pending({"enum": ["once", "session", "no", "never"]}, "r1.leave:r1.3.c0"), forms=True
    )
    assert ask is not None and ask.params["toolCall"]["toolCallId"] == "r1.3.c0"
    kinds = {o["optionId"]: o["kind"] for o in ask.params["options"]}
    assert kinds == {"once": "allow_once", "session": "allow_always", "no": "reject_once", "never": "reject_always"}


def block(**fields: Any) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(**fields)


def test_a_prompt_with_files_names_and_quotes_them() -> None:
    link = block(type="resource_link", uri="file:///code/src/hub.py#L2:4", name="hub.py")
    text = block(type="resource", resource=block(uri="file:///code/n%20otes.md", text="a ``` fence"))
    made = as_text([block(type="text", text="See "), link, text], "/code")
    assert made == "See `src/hub.py:2-4``n otes.md`\n\nn otes.md:\n````\na ``` fence\n````"


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([block(type="image", data="")], id="image"),
        pytest.param([block(type="text", text="a\0b")], id="bad38-nul"),
    ],
)
def test_what_is_no_text_is_refused(blocks: list[Any]) -> None:
    with pytest.raises(ReconveneError) as e:
        as_text(blocks, "/code")
    assert e.value.code == "invalid_field"
