"""`reconvene commands`: off by default, said by the person, kept in the data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconvene.cli import leave
from reconvene.errors import ReconveneError
from reconvene.workspace.permissions import Permission, Permissions


def test_it_is_off_until_somebody_says_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, root = tmp_path / "data", tmp_path / "project"
    root.mkdir()
    leave.commands(data, root, None, network=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["commands"] is False and not data.exists()
    leave.commands(data, root, "on", network=True, as_json=False)
    assert Permissions(data).of(str(root)) == Permission(commands=True, network=True)
    assert Permissions(data).of(str(tmp_path)) == Permission(), "it holds for this code base alone"
    assert (data / "permissions.json").stat().st_mode & 0o777 == 0o600
    leave.commands(data, root, "off", network=False, as_json=False)
    assert Permissions(data).of(str(root)) == Permission()


@pytest.mark.parametrize(
    ("wanted", "network", "code"),
    [("maybe", False, "invalid_field"), ("off", True, "invalid_field"), (None, True, "invalid_field")],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, wanted: str | None, network: bool, code: str) -> None:
    with pytest.raises(ReconveneError) as e:
        leave.commands(tmp_path / "data", tmp_path, wanted, network=network, as_json=False)
    assert e.value.code == code
    with pytest.raises(ReconveneError) as e:
        leave.commands(tmp_path / "data", tmp_path / "nowhere", "on", network=False, as_json=False)
    assert e.value.code == "root_not_found"


def test_a_broken_file_allows_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "permissions.json").write_text('{"/": 5}')
    with pytest.raises(ReconveneError) as e:
        Permissions(tmp_path).of("/")
    assert e.value.code == "data_dir_unusable"
