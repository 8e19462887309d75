"""From the log to AG-UI: a golden file, the library's own models, and interrupts where our run waits."""

from __future__ import annotations

from typing import Any

from ag_ui.core import Event, Message
from pydantic import TypeAdapter
from told import conversation, golden

from reconvene.adapters.agui.translation import Translator, messages

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)
_MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)


def of_run(run_id: str) -> list[dict[str, Any]]:
    return [e for e in conversation() if e["run_id"] == run_id]


def translated(events: list[dict[str, Any]], translator: Translator | None = None) -> list[dict[str, Any]]:
    translator = translator or Translator("t", "x")
    return [out for event in events for out in translator.apply(event)]


def test_the_conversation_is_translated_as_the_golden_file_has_it() -> None:
    made = translated(of_run("r1"))
    assert made == golden("agui", made)


def test_the_library_takes_every_event_and_message() -> None:
    for out in [*Translator("t", "x").begin(), *translated(of_run("r1")), *translated(of_run("r2"))]:
        _EVENT.validate_python(out)
    for message in messages(conversation()):
        _MESSAGE.validate_python(message)


def test_every_text_begins_once_and_ends_once() -> None:
    made = translated(of_run("r1"))
    for kind in ("TEXT_MESSAGE", "REASONING_MESSAGE"):
        begun = [o["messageId"] for o in made if o["type"] == f"{kind}_START"]
        assert begun == list(dict.fromkeys(begun))
        assert sorted(begun) == sorted(o["messageId"] for o in made if o["type"] == f"{kind}_END")


def test_a_resume_at_any_place_gives_what_was_missed_and_nothing_twice() -> None:
    events = of_run("r1")
    whole = translated(events)
    for cut in range(len(events) + 1):
        again = Translator("t", "x")
        first = translated(events[:cut], again)
        assert first + translated(events[cut:], again) == whole


def test_where_our_run_waits_the_agui_run_ends_with_an_interrupt_for_all_that_is_open() -> None:
    events = of_run("r1")
    asked = next(i for i, e in enumerate(events) if e["type"] == "question")
    waiting = {**events[asked], "type": "run", "content": {"status": "waiting"}}
    translator = Translator("t", "x")
    last = translated([*events[: asked + 1], waiting], translator)[-1]
    assert translator.finished and last["outcome"]["type"] == "interrupt"
    assert [i["id"] for i in last["outcome"]["interrupts"]] == ["r1.ask:1"]
    assert last["outcome"]["interrupts"][0]["responseSchema"]["enum"] == ["yes", "no"]
    _EVENT.validate_python(last)
    # Answered before the run was unloaded: there is nothing to interrupt for.
    assert not translated([*events[: asked + 2], waiting], quick := Translator("t", "x"))[-1].get("outcome")
    assert not quick.finished


def test_a_failed_run_is_an_error_with_its_sentence() -> None:
    assert translated(of_run("r2"))[-1]["type"] == "RUN_ERROR"
    assert translated(of_run("r2"))[-1]["message"] == "The key is refused."
