"""Lines from editors and agents, before any server sees them: what is no message is answered, and ends nothing."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from reconvene.cli import acp, jsonrpc

NONE = [
    pytest.param(b"not json", -32700, id="bad31-no-json"),
    pytest.param(b"[" * 100_000, -32700, id="bad36-deep"),
    pytest.param(b"[1]", -32600, id="bad32-array"),
    pytest.param(b'{"id":{},"method":"ping"}', -32600, id="bad44-id-object"),
    pytest.param(b'{"id":1.5,"method":"ping"}', -32600, id="bad44-id-fraction"),
    pytest.param(b'{"id":1,"method":["ping"]}', -32600, id="bad44-method-list"),
    pytest.param(b'{"id":1,"method":"initialize","params":[1]}', -32600, id="bad44-params-list"),
    pytest.param(b'{"id":1,"method":"session/prompt","params":{"_meta":"x"}}', -32600, id="bad44-meta-text"),
]


@pytest.mark.parametrize(("line", "code"), NONE)
def test_what_is_no_message_is_refused(line: bytes, code: int) -> None:
    with pytest.raises(jsonrpc.Refused) as refused:
        jsonrpc.read(line)
    assert refused.value.answer["error"]["code"] == code and refused.value.answer["id"] is None


@pytest.mark.parametrize("line", [b'{"id":"a","method":"x","params":{}}', b'{"method":"x"}', b'{"id":7,"result":null}'])
def test_what_is_one_is_read(line: bytes) -> None:
    assert jsonrpc.read(line) == json.loads(line)


async def taken(line: bytes, tmp_path: Path) -> list[dict[str, Any]]:
    out = io.BytesIO()
    await acp._Bridge(tmp_path, tmp_path, out)._take(line)
    return [json.loads(answer) for answer in out.getvalue().splitlines()]


@pytest.mark.parametrize(("line", "code"), NONE)
async def test_the_bridge_of_editors_answers_it(line: bytes, code: int, tmp_path: Path) -> None:
    assert [answer["error"]["code"] for answer in await taken(line, tmp_path)] == [code]


async def test_control_without_looking_the_bridge_would_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrpc, "read", json.loads)
    for line in (b'{"id":{},"method":"ping"}', b'{"id":1,"method":"initialize","params":[1]}'):
        with pytest.raises((TypeError, AttributeError)):
            await asyncio.wait_for(taken(line, tmp_path), 60)


def test_half_a_character_is_written_as_a_question_mark() -> None:
    message = jsonrpc.read(b'{"id":1,"method":"x","params":{"text":"a\\ud800 \xf0\x9f\x91\x8b"}}')
    assert json.loads(jsonrpc.written(message))["params"]["text"] == "a? \U0001f44b"
