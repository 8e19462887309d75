"""An accept on disk: exactly the accepted bytes or none, everybody else's bytes untouched, and a typed answer."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Plan, Transition, Writer, change_of, disk, slot, transitions, undo_of
from reconvene.workspace.edits.disk import Disk, has_writer
from reconvene.workspace.names import is_temporary
from reconvene.workspace.reading import blob_id
from reconvene.workspace.workspace import Workspace

Tree = dict[str, tuple[bytes | str | None, int]]


def tree(root: Path) -> Tree:
    """Every path below a folder with its bytes (a link: its target; a folder: None) and mode."""
    found: Tree = {}
    for path in root.rglob("*"):
        st = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (content, stat.S_IMODE(st.st_mode))
    return found


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(tmp_path / "contents")


@pytest.fixture
def writer(root: Path, contents: Contents) -> Writer:
    return writer_of(root, contents)


def writer_of(root: Path, contents: Contents, disk: Disk | None = None) -> Writer:
    return Writer(Workspace.open(root, data_dir=None, limits=Limits()), contents, disk=disk)


THREE = (
    Transition("edit.py", b"old\n", b"new\n"),
    Transition("made/of/new.py", None, b"created"),
    Transition("gone.py", b"deleted", None),
)


@pytest.fixture
def three(root: Path) -> tuple[Transition, ...]:
    """An edit, a creation in a new folder, and a deletion."""
    (root / "edit.py").write_bytes(b"old\n")
    (root / "gone.py").write_bytes(b"deleted")
    (root / "edit.py").chmod(0o640)
    (root / "gone.py").chmod(0o755)
    return THREE


def test_an_edit_a_creation_and_a_deletion(root: Path, writer: Writer, three: tuple[Transition, ...]) -> None:
    plan = writer.plan(three)
    assert Plan.from_json(plan.to_json()) == plan
    outcome = writer.apply(plan)
    assert (outcome.status, outcome.error, outcome.unsettled) == ("applied", None, False)
    assert [(f.path, f.state, f.on_disk) for f in outcome.files] == [
        (t.path, "done", t.new and blob_id(t.new)) for t in three
    ]
    umask = os.umask(0)
    os.umask(umask)
    assert tree(root) == {
        "edit.py": (b"new\n", 0o640),
        "made": (None, 0o777 & ~umask),
        "made/of": (None, 0o777 & ~umask),
        "made/of/new.py": (b"created", 0o666 & ~umask),
    }
    # Doing it again does nothing.
    assert writer.apply(plan).status == "applied"
    assert writer.recover(plan).status == "applied"


@pytest.mark.parametrize(
    ("base", "new"),
    [
        (b"a\r\nb\r\n", b"a\r\nc\r\n"), (b"\xef\xbb\xbfa", b"\xef\xbb\xbfb"), (b"a\n", b"a"), (b"\0\1", b"\0\2"), (b"\xff\n", b"\xfe\n"),
        (b"", b"x"), (b"x", b""),
    ],
    ids=["crlf", "bom", "newline-lost", "binary", "latin-1", "filled", "emptied"],
)  # fmt: skip
def test_bytes_are_what_was_accepted(root: Path, writer: Writer, base: bytes, new: bytes) -> None:
    (root / "f").write_bytes(base)
    change = change_of("f", base, new)
    outcome = writer.apply(writer.plan(transitions(change, base, new, {h.id for h in change.hunks})))
    assert outcome.status == "applied"
    assert (root / "f").read_bytes() == new


def test_a_rename_takes_the_mode_along(root: Path, writer: Writer) -> None:
    (root / "old.sh").write_bytes(b"a\nb\n")
    (root / "old.sh").chmod(0o750)
    change = change_of("bin/new.sh", b"a\nb\n", b"a\nc\n", old_path="old.sh")
    steps = transitions(change, b"a\nb\n", b"a\nc\n", {"h1", "h2"})
    plan = writer.plan(steps)
    assert writer.apply(plan).status == "applied"
    after = tree(root)
    assert after.pop("bin")[0] is None
    assert after == {"bin/new.sh": (b"a\nc\n", 0o750)}
    assert writer.apply(writer.undo([plan])).status == "applied"
    assert tree(root) == {"old.sh": (b"a\nb\n", 0o750)}


def test_two_files_change_names(root: Path, writer: Writer) -> None:
    (root / "a").write_bytes(b"A")
    (root / "b").write_bytes(b"B")
    (root / "a").chmod(0o755)
    (root / "b").chmod(0o640)
    there = transitions(change_of("b", b"A", b"A", old_path="a"), b"A", b"A", {"h1"})
    back = transitions(change_of("a", b"B", b"B", old_path="b"), b"B", b"B", {"h1"})
    plan = writer.plan([there[0], back[0], there[1], back[1]])
    assert len(plan.steps) == 2
    assert writer.apply(plan).status == "applied"
    assert tree(root) == {"a": (b"B", 0o640), "b": (b"A", 0o755)}
    assert writer.apply(writer.undo([plan])).status == "applied"
    assert tree(root) == {"a": (b"A", 0o755), "b": (b"B", 0o640)}


def test_a_rename_that_changes_case_only(root: Path, writer: Writer) -> None:
    (root / "readme.md").write_bytes(b"x")
    change = change_of("README.md", b"x", b"x", old_path="readme.md")
    assert writer.apply(writer.plan(transitions(change, b"x", b"x", {"h1"}))).status == "applied"
    assert os.listdir(root) == ["README.md"]


class CaseBlind(Disk):
    """A file system that takes `readme` and `README` for one."""

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        if name not in ("look", "open_file", "rename_new", "exchange", "remove"):
            return method

        def call(folder: int, *names: bytes) -> Any:
            there = {n.lower(): n for n in self.names(folder)}
            real = [there.get(n.lower(), n) for n in names]
            if name == "rename_new":
                if real[1] in there.values():
                    raise FileExistsError(errno.EEXIST, "")
                real[1] = names[1]
            return method(folder, *real)

        return call


@pytest.mark.parametrize("new", [b"x", b"y"])
def test_a_rename_that_changes_case_only_where_case_does_not_count(root: Path, contents: Contents, new: bytes) -> None:
    (root / "readme.md").write_bytes(b"x")
    writer = writer_of(root, contents, CaseBlind())
    change = change_of("README.md", b"x", new, old_path="readme.md")
    steps = transitions(change, b"x", new, {h.id for h in change.hunks})
    assert writer.stale(steps) == ()
    plan = writer.plan(steps)
    for _ in range(2):
        assert writer.apply(plan).status == "applied"
        assert {p: c for p, (c, _) in tree(root).items()} == {"README.md": new}
    back = writer.undo([plan])
    for _ in range(2):
        assert writer.apply(back).status == "applied"
        assert {p: c for p, (c, _) in tree(root).items()} == {"readme.md": b"x"}


def test_a_mode_alone(root: Path, writer: Writer) -> None:
    (root / "run").write_bytes(b"#!x")
    (root / "run").chmod(0o644)
    inode = (root / "run").stat().st_ino
    plan = writer.plan([Transition("run", b"#!x", b"#!x", 0o755)])
    assert writer.apply(plan).status == "applied"
    assert ((root / "run").stat().st_ino, tree(root)["run"]) == (inode, (b"#!x", 0o755))
    assert writer.apply(writer.undo([plan])).status == "applied"
    assert tree(root)["run"] == (b"#!x", 0o644)


def test_odd_names(root: Path, writer: Writer) -> None:
    """Names are taken in the display form too, which is what a person and a model saw."""
    for name in (b"latin\xe9", b"line\nbreak", b"back\\slash", b" blank ", "ü".encode()):
        (root / os.fsdecode(name)).write_bytes(b"old")
    plan = writer.plan(
        [Transition(p, b"old", b"new") for p in ("latin\\xe9", "line\\x0abreak", "back\\\\slash", " blank ", "ü")]
    )
    assert writer.apply(Plan.from_json(plan.to_json())).status == "applied"
    assert all(c == b"new" for c, _ in tree(root).values())


@pytest.mark.parametrize(
    ("path", "code"),
    [("../outside", "path_outside_root"), ("/etc/x", "path_outside_root"), ("a/../../x", "path_outside_root"), ("a\0b", "invalid_path"),
     ("", "invalid_path"), ("d/.reconvene-0123456789abcdef-0", "invalid_path"), ("x" * 256, "name_too_long")],
    ids=["bad74-dotdot", "bad74-absolute", "bad74-inner-dotdot", "bad80-nul", "empty", "our-own", "bad81-long"],
)  # fmt: skip
def test_paths_that_are_none(writer: Writer, path: str, code: str) -> None:
    with pytest.raises(ReconveneError) as refused:
        writer.plan([Transition(path, None, b"x")])
    assert refused.value.code == code


# -- somebody else was there


def edited(root: Path) -> None:
    (root / "edit.py").write_bytes(b"theirs")


def deleted(root: Path) -> None:
    (root / "edit.py").unlink()


def created(root: Path) -> None:
    (root / "made/of").mkdir(parents=True)
    (root / "made/of/new.py").write_bytes(b"theirs")


def changed_before_deletion(root: Path) -> None:
    (root / "gone.py").write_bytes(b"theirs")


def became_a_folder(root: Path) -> None:
    (root / "edit.py").unlink()
    (root / "edit.py").mkdir()


def became_a_link(root: Path) -> None:
    (root / "edit.py").rename(root / "away")
    (root / "edit.py").symlink_to("away")


def became_a_pipe(root: Path) -> None:
    (root / "edit.py").unlink()
    os.mkfifo(root / "edit.py")


CLASHES = {
    "bad97-edited": (edited, "edit.py", "file"),
    "bad98-deleted": (deleted, "edit.py", None),
    "bad98-created": (created, "made/of/new.py", "file"),
    "bad97-changed-before-deletion": (changed_before_deletion, "gone.py", "file"),
    "bad85-a-folder-now": (became_a_folder, "edit.py", "?"),
    "bad99-a-link-now": (became_a_link, "edit.py", "?"),
    "bad84-a-pipe-now": (became_a_pipe, "edit.py", "?"),
}


@pytest.mark.parametrize("name", CLASHES)
def test_a_clash_writes_nothing_and_is_named(
    root: Path, writer: Writer, contents: Contents, three: tuple[Transition, ...], name: str
) -> None:
    change, path, on_disk = CLASHES[name]
    plan = writer.plan(three)
    assert writer.stale(three) == ()
    change(root)
    stale = writer.stale(three)
    assert [f.path for f in stale] == [path]
    before = {p: v for p, v in tree(root).items() if v[0] is not None} if name != "bad84-a-pipe-now" else None
    outcome = writer.apply(plan)
    assert outcome.status == "conflict"
    assert outcome.error is not None and outcome.error.code == "conflict" and path in outcome.error.message
    (clash,) = (f for f in outcome.files if f.state == "conflict")
    assert clash.path == path and clash.note
    assert {f.state for f in outcome.files if f is not clash} == {"not_done"}
    assert clash.on_disk == (blob_id(b"theirs") if on_disk == "file" else on_disk)
    if on_disk == "file":
        # All three sides of the view are there.
        sides = [h and contents.get(h) for h in (clash.base_hash, clash.new_hash, clash.on_disk)]
        assert sides == [*next([t.base, t.new] for t in three if t.path == path), b"theirs"]
    if before is not None:
        assert {p: v for p, v in tree(root).items() if v[0] is not None} == before
    assert not list(leftovers(root))


def leftovers(root: Path) -> Iterator[str]:
    return (n for _, _, names in os.walk(root) for n in names if is_temporary(n))


def test_bad99_the_parent_is_a_link_now(root: Path, writer: Writer) -> None:
    outside = root.parent / "away"
    outside.mkdir()
    (outside / "f").write_bytes(b"old")
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"old")
    plan = writer.plan([Transition("d/f", b"old", b"new"), Transition("d/g", None, b"new")])
    (root / "d").rename(root / "elsewhere")
    (root / "d").symlink_to(outside)
    outcome = writer.apply(plan)
    assert outcome.status == "conflict"
    assert outcome.error is not None and outcome.error.code == "path_outside_root"
    assert [(f.state, f.on_disk) for f in outcome.files] == [("conflict", "?")] * 2
    assert {p: c for p, (c, _) in tree(outside).items()} == {"f": b"old"}
    assert (root / "elsewhere/f").read_bytes() == b"old"


def test_bad98_the_folder_is_gone(root: Path, writer: Writer) -> None:
    """What was in it is a conflict; what is to be made in it makes it anew; what was to be deleted is."""
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"old")
    edit = writer.plan([Transition("d/f", b"old", b"new")])
    delete = writer.plan([Transition("d/f", b"old", None)])
    create = writer.plan([Transition("d/g", None, b"new")])
    shutil.rmtree(root / "d")
    outcome = writer.apply(edit)
    assert (outcome.status, outcome.files[0].on_disk, outcome.files[0].note) == (
        "conflict",
        None,
        "d/f is not there any more.",
    )
    assert writer.apply(delete).status == "applied"
    assert os.listdir(root) == []
    assert writer.apply(create).status == "applied"
    assert {p: c for p, (c, _) in tree(root).items()} == {"d": None, "d/g": b"new"}


def test_bad92_the_code_base_is_gone(root: Path, writer: Writer, three: tuple[Transition, ...]) -> None:
    plan = writer.plan(three)
    root.rename(root.parent / "moved")
    root.mkdir()
    for act in (writer.apply, writer.recover, writer.status, writer.settle):
        with pytest.raises(ReconveneError, match="workspace_gone"):
            act(plan)
    assert os.listdir(root) == []
    assert (root.parent / "moved/edit.py").read_bytes() == b"old\n"


class Between(Disk):
    """Somebody does something just before the n-th exchange or rename to or from a path."""

    def __init__(self, acts: dict[int, Callable[[], Any]], after: dict[int, Callable[[], Any]] | None = None) -> None:
        self.acts, self.after, self.moves = acts, after or {}, 0

    def exchange(self, folder: int, name: bytes, with_name: bytes, hold: bytes) -> None:
        self._move(lambda: super(Between, self).exchange(folder, name, with_name, hold))

    def rename_new(self, folder: int, name: bytes, to: bytes) -> None:
        if b".part" in name:
            super().rename_new(folder, name, to)
        else:
            self._move(lambda: super(Between, self).rename_new(folder, name, to))

    def _move(self, move: Callable[[], None]) -> None:
        self.moves += 1
        n = self.moves
        if n in self.acts:
            self.acts[n]()
        move()
        if n in self.after:
            self.after[n]()


class NoExchange(Between):
    """A file system that cannot exchange."""

    exchanges = False

    def exchange(self, folder: int, name: bytes, with_name: bytes, hold: bytes) -> None:
        Disk.exchange(self, folder, name, with_name, hold)


def save(path: Path, content: bytes) -> Callable[[], None]:
    """As most editors do."""

    def act() -> None:
        beside = path.with_name(path.name + "~")
        beside.write_bytes(content)
        beside.rename(path)

    return act


def test_a_save_in_the_last_moment_wins(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    disk = Between({1: save(root / "f", b"theirs")})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert outcome.status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"theirs"}
    assert disk.moves == 2


def test_a_save_while_it_is_put_back_wins_too(root: Path, contents: Contents) -> None:
    """The first save comes before the exchange, the second on top of our content before the exchange back: without
    looking again it would vanish."""
    (root / "f").write_bytes(b"old")
    disk = Between({1: save(root / "f", b"first"), 2: save(root / "f", b"second")})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert outcome.status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"second"}
    assert [contents.get(h) for h in outcome.files[0].kept] == [b"first"]


def test_a_save_in_place_on_top_of_ours_wins(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    disk = Between({1: save(root / "f", b"first"), 2: lambda: (root / "f").write_bytes(b"second")})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"second"}
    assert [contents.get(h) for h in outcome.files[0].kept] == [b"first"]


def test_deleted_while_it_is_put_back(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    disk = Between({1: save(root / "f", b"first"), 2: (root / "f").unlink})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert (outcome.status, outcome.files[0].on_disk) == ("conflict", None)
    assert os.listdir(root) == []
    assert [contents.get(h) for h in outcome.files[0].kept] == [b"first"]


def test_changed_in_the_moment_of_deletion(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    writer = writer_of(root, contents, Between({1: save(root / "f", b"first"), 2: save(root / "f", b"second")}))
    outcome = writer.apply(writer.plan([Transition("f", b"old", None)]))
    assert outcome.status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"second"}
    assert [contents.get(h) for h in outcome.files[0].kept] == [b"first"]


def test_created_in_the_moment_of_creation(root: Path, contents: Contents) -> None:
    writer = writer_of(root, contents, Between({1: save(root / "f", b"theirs")}))
    outcome = writer.apply(writer.plan([Transition("f", None, b"new")]))
    assert outcome.status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"theirs"}


@pytest.mark.parametrize("moment", [2, 3], ids=["at-the-second", "at-the-third"])
def test_files_before_the_clash_are_taken_back(
    root: Path, contents: Contents, three: tuple[Transition, ...], moment: int
) -> None:
    """Deletion, then edit, then creation; the folders that were made go too, and inodes are the ones of before."""
    path = {2: "edit.py", 3: "made/of/new.py"}[moment]
    inodes = {n: (root / n).stat().st_ino for n in ("edit.py", "gone.py")}
    writer = writer_of(root, contents, Between({moment: save(root / path, b"theirs")}))
    before = tree(root)
    outcome = writer.apply(writer.plan(three))
    assert outcome.status == "conflict"
    assert [f.state for f in outcome.files] == [
        {True: "conflict", False: "not_done"}[f.path == path] for f in outcome.files
    ]
    after = tree(root)
    assert (root / path).read_bytes() == b"theirs"
    for name in ("edit.py", "gone.py"):
        if name != path:
            assert after[name] == before[name]
            assert (root / name).stat().st_ino == inodes[name]
    if moment == 2:
        assert "made" not in after


def test_a_change_of_ours_is_not_taken_back(root: Path, contents: Contents) -> None:
    """The first file was written and changed by somebody at once; then the second clashes. Both are named."""
    for name in ("a", "b"):
        (root / name).write_bytes(b"old")
    disk = Between({2: save(root / "b", b"their b")}, {1: save(root / "a", b"new, and theirs")})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("a", b"old", b"new"), Transition("b", b"old", b"new")]))
    assert outcome.status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"a": b"new, and theirs", "b": b"their b"}
    assert [(f.state, f.on_disk) for f in outcome.files] == [
        ("conflict", blob_id(b"new, and theirs")),
        ("conflict", blob_id(b"their b")),
    ]


def test_permission_bits_of_the_last_moment_hold(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    writer = writer_of(root, contents, Between({1: lambda: (root / "f").chmod(0o700)}))
    assert writer.apply(writer.plan([Transition("f", b"old", b"new")])).status == "applied"
    assert tree(root)["f"] == (b"new", 0o700)


def test_the_folder_is_moved_out_of_the_code_base(root: Path, contents: Contents) -> None:
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"old")
    away = root.parent / "moved"
    writer = writer_of(root, contents, Between({}, {1: lambda: (root / "d").rename(away)}))
    outcome = writer.apply(writer.plan([Transition("d/f", b"old", b"new")]))
    assert outcome.status != "applied"
    assert {p: c for p, (c, _) in tree(away).items()} == {"f": b"old"}


# -- programs that write in place


def test_a_file_that_is_open_for_writing_is_left_alone(root: Path, writer: Writer) -> None:
    (root / "f").write_bytes(b"old")
    plan = writer.plan([Transition("f", b"old", b"new")])
    with (root / "f").open("r+b") as held:
        outcome = writer.apply(plan)
        assert outcome.status == "conflict"
        assert outcome.files[0].note == "Another program has f open for writing."
        held.write(b"theirs")
    assert (root / "f").read_bytes() == b"theirs"
    (root / "f").write_bytes(b"old")
    with (root / "f").open("rb"):  # reading disturbs nothing
        assert writer.apply(plan).status == "applied"


def test_opened_for_writing_in_the_last_moment(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    held: list[Any] = []
    writer = writer_of(root, contents, Between({1: lambda: held.append((root / "f").open("r+b"))}))
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert outcome.status == "conflict"
    held[0].write(b"theirs")
    held[0].close()
    assert (root / "f").read_bytes() == b"theirs"


def test_a_lease_that_is_broken_does_not_end_the_server(tmp_path: Path) -> None:
    """Asked while somebody opens and closes the file as fast as can be: SIGIO would be the end of this process."""
    path = tmp_path / "f"
    path.write_bytes(b"x")
    opener = "import os,sys\nfor _ in range(20000):\n    os.close(os.open(sys.argv[1], os.O_RDWR))"
    other = subprocess.Popen([os.sys.executable, "-S", "-c", opener, str(path)])  # type: ignore[attr-defined]
    fd = os.open(path, os.O_RDONLY)
    told = set()
    while other.poll() is None:
        told.add(has_writer(fd))
    os.close(fd)
    assert other.returncode == 0
    print(told)
    assert False in told


class Blind(Disk):
    """A file system that does not tell who writes (a network's)."""

    def look(self, folder: int, name: bytes) -> Any:
        from dataclasses import replace

        seen = super().look(folder, name)
        return seen and replace(seen, written=None)


def test_late_bytes_are_kept_and_reported(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    (root / "g").write_bytes(b"old")
    writer = writer_of(root, contents, Blind())
    plan = writer.plan([Transition("f", b"old", b"new"), Transition("g", b"old", None)])
    with (root / "f").open("r+b") as held, (root / "g").open("r+b") as also:
        outcome = writer.apply(plan)
        assert (outcome.status, outcome.unsettled) == ("applied", True)
        held.write(b"late")
        also.write(b"late, too")
    settled = writer.settle(plan)
    assert not settled.waiting
    assert [(late.path, contents.get(late.hash or "")) for late in settled.late] == [
        ("f", b"late"),
        ("g", b"late, too"),
    ]
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"new"}
    assert writer.settle(plan) == type(settled)((), False)


def test_settling_waits_for_a_program_that_still_writes(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    plan = writer_of(root, contents).plan([Transition("f", b"old", b"new")])
    with (root / "f").open("r+b") as held:
        assert writer_of(root, contents, Blind()).apply(plan).unsettled
        writer = writer_of(root, contents)
        assert writer.settle(plan).waiting
        held.write(b"late")
        held.flush()
        assert writer.settle(plan).waiting
        (late,) = writer.settle(plan, final=True).late
        assert contents.get(late.hash or "") == b"late"
    assert os.listdir(root) == ["f"]


# -- what the disk refuses


def test_bad100_a_read_only_file(root: Path, writer: Writer, three: tuple[Transition, ...]) -> None:
    (root / "gone.py").chmod(0o444)
    refused(writer, root, three, "permission_denied", "gone.py")
    (root / "gone.py").chmod(0o644)
    assert writer.apply(writer.plan(three)).status == "applied"


def test_bad100_a_read_only_folder(as_nobody: Callable[[Callable[[], None]], None]) -> None:
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        read_only_folder(Path(base), as_nobody)


def read_only_folder(base: Path, as_nobody: Callable[[Callable[[], None]], None]) -> None:
    root = base / "repo"
    (root / "d").mkdir(parents=True)
    (base / "nobody's").mkdir()
    for name in ("f", "d/f", "d/g"):
        (root / name).write_bytes(b"old")
        (root / name).chmod(0o666)
    for folder in (root, base / "nobody's"):
        folder.chmod(0o777)
    (root / "d").chmod(0o555)

    def test() -> None:
        writer = writer_of(root, Contents(root.parent / "nobody's"))
        steps = [Transition("f", b"old", b"new"), Transition("d/f", b"old", b"new")]
        refused(writer, root, steps, "permission_denied", "d/f")
        refused(
            writer, root, [Transition("f", b"old", b"new"), Transition("d/g", b"old", None)], "permission_denied", "d/g"
        )
        refused(
            writer,
            root,
            [Transition("f", b"old", b"new"), Transition("d/new", None, b"new")],
            "permission_denied",
            "d/new",
        )

    as_nobody(test)


def refused(writer: Writer, root: Path, steps: Any, code: str, path: str) -> None:
    before = tree(root)
    plan = writer.plan(steps)
    outcome = writer.apply(plan)
    assert outcome.status == "none"
    assert outcome.error is not None and outcome.error.code == code, outcome.error
    assert path in outcome.error.message
    assert {f.state for f in outcome.files} == {"not_done"}
    assert tree(root) == before


class Failing(Disk):
    """The n-th system call that changes something fails."""

    def __init__(self, at: int, code: int) -> None:
        self.at, self.code, self.calls = at, code, 0

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        if name not in ("make_folder", "create", "write", "dress", "chmod", "sync", "rename_new", "exchange", "remove"):
            return method

        def call(*args: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise OSError(self.code, os.strerror(self.code))
            return method(*args)

        return call


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EROFS, "permission_denied"), (errno.EIO, "tool_failed")],
    ids=["bad101-full", "bad101-quota", "bad100-read-only", "bad101-broken"],
)  # fmt: skip
def test_any_call_may_fail(tmp_path: Path, contents: Contents, code: int, expected: str) -> None:
    """Every system call of the plan, one after the other: everything as before and said why, or everything done."""
    seen = set()
    for at in range(1, 200):
        root = tmp_path / f"root{at}"
        root.mkdir()
        (root / "edit.py").write_bytes(b"old\n")
        (root / "gone.py").write_bytes(b"deleted")
        before = tree(root)
        disk = Failing(at, code)
        writer = writer_of(root, contents, disk)
        plan = writer.plan(THREE)
        outcome = writer.apply(plan)
        seen.add(outcome.status)
        if disk.calls < at:
            break
        if outcome.status == "none":
            assert outcome.error is not None and outcome.error.code == expected
            assert {p: v for p, v in tree(root).items() if not is_temporary(p)} == before
        else:
            assert outcome.status == "applied"
        # What lies beside a path because it could not be removed is not forgotten.
        disk.at = 0
        if outcome.unsettled:
            assert not writer.settle(plan).waiting
        assert not any(is_temporary(name.rpartition("/")[2]) for name in tree(root)), f"call {at}"
        # The accept still pends, and is done once the disk allows it.
        assert writer.apply(plan).status == "applied"
        assert {p: c for p, (c, _) in tree(root).items() if c is not None} == {
            "edit.py": b"new\n",
            "made/of/new.py": b"created",
        }
    print(f"{at - 1} calls failed once each", seen)
    assert at > 20 and seen == {"none", "applied"}


