"""Whatever a coder answers, a proposal is made of it or it is told why not; no file is touched by that."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from pathlib import Path

import pytest

from reconvene.agents import proposal
from reconvene.agents.coder import approved
from reconvene.agents.proposal import diff_of, groups, propose, proposed
from reconvene.config import Limits
from reconvene.workspace import Workspace
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import chosen

PATHS = [
    "a.py",
    "sub/b.txt",
    "../x",
    "/etc/passwd",
    ".env",
    ".git/hooks/pre-commit",
    "Makefile",
    "link/x",
    "sub",
    "a.py/x",
    "n\u202ew.txt",
    "",
    ".",
]
PIECES = [
    "*** edit {p}", "*** create {p}", "*** delete {p}", "*** rename {p} -> {q}", "*** rename {p}", "<<<<<<< SEARCH", "=======",
    ">>>>>>> REPLACE", "<<<<<<< CONTENT", ">>>>>>> END", "one = 1", "two = 2", "\x00", "\ud800", "```", "x" * 3000, "",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_random_answers_touch_nothing_outside_or_inside(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (root / "link").symlink_to(tmp_path / "out")
    for name in ("a.py", "sub/b.txt", ".env", "Makefile"):
        (root / name).write_text("one = 1\ntwo = 2\n")
    before = {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    workspace = Workspace.open(root, data_dir=None, limits=Limits())
    contents = Contents(tmp_path / "kept")
    made = 0
    for _ in range(150):
        lines = [rng.choice(PIECES).format(p=rng.choice(PATHS), q=rng.choice(PATHS)) for _ in range(rng.randint(1, 14))]
        if rng.random() < 0.5:  # near to the format
            path = rng.choice(PATHS)
            lines = lines[: rng.choice([0, 0, 14])]
            lines += [
                f"*** edit {path}",
                "<<<<<<< SEARCH",
                "one = 1",
                "=======",
                rng.choice(["", "three = 3"]),
                ">>>>>>> REPLACE",
            ]
        proposal = propose("\n".join(lines), workspace, contents, Limits())
        if "unusable" in proposal:
            assert proposal["unusable"]
            continue
        made += 1
        files = proposed(proposal["files"], contents)  # type: ignore[arg-type]
        for group in groups(files):
            diff = diff_of("d", group)
            assert diff.json_text() and (len(group) == 1 or not diff.risky)
            for f in group:
                assert not f.change.path.startswith((".", "/")) and ".." not in f.change.path.split("/")
                assert chosen(f.change, f.base, f.new, {h.id for h in f.change.hunks}) == f.new
                assert chosen(f.change, f.base, f.new, ()) == f.base
    assert made, "no answer was usable: the test shows nothing"
    kept = os.fspath(tmp_path / "kept")
    after = {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not str(p).startswith(kept)}
    assert after == before


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("APPROVE\n\nFine.", True), ("**Approve**", True), ("SEND BACK\n\nNo.", False), ("\n\n## Send back\nNo.", False),
        ("send-back: the test", False), ("Looks good.", True), ("", True),
    ],
)  # fmt: skip
def test_how_a_review_is_read(said: str, passes: bool) -> None:
    assert approved(said) is passes


def test_one_syntax_tree_is_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 confuses the depths of two, and says SystemError of a file with which nothing is wrong."""
    inside, most, met, patience = 0, 0, threading.Barrier(2), 0.2

    def parse(*_: object, **__: object) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        with contextlib.suppress(threading.BrokenBarrierError):
            met.wait(patience)  # the other one, were it let in
        inside -= 1

    monkeypatch.setattr("reconvene.agents.proposal.ast.parse", parse)

    def both() -> int:
        threads = [threading.Thread(target=proposal._error, args=("a.py", b"x = 1\n")) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return most

    assert both() == 1
    monkeypatch.setattr(proposal, "_PARSING", contextlib.nullcontext())
    met.reset()
    patience = 30.0
    assert both() == 2, "the control: without the lock they meet"


def test_what_the_interpreter_stumbles_over_is_not_held_against_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object, **__: object) -> None:
        raise SystemError("AST constructor recursion depth mismatch (before=33, after=30)")

    monkeypatch.setattr("reconvene.agents.proposal.ast.parse", parse)
    assert proposal._error("a.py", b"x = 1\n") is None
