"""Taking back: every byte and every mode, also after a restart and without git; never over what somebody changed since."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Plan, Step, Transition, Writer, undo_of
from reconvene.workspace.reading import blob_id
from reconvene.workspace.workspace import Workspace

Tree = dict[str, tuple[bytes | None, int]]


def tree(root: Path) -> Tree:
    found: Tree = {}
    for path in root.rglob("*"):
        found[str(path.relative_to(root))] = (
            path.read_bytes() if path.is_file() else None, stat.S_IMODE(path.lstat().st_mode)
        )  # fmt: skip
    return found


def restarted(root: Path) -> Writer:
    """A server that knows nothing but what is on disk."""
    return Writer(Workspace.open(root, data_dir=None, limits=Limits()), Contents(root.parent / "contents"))


def grow(root: Path, rng: random.Random) -> None:
    for n in range(25):
        path = root / "/".join(f"d{rng.randrange(3)}" for _ in range(rng.randrange(3))) / f"f{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.choice([0, 1, 50, 5000])))
        path.chmod(rng.choice([0o600, 0o644, 0o664, 0o755, 0o700]))


def some_changes(root: Path, rng: random.Random) -> list[Transition]:
    """Edits, creations (also in new folders), deletions, renames and changes of mode, of different files."""
    files = sorted(p for p, (c, _) in tree(root).items() if c is not None)
    rng.shuffle(files)
    steps = []
    for path in files[:6]:
        base = (root / path).read_bytes()
        match rng.randrange(4):
            case 0:
                steps.append(Transition(path, base, rng.randbytes(30), rng.choice([None, 0o755])))
            case 1:
                steps.append(Transition(path, base, None))
            case 2:
                steps.append(Transition(path, base, base, 0o711))
            case _:
                steps += [
                    Transition(path, base, None),
                    Transition(f"moved{rng.randrange(9**9)}/x/f", None, base + b"!", like=path),
                ]
    steps.append(Transition(f"new{rng.randrange(9**9)}/deep/er/f", None, b"made", rng.choice([None, 0o700])))
    return steps


@pytest.mark.parametrize("seed", range(8))
def test_every_byte_and_mode_comes_back(root: Path, seed: int) -> None:
    """Four accepts; then all of them at once, one by one, and back and forth; each by a server that just started."""
    print("seed", seed)
    rng = random.Random(seed)
    grow(root, rng)
    trees, plans = [tree(root)], []
    for _ in range(4):
        writer = restarted(root)
        plan = writer.plan(some_changes(root, rng))
        outcome = writer.apply(plan)
        assert outcome.status == "applied", outcome
        plans.append(Plan.from_json(plan.to_json()))
        trees.append(tree(root))
    assert len({str(t) for t in trees}) == 5

    def take(writer: Writer, plan: Plan, expected: Tree) -> Plan:
        outcome = writer.apply(plan)
        assert outcome.status == "applied", outcome
        assert tree(root) == expected
        return plan

    # All at once, forward again, then one by one.
    back = take(restarted(root), restarted(root).undo(plans), trees[0])
    forward = take(restarted(root), restarted(root).undo([back]), trees[4])
    back = take(restarted(root), restarted(root).undo([forward]), trees[0])
    take(restarted(root), restarted(root).undo([back]), trees[4])
    undone = []
    for n in (3, 2, 1, 0):
        undone.append(take(restarted(root), restarted(root).undo([plans[n]]), trees[n]))
    for n, plan in zip((1, 2, 3, 4), reversed(undone), strict=True):
        take(restarted(root), restarted(root).undo([plan]), trees[n])


def test_a_file_that_was_changed_since_is_not_overwritten(root: Path) -> None:
    (root / "a").write_bytes(b"old a")
    (root / "b").write_bytes(b"old b")
    writer = restarted(root)
    plan = writer.plan(
        [Transition("a", b"old a", b"new a"), Transition("b", b"old b", b"new b"), Transition("c", None, b"new c")]
    )
    assert writer.apply(plan).status == "applied"
    (root / "b").write_bytes(b"new b and mine")
    (root / "c").unlink()
    before = tree(root)
    outcome = restarted(root).apply(restarted(root).undo([plan]))
    assert outcome.status == "conflict"
    assert tree(root) == before
    states = {f.path: (f.state, f.base_hash, f.new_hash, f.on_disk) for f in outcome.files}
    hashes = [blob_id(c) for c in (b"new b", b"old b", b"new b and mine")]
    assert states["b"] == ("conflict", *hashes)
    assert states["a"][0] == "not_done"
    # A view of three sides has all of them.
    contents = Contents(root.parent / "contents")
    assert [contents.get(h) for h in hashes] == [b"new b", b"old b", b"new b and mine"]


def test_a_file_that_is_deleted_already_is_no_conflict(root: Path) -> None:
    writer = restarted(root)
    plan = writer.plan([Transition("made", None, b"x")])
    writer.apply(plan)
    (root / "made").unlink()
    assert writer.apply(writer.undo([plan])).status == "applied"


def test_a_folder_that_is_in_use_stays(root: Path) -> None:
    writer = restarted(root)
    plan = writer.plan([Transition("d/e/f", None, b"x")])
    writer.apply(plan)
    (root / "d/mine").write_bytes(b"mine")
    assert writer.apply(writer.undo([plan])).status == "applied"
    assert sorted(tree(root)) == ["d", "d/mine"]


def test_changes_of_a_person_in_between_are_a_conflict(root: Path) -> None:
    """Taking back both changes at once would lose what the person wrote between them."""
    (root / "f").write_bytes(b"1")
    writer = restarted(root)
    first = writer.plan([Transition("f", b"1", b"2")])
    writer.apply(first)
    (root / "f").write_bytes(b"2 mine")
    second = writer.plan([Transition("f", b"2 mine", b"3 mine")])
    writer.apply(second)
    with pytest.raises(ReconveneError) as refused:
        writer.undo([first, second])
    assert (refused.value.code, refused.value.details) == ("conflict", {"paths": ["f"]})
    assert writer.apply(writer.undo([second])).status == "applied"
    assert (root / "f").read_bytes() == b"2 mine"
    assert writer.apply(writer.undo([first])).status == "conflict"


def test_undo_is_bases_and_new_swapped() -> None:
    plan = Plan("0" * 16, (Step("f", "a", "b"), Step("g", None, "c"), Step("h", "d", None, 0o755)), ("x", "x/y"))
    undone = undo_of([plan], id="1" * 16)
    assert undone == Plan(
        "1" * 16, (Step("f", "b", "a"), Step("g", "c", None), Step("h", None, "d", None, 0o755)), (), ("x/y", "x")
    )
    assert undo_of([plan, undone]).steps == ()
    assert plan.hashes == undone.hashes == {"a", "b", "c", "d"}


def test_without_the_content_nothing_is_done(root: Path) -> None:
    """The retention has swept it: said so, and nothing half."""
    (root / "a").write_bytes(b"old a")
    (root / "b").write_bytes(b"old b")
    writer = restarted(root)
    plan = writer.plan([Transition("a", b"old a", b"new a"), Transition("b", b"old b", b"new b")])
    writer.apply(plan)
    Contents(root.parent / "contents", clock=lambda: 9e9).sweep(plan.hashes - {blob_id(b"old b")})
    before = tree(root)
    outcome = writer.apply(writer.undo([plan]))
    assert outcome.status == "none"
    assert outcome.error is not None and outcome.error.code == "store_error" and "b" in outcome.error.message
    assert tree(root) == before


def test_without_the_umask_in_the_way(root: Path) -> None:
    """A deleted file comes back with its own mode, whatever the umask is by then."""
    (root / "f").write_bytes(b"x")
    (root / "f").chmod(0o666)
    writer = restarted(root)
    plan = writer.plan([Transition("f", b"x", None)])
    writer.apply(plan)
    old = os.umask(0o077)
    try:
        assert writer.apply(writer.undo([plan])).status == "applied"
    finally:
        os.umask(old)
    assert tree(root) == {"f": (b"x", 0o666)}