def test_bad101_a_disk_that_is_really_full(tmp_path: Path, contents: Contents) -> None:
    """A file system of 256 KiB, where this may be mounted."""
    root = tmp_path / "small"
    root.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(root)], capture_output=True).returncode
        == 0
    )
    try:
        (root / "f").write_bytes(b"old")
        (root / "g").write_bytes(b"old")
        (root / "filler").write_bytes(b"x" * 150_000)
        steps = [Transition("f", b"old", b"new"), Transition("g", b"old", b"n" * 200_000)]
        writer = writer_of(root, contents, None if mounted else Failing(8, errno.ENOSPC))
        refused(writer, root, steps, "disk_full", "g" if mounted else "")
        (root / "filler").unlink()
        assert writer.apply(writer.plan(steps)).status == "applied"
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(root)], check=True)


def test_hard_links_are_told(root: Path, writer: Writer) -> None:
    (root / "f").write_bytes(b"old")
    os.link(root / "f", root / "same")
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    assert outcome.status == "applied"
    assert outcome.files[0].note == "The file had other names (hard links); those keep the old content."
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"new", "same": b"old"}


def test_attributes_and_owner_are_kept(root: Path, writer: Writer) -> None:
    (root / "f").write_bytes(b"old")
    try:
        os.setxattr(root / "f", "user.note", b"mine")
        attributes = True
    except OSError:
        attributes = False  # this file system has none
    if os.geteuid() == 0:
        os.chown(root / "f", 1234, 2345)
    owner = [(root / "f").stat().st_uid, (root / "f").stat().st_gid]
    assert writer.apply(writer.plan([Transition("f", b"old", b"new")])).status == "applied"
    assert [(root / "f").stat().st_uid, (root / "f").stat().st_gid] == owner
    if attributes:
        assert os.getxattr(root / "f", "user.note") == b"mine"


