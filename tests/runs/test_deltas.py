"""What is streamed is scrubbed on its way into the log, and characters that come in halves are put together."""

from __future__ import annotations

import json

import pytest

from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev
from reconvene.runs import deltas as deltas_module
from reconvene.runs.deltas import Deltas


async def streamed(*pieces: str) -> str:
    written: list[NewEvent] = []
    deltas = Deltas("r1", 1, written.extend)
    for piece in pieces:
        deltas.add(ev.Text, "r1.0.0", piece)
    deltas.flush()
    text = "".join(json.loads(e.content)["text"] for e in written)
    assert text == deltas.texts.get("r1.0.0", "")
    return text


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (("a\ud800", "b <b>and</b>"), "a\ufffdb <b>and</b>"),
        (("a\x00b <b>", "and</b>"), "ab <b>and</b>"),
        (("a\x1b[2Jb", " c"), "ab c"),
        (("a \ud83d", "\ude00 b"), "a \U0001f600 b"),
    ],
    ids=["bad123-surrogate", "bad123-nul", "bad123-ansi", "bad123-halves"],
)
async def test_what_is_streamed_is_scrubbed(pieces: tuple[str, ...], shown: str) -> None:
    assert await streamed(*pieces) == shown


async def test_control_without_scrubbing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas_module, "scrub", lambda text: text)
    assert "\x00" in await streamed("a\x00b")
