from pathlib import Path

import pytest

from reconvene.agents.paths import Wanted, locate
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("src/x/hub.py", "src/y/hub.py", "src/x/wheel.py", "docs/wheel.md", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\n")
    return Workspace.open(tmp_path, data_dir=None, limits=Limits())


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("README.md", Wanted("README.md")),
        ("./src//x/hub.py", Wanted("src/x/hub.py")),
        ("`src/x/hub.py`", Wanted("src/x/hub.py")),
        ("{root}/src/x/hub.py", Wanted("src/x/hub.py")),
        ("wheel.py", Wanted("src/x/wheel.py", written="wheel.py")),
        ("x/hub.py", Wanted("src/x/hub.py", written="x/hub.py")),
        ("src/x/hub.py:12-30", Wanted("src/x/hub.py", 12, 30)),
        ("src/x/hub.py#L12-L30", Wanted("src/x/hub.py", 12, 30)),
        ("src/x/hub.py:12", Wanted("src/x/hub.py", 12)),
        ("wheel.py:3", Wanted("src/x/wheel.py", 3, written="wheel.py")),
    ],
)
def test_what_a_model_writes_for_a_path(workspace: Workspace, written: str, found: Wanted) -> None:
    assert locate(workspace, written.format(root=workspace.root), ()) == found


def test_an_ambiguous_name_is_the_one_the_session_saw(workspace: Workspace) -> None:
    assert locate(workspace, "hub.py", ("src/y/hub.py", "README.md")).path == "src/y/hub.py"
    with pytest.raises(ReconveneError, match=r"2 files end with hub\.py: src/x/hub\.py, src/y/hub\.py"):
        locate(workspace, "hub.py", ())


def test_a_seen_path_that_is_gone_is_not_offered(workspace: Workspace) -> None:
    assert locate(workspace, "wheel.py", ("old/wheel.py",)).path == "src/x/wheel.py"


@pytest.mark.parametrize(
    ("written", "code", "sentence"),
    [
        ("whel.py", "file_not_found", "Did you mean src/x/wheel.py"),
        ("src/x", "file_not_found", "a folder with 2 files: src/x/hub.py, src/x/wheel.py"),
        ("nothing/of/it", "file_not_found", "There is no file"),
        ("", "file_not_found", "There is no file"),
        ("../../etc/passwd", "path_outside_root", "leads outside"),
        ("/etc/passwd", "path_outside_root", "leads outside"),
        ("a\0b", "invalid_path", "NUL"),
    ],
)
def test_what_is_no_file_says_what_to_do(workspace: Workspace, written: str, code: str, sentence: str) -> None:
    with pytest.raises(ReconveneError) as caught:
        locate(workspace, written, ())
    assert (caught.value.code, sentence in caught.value.message) == (code, True)
