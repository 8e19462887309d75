"""What `reconvene config` prints can be pasted, and starts us."""

from __future__ import annotations

import json
import os
from pathlib import Path

import platformdirs
import pytest

from reconvene.cli.main import app
from reconvene.cli.snippets import PLACES


@pytest.mark.parametrize("client", PLACES)
def test_a_snippet_is_json_with_an_absolute_command(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["config", client, "--data-dir", str(tmp_path)], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    place = PLACES[client]  # type: ignore[index]
    entry = said[place.path[0]][place.path[1]]
    assert os.access(entry["command"], os.X_OK) and entry["args"] == [place.command, "--data-dir", str(tmp_path)]


def test_the_usual_data_folder_is_not_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONVENE_DATA_DIR", raising=False)
    app(
        ["config", "zed", "--data-dir", platformdirs.user_data_dir("reconvene", appauthor=False)], standalone_mode=False
    )
    assert json.loads(capsys.readouterr().out)["agent_servers"]["Reconvene"]["args"] == ["acp"]
