"""Which MCP servers there are: what was written comes back, and a file that is anything else names itself and nothing of its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconvene.agents.foreign_settings import FILE, ForeignServer, configure, configured
from reconvene.errors import ReconveneError


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    servers = {"a": ForeignServer("run", ["-x"], {"KEY": "1"}, "once"), "b": ForeignServer("other")}
    servers["c"] = ForeignServer(url="https://x.test/mcp", headers={"Authorization": "Bearer 1"})
    servers["d"] = ForeignServer(url="http://localhost:1/mcp", headers={"Authorization": "Bearer 1"})
    configure(tmp_path, servers)
    assert configured(tmp_path) == servers
    assert configured(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"a": "secret"},
        {"a": {}},
        {"a": {"command": ""}},
        {"a": {"command": ["secret"]}},
        {"a": {"command": "x", "args": "secret"}},
        {"a": {"command": "x", "args": [1]}},
        {"a": {"command": "x", "env": ["secret"]}},
        {"a": {"command": "x", "env": {"KEY": {"secret": 1}}}},
        {"a": {"command": "x", "approval": "secret"}},
        {"a": {"command": "x", "approval": ["never"]}},
        {"a": {"command": "x", "secret": 1}},
        {"a": {"command": "x", "url": "https://secret.test"}},
        {"a": {"url": "ftp://secret.test"}},
        {"a": {"url": "https://"}},
        {"a": {"url": "https://me:secret@x.test"}},
        {"a": {"url": "https://x.test:secret"}},
        {"a": {"url": "http://x.test", "headers": {"Authorization": "secret"}}},
        {"a": {"url": "https://x.test", "headers": {"Authorization": "a\r\nsecret: 1"}}},
        {"a": {"url": "https://x.test", "headers": {"a: secret": "1"}}},
    ],
    ids=str,
)
def test_anything_else_is_refused_without_a_word_of_it(tmp_path: Path, said: Any) -> None:
    (tmp_path / FILE).write_text(json.dumps(said))
    with pytest.raises(ReconveneError) as refused:
        configured(tmp_path)
    assert refused.value.code == "invalid_field" and FILE in refused.value.message
    assert "secret" not in refused.value.message


def test_a_name_that_none_can_have_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"No Name": {"command": "x"}, "ok": {"command": "x"}}))
    assert list(configured(tmp_path)) == ["ok"]
