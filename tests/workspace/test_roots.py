"""Which folders are served, by which names, and that a client learns nothing of the others."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace import workspace as workspace_module
from reconvene.workspace.roots import Roots
from reconvene.workspace.workspace import Workspace


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "data").mkdir()
    return Roots(data_dir=tmp_path / "data", limits=Limits())


def test_a_folder_is_served_once(roots: Roots, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = roots.add(root)
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/code").symlink_to(root)
    for path in (str(root), f"{root}/", f"{root}/../repo", tmp_path / "link", "repo", "./repo", "~/code"):
        assert roots.add(path) is workspace
    assert roots.all() == [workspace]
    assert (workspace.name, workspace.root) == ("repo", root)
    assert roots.by_root(str(root)) is workspace
    assert roots.by_root(f"{root}/") is None
    for word in ("repo", str(root), f"{root}/", f"{root}/.", str(tmp_path / "link")):
        assert roots.find(word) is workspace


def test_names_are_unique(roots: Roots, tmp_path: Path) -> None:
    folders = [
        tmp_path / "a/app",
        tmp_path / "b/app",
        tmp_path / "c/app-2",
        tmp_path / "d/app",
        tmp_path / "e/a\u202eb",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
    served = [roots.add(folder) for folder in folders]
    assert [w.name for w in served] == ["app", "app-2", "app-2-2", "app-3", r"a\u202eb"]
    assert [roots.find(w.name) for w in served] == served == roots.all()


@pytest.mark.parametrize(
    "words",
    [
        ["/etc", "/no/such/place", "nothing", "", ".", "..", "~", "~/repo", "/", "\0", "x" * 9999, "\ud800"],
        ["{root}-secret", "{root}/src", "{root}/..", "{root}/../other", "{parent}"],
    ],
    ids=["bad71-anywhere", "bad71-nearby"],
)
def test_a_client_learns_nothing_of_what_is_not_served(
    roots: Roots, root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (root / "src").mkdir()
    (root.parent / "repo-secret").mkdir()
    (root.parent / "other").mkdir()
    roots.add(root)

    def touched(*_: object, **__: object) -> None:
        raise AssertionError("a client's word was looked up on the disk")

    for name in ("stat", "lstat", "open", "scandir", "readlink", "listdir", "access"):
        monkeypatch.setattr(os, name, touched)
    monkeypatch.setattr(os.path, "realpath", touched)
    monkeypatch.setattr(os.path, "expanduser", touched)
    found = [roots.find(word.format(root=root, parent=root.parent)) for word in words]
    monkeypatch.undo()
    assert found == [None] * len(words)


@pytest.mark.parametrize(
    "path",
    ["/", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm", "//", "/proc/../proc", "", " ", "\0", "a\0b"],
    ids=lambda p: f"bad72-{p!r}",
)
def test_the_machine_is_not_served(roots: Roots, path: str) -> None:
    if path.startswith("/") and not os.path.isdir(path):
        path = "/dev"  # where there is no /proc
    with pytest.raises(ReconveneError) as e:
        roots.add(path)
    assert e.value.code == "root_not_allowed"
    with pytest.raises(ReconveneError, match="root_not_allowed"):
        Workspace.open(path, data_dir=None, limits=Limits())


@pytest.mark.parametrize("path", ["~", "~/code", "repo", ".", "./repo", "../x"], ids=lambda p: f"bad72-{p}")
def test_only_the_operators_word_is_expanded(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    with pytest.raises(ReconveneError, match=r"root_not_allowed.*in full"):
        Workspace.open(path, data_dir=None, limits=Limits())


def test_the_servers_own_and_the_persons_home_are_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path = Path(os.path.realpath(tmp_path))
    home, data = tmp_path / "home", tmp_path / "home/share/reconvene"
    for folder in (data / "indexes", home / "share/reconvene-code", home / "code"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "to-data").symlink_to(data)
    (tmp_path / "to-home").symlink_to(home)
    refused = [
        data,
        data / "indexes",
        home / "share",
        tmp_path,
        tmp_path / "to-data",
        home,
        tmp_path / "to-home",
        "~",
        "~/",
    ]
    for given in (data, tmp_path / "to-data"):
        roots = Roots(data_dir=given)
        for path in refused:
            with pytest.raises(ReconveneError, match="root_not_allowed"):
                roots.add(path)
        assert roots.all() == []
        assert roots.add("~/share/reconvene-code").name == "reconvene-code"
        assert roots.add("~/code").root == home / "code"
    # Mutation control: the home folder is refused for what it is, not for where the data folder happens to be.
    elsewhere = Roots(data_dir=tmp_path.parent)
    monkeypatch.setattr(workspace_module, "_within", lambda path, folder: False)
    with pytest.raises(ReconveneError, match="home folder"):
        elsewhere.add(home)
    monkeypatch.setattr(workspace_module, "_homes", set)
    assert elsewhere.add(home).root == home


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing", "root_not_found"),
        ("missing/x", "root_not_found"),
        ("loop", "root_not_found"),
        ("x" * 300, "root_not_found"),
        ("file", "not_a_directory"),
        ("file/x", "not_a_directory"),
    ],
    ids=["bad73-missing", "bad73-below-missing", "bad73-loop", "bad73-long", "bad73-file", "bad73-below-file"],
)
def test_what_cannot_be_served(roots: Roots, root: Path, path: str, code: str) -> None:
    (root / "file").write_text("x")
    (root / "loop").symlink_to("loop")
    with pytest.raises(ReconveneError) as e:
        roots.add(root / path)
    assert e.value.code == code


def test_a_folder_without_permission(as_nobody: Callable[[Callable[[], None]], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(os.path.realpath(folder)) / "closed"
        closed.mkdir()
        closed.parent.chmod(0o755)
        closed.chmod(0)

        def test() -> None:
            with pytest.raises(ReconveneError, match="permission_denied"):
                Roots(data_dir=None).add(closed)

        as_nobody(test)


def test_a_root_whose_name_is_no_text_is_refused(roots: Roots, root: Path) -> None:
    """Its path is kept with every session, as text."""
    os.mkdir(os.fsencode(root) + b"/\xff")
    with pytest.raises(ReconveneError, match=r"root_not_allowed.*UTF-8") as e:
        roots.add(os.fsdecode(os.fsencode(root) + b"/\xff"))
    str(e.value).encode()


def test_serving_it_again_takes_up_what_was_replaced(roots: Roots, root: Path) -> None:
    (root / "f").write_text("old")
    workspace = roots.add(root)
    root.rename(root.with_name("moved"))
    with pytest.raises(ReconveneError, match="root_not_found"):
        roots.add(root)
    root.mkdir()
    (root / "f").write_text("new")
    for look in (workspace.check_alive, lambda: workspace.read("f"), workspace.listing):
        with pytest.raises(ReconveneError, match="workspace_gone"):
            look()
    assert roots.add(root) is workspace
    assert workspace.read("f").text == "new"
    assert workspace.listing().paths == ["f"]


def test_many_at_once_serve_one(roots: Roots, root: Path) -> None:
    got: list[Workspace] = []
    threads = [threading.Thread(target=lambda: got.append(roots.add(root))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert set(got) == set(roots.all())
    assert len(roots.all()) == 1
