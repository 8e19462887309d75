"""What was quoted of a file can be opened as it was; what cannot be kept is quoted all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest

from reconvene.agents import quoting
from reconvene.agents.orchestrator import build
from reconvene.workspace.contents import Contents
from reconvene.workspace.reading import blob_id

TEXT = "".join(f"line {n}\n" for n in range(1, 41))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "hub.py").write_text(TEXT)
    return root


async def read(root: Path, contents: Contents | None, path: str = "hub.py") -> Any:
    unwrap, deps = fakes.Unwrap(), fakes.deps_of(root, contents=contents)
    await fakes.drive(build(fakes.scripted([("read_file", {"path": path})], "done")), "q", deps, unwrap=unwrap)
    return unwrap.outcomes[0][1]


async def test_the_file_is_kept_as_it_was_read(root: Path, tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents")
    outcome = await read(root, contents)
    name = blob_id(TEXT.encode())
    assert outcome.places == [{"path": "hub.py", "start": 1, "end": 40, "symbol": None, "hash": name}]
    assert [(kind, json.loads(row)) for kind, row in outcome.private] == [("held", {"contents": [name]})]
    (root / "hub.py").write_text("another")
    assert contents.get(name) == TEXT.encode()


async def test_what_a_run_reads_again_is_kept_once_and_as_it_was_each_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, keeps, keep = Contents(tmp_path / "contents"), [], quoting._keep

    def counted(*args: Any) -> Any:
        keeps.append(args[1])
        return keep(*args)

    monkeypatch.setattr(quoting, "_keep", counted)
    deps = fakes.deps_of(root, contents=contents)
    outcomes: list[Any] = []
    for text in (TEXT, TEXT, "another\n", TEXT):
        (root / "hub.py").write_text(text)
        unwrap = fakes.Unwrap()
        await fakes.drive(build(fakes.scripted([("read_file", {"path": "hub.py"})], "done")), "q", deps, unwrap=unwrap)
        outcomes.append(unwrap.outcomes[0][1])
    one, other = blob_id(TEXT.encode()), blob_id(b"another\n")
    assert [o.places[0]["hash"] for o in outcomes] == [one, one, other, one]
    assert [bool(o.private) for o in outcomes] == [True, False, True, False] and len(keeps) == 2
    assert contents.get(one) == TEXT.encode() and contents.get(other) == b"another\n"


async def test_what_changed_while_it_was_read_is_not_taken_for_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = quoting._keep

    def late(*args: Any) -> Any:
        (root / "hub.py").write_text("another")
        return kept(*args)

    monkeypatch.setattr(quoting, "_keep", late)
    outcome = await read(root, Contents(tmp_path / "contents"))
    assert "hash" not in outcome.places[0] and outcome.private == ()


async def test_too_large_files_are_quoted_but_not_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoting, "LARGEST", len(TEXT) - 1)
    outcome = await read(root, Contents(tmp_path / "contents"))
    assert outcome.ok and outcome.places == [{"path": "hub.py", "start": 1, "end": 40, "symbol": None}]


async def test_without_a_store_nothing_is_kept(root: Path) -> None:
    outcome = await read(root, None)
    assert "hash" not in outcome.places[0] and outcome.private == ()