def test_bad87_a_file_too_large_to_compare(root: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "f").write_bytes(b"old")
    plan = writer.plan([Transition("f", b"old", b"new")])
    monkeypatch.setattr(disk, "READABLE", 100)
    with (root / "f").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    outcome = writer.apply(plan)
    assert (outcome.status, outcome.files[0].on_disk) == ("conflict", "?")
    assert "not compared" in (outcome.files[0].note or "")
    assert (root / "f").stat().st_size == 1 << 40


def test_what_lies_beside_is_not_listed(root: Path, contents: Contents, git: Callable[..., str]) -> None:
    (root / "f").write_bytes(b"old")
    workspace = Workspace.open(root, data_dir=None, limits=Limits())
    listed = []
    disk = Between({1: lambda: listed.append((os.listdir(root), workspace.listing().paths))})
    plan = Writer(workspace, contents, disk=disk).plan([Transition("f", b"old", b"new")])
    assert Writer(workspace, contents, disk=disk).apply(plan).status == "applied"
    git(root, "init", "-q")
    disk.moves = 0
    assert Writer(workspace, contents, disk=disk).apply(undo_of([plan])).status == "applied"
    assert [(len(there), paths) for there, paths in listed] == [(2, ["f"]), (3, ["f"])]


def test_looking_once_only_is_caught(root: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control: what was swapped out goes back, and nobody looks at what came out then."""
    monkeypatch.setattr(slot, "_same", lambda seen, put: True)
    with pytest.raises(AssertionError):
        test_a_save_while_it_is_put_back_wins_too(root, contents)


def test_not_asking_who_writes_is_caught(root: Path, contents: Contents) -> None:
    """Mutation control: a program that holds the file open writes into what is not at the path any more."""
    with pytest.raises(AssertionError):
        test_a_file_that_is_open_for_writing_is_left_alone(root, writer_of(root, contents, Blind()))


# -- where files cannot be exchanged


def test_without_exchange_it_is_said_and_compared(root: Path, contents: Contents) -> None:
    (root / "f").write_bytes(b"old")
    writer = writer_of(root, contents, NoExchange({}))
    plan = writer.plan([Transition("f", b"old", b"new")])
    outcome = writer.apply(plan)
    assert outcome.status == "applied"
    assert outcome.files[0].note == "This file system cannot exchange two files, so the file was missing for a moment."
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"new"}
    save(root / "f", b"theirs")()
    assert writer.apply(writer.undo([plan])).status == "conflict"
    assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"theirs"}


@pytest.mark.parametrize("moment", range(1, 7))
def test_without_exchange_no_save_is_lost(root: Path, contents: Contents, moment: int) -> None:
    (root / "f").write_bytes(b"old")
    disk = NoExchange({moment: save(root / "f", b"theirs")})
    writer = writer_of(root, contents, disk)
    outcome = writer.apply(writer.plan([Transition("f", b"old", b"new")]))
    if disk.moves >= moment:
        assert {p: c for p, (c, _) in tree(root).items()} == {"f": b"theirs"}
        assert outcome.status == "conflict" or moment == 3  # at the third the new content had been in its place
    else:
        assert outcome.status == "applied"


def test_one_writer_takes_turns(root: Path, writer: Writer) -> None:
    """Two accepts of one file at once: one is applied, the other is a conflict, whichever comes first."""
    (root / "f").write_bytes(b"old")
    plans = [writer.plan([Transition("f", b"old", b"%d" % n)]) for n in range(8)]
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda p=p: outcomes.append(writer.apply(p).status)) for p in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["applied"] + ["conflict"] * 7
    assert list(tree(root)) == ["f"]
