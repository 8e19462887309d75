"""What differs, hunk by hunk; what results of some of the hunks; and the patch that git takes."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace.edits import (
    FileChange,
    Transition,
    as_patch,
    change_of,
    check_size,
    chosen,
    risky,
    transitions,
)
from reconvene.workspace.edits.lines import changes, split
from reconvene.workspace.reading import blob_id

TEXTS = {
    "crlf": (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
    "only-line-ends": (b"a\r\nb\r\n", b"a\nb\n"),
    "mixed-line-ends": (b"a\r\nb\nc\rd\n", b"a\nb\nc\rD\n"),
    "bom": (b"\xef\xbb\xbfx = 1\n", b"\xef\xbb\xbfx = 2\n"),
    "bom-lost": (b"\xef\xbb\xbfx = 1\n", b"x = 1\n"),
    "no-last-newline": (b"a\nb", b"a\nc"),
    "newline-added": (b"a\nb", b"a\nb\n"),
    "newline-removed": (b"a\nb\n", b"a\nb"),
    "binary": (b"\0\1\2" * 50, b"\0\1\3" * 50),
    "becomes-binary": (b"text\n", b"\0"),
    "latin-1": (b"caf\xe9\nx\n", b"caf\xe9\ny\n"),
    "utf-16": ("a\nb\n".encode("utf-16"), "a\nc\n".encode("utf-16")),
    "emptied": (b"a\n", b""),
    "filled": (b"", b"a\n"),
    "no-newline-at-all": (b"x" * 3000, b"x" * 2999 + b"y"),
    "form-feeds": (b"a\x0cb\n\x0c\nc\x85d\xe2\x80\xa8e\n", b"a\x0cb\n\x0c\nc\x85d\xe2\x80\xa8f\n"),
}

lines = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"\n", b"}\n", b"  x = 1\n", b"\xef\xbb\xbf\n"]), max_size=40
)
texts = st.builds(lambda parts, last: b"".join(parts) + last, lines, st.sampled_from([b"", b"end", b"\r"]))


@pytest.mark.parametrize("name", TEXTS)
def test_all_hunks_give_the_new_bytes_and_none_the_old(name: str) -> None:
    base, new = TEXTS[name]
    change = change_of("f", base, new)
    assert (change.op, change.base_hash, change.new_hash) == ("edit", blob_id(base), blob_id(new))
    assert chosen(change, base, new, {h.id for h in change.hunks}) == new
    assert chosen(change, base, new, ()) == base
    assert [h.id for h in change.hunks] == [f"h{n}" for n in range(1, len(change.hunks) + 1)]


@settings(max_examples=300, deadline=None)
@given(texts, texts, st.data())
def test_some_hunks_are_lines_of_either_text(base: bytes, new: bytes, data: st.DataObject) -> None:
    """Every subset, against an own reading of the unified text of the hunks that were accepted."""
    change = change_of("f", base, new)
    ids = [h.id for h in change.hunks]
    accepted = data.draw(st.sets(st.sampled_from(ids)) if ids else st.just(set()))
    got = chosen(change, base, new, accepted)
    assert got == by_hand(change, base, accepted)
    assert chosen(change, base, new, ids) == new
    # What was taken is not offered again, and the rest still leads to the new content.
    assert got is not None
    rest = change_of("f", got, new)
    assert chosen(rest, got, new, [h.id for h in rest.hunks]) == new


def by_hand(change: FileChange, base: bytes, accepted: set[str]) -> bytes:
    """What `patch` does with the unified texts: what they remove has to be there, and what they add takes its place."""
    old = split(base)
    out: list[bytes] = []
    at = 0
    for hunk in (h for h in change.hunks if h.id in accepted):
        shown: list[bytes] = []
        for line in hunk.unified.encode().split(b"\n")[1:-1]:
            if line == b"\\ No newline at end of file":
                shown[-1] = shown[-1][:-1]
            else:
                shown.append(line + b"\n")
        start = hunk.old_start - (hunk.old_lines > 0)
        removed = [line[1:] for line in shown if line[:1] in b" -"]
        assert old[start : start + hunk.old_lines] == removed
        out += old[at:start] + [line[1:] for line in shown if line[:1] in b" +"]
        at = start + hunk.old_lines
    return b"".join(out + old[at:])


def test_hunks_have_context_and_join_as_git_does() -> None:
    base = b"".join(b"%d\n" % n for n in range(40))
    new = base.replace(b"5\n", b"five\n", 1).replace(b"\n12\n", b"\ntwelve\n").replace(b"\n30\n", b"\n")
    first, second = change_of("f", base, new).hunks
    assert first.unified.startswith("@@ -3,14 +3,14 @@\n 2\n 3\n 4\n-5\n+five\n 6\n")
    assert (second.old_start, second.old_lines, second.new_start, second.new_lines) == (28, 7, 28, 6)


def test_one_of_three_hunks() -> None:
    base = b"".join(b"line %d\n" % n for n in range(100))
    new = base.replace(b"line 10\n", b"ten\n").replace(b"line 50\n", b"").replace(b"line 90\n", b"ninety\nmore\n")
    change = change_of("f", base, new)
    assert len(change.hunks) == 3
    assert chosen(change, base, new, {"h1", "h3"}) == base.replace(b"line 10\n", b"ten\n").replace(
        b"line 90\n", b"ninety\nmore\n"
    )
    with pytest.raises(ReconveneError, match=r"invalid_field.*h4"):
        chosen(change, base, new, {"h4"})
    with pytest.raises(ReconveneError, match="stale_diff"):
        chosen(change, base + b"!", new, {"h1"})


def test_ids_differ_within_a_diff_when_they_are_to() -> None:
    assert [h.id for h in change_of("f", b"a\n", b"b\n", prefix="2.").hunks] == ["2.h1"]


def test_a_rename_with_edits_is_decided_piece_by_piece() -> None:
    base, new = b"a\n" * 20 + b"x\n", b"a\n" * 20 + b"y\n"
    change = change_of("new/name", base, new, old_path="old", mode=0o755)
    assert (change.op, [h.kind for h in change.hunks]) == ("rename", ["header", "lines"])
    gone, made = transitions(change, base, new, {"h1", "h2"})
    assert (gone, made) == (Transition("old", base, None), Transition("new/name", None, new, 0o755, like="old"))
    assert transitions(change, base, new, {"h2"}) == (Transition("old", base, new),)
    assert transitions(change, base, new, {"h1"})[1] == Transition("new/name", None, base, 0o755, like="old")
    assert transitions(change, base, new, ()) == ()


@pytest.mark.parametrize(
    ("base", "new"), [(None, b""), (None, b"a\nb"), (None, b"\0"), (b"", None), (b"a\nb", None), (b"\0\1", None)]
)
def test_creating_and_deleting_is_one_decision(base: bytes | None, new: bytes | None) -> None:
    change = change_of("f", base, new)
    assert change.op == ("create" if base is None else "delete")
    assert [h.kind for h in change.hunks] == ["whole"]
    assert chosen(change, base, new, {"h1"}) == new
    assert chosen(change, base, new, ()) == base
    assert transitions(change, base, new, ()) == ()
    assert transitions(change, base, new, {"h1"}) == (Transition("f", base, new),)


def test_a_change_of_mode_alone() -> None:
    change = change_of("run.sh", b"x\n", b"x\n", mode=0o755)
    assert [(h.id, h.kind, h.unified) for h in change.hunks] == [("h1", "header", "new mode 0755\n")]
    assert transitions(change, b"x\n", b"x\n", {"h1"}) == (Transition("run.sh", b"x\n", b"x\n", 0o755),)
    assert transitions(change, b"x\n", b"x\n", ()) == ()
    assert change.risky == "run.sh becomes a program that can be run."


def test_no_change_has_no_hunks() -> None:
    assert change_of("f", b"a", b"a").hunks == ()
    with pytest.raises(ReconveneError, match="invalid_field"):
        change_of("f", None, None)


SLOW = {
    "rewritten": lambda r: ([b"old %d\n" % n for n in range(2000)], [b"new %d\n" % n for n in range(2000)]),
    "shuffled": lambda r: ((a := [b"%d\n" % n for n in range(2000)]), r.sample(a, 2000)),
    "one-line-repeated": lambda r: ([b"}\n"] * 2000, [b"}\n"] * 1500 + [b"x\n"] + [b"}\n"] * 900),
    "two-lines-at-random": lambda r: tuple([r.choice([b"{\n", b"}\n"]) for _ in range(2000)] for _ in range(2)),
    "twenty-lines-at-random": lambda r: tuple([b"%d\n" % r.randrange(20) for _ in range(2000)] for _ in range(2)),
    "like-code": lambda r: tuple(
        [
            b"}\n" if r.random() < 0.3 else b"\n" if r.random() < 0.3 else b"x%d\n" % r.randrange(600)
            for _ in range(2000)
        ]
        for _ in range(2)
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_two_thousand_lines_take_less_than_a_second(name: str) -> None:
    a, b = SLOW[name](random.Random(7))
    base, new = b"".join(a), b"".join(b)
    before = time.process_time()
    change = change_of("f", base, new)
    took = time.process_time() - before
    print(f"{name}: {took:.3f} s, {len(change.hunks)} hunks")
    assert chosen(change, base, new, {h.id for h in change.hunks}) == new
    assert took < 1.0


def test_a_small_edit_stays_small_among_repeated_lines() -> None:
    base = [b"    }\n", b"\n"] * 1000
    new = [*base[:900], b"    added();\n", *base[900:]]
    assert changes(base, new) == [(900, 900, 900, 901)]


RISKY = (
    ".git/config", ".git/hooks/pre-commit", "sub/.GIT/hooks/x", ".gi\u200ct/config", "git~1/config", ".git. /config", "hooks/pre-push",
    ".husky/pre-commit", ".pre-commit-config.yaml", ".github/workflows/ci.yml", ".github/actions/a/action.yml", ".gitlab-ci.yml",
    "Jenkinsfile", ".circleci/config.yml", "Makefile", "src/GNUmakefile", "rules.mk", "package.json", "web/package.json", "setup.py",
    "pyproject.toml", "build.rs", "conf/site.pth", ".vscode/tasks.json", ".idea/workspace.xml", ".devcontainer/devcontainer.json",
    "x.code-workspace", ".envrc", ".gitattributes", ".gitmodules", "AGENTS.md", "CLAUDE.md", "pkg/agents.md", ".cursor/rules/a.mdc",
    ".mcp.json", ".github/copilot-instructions.md", "Dockerfile", "docker-compose.yml", ".npmrc", ".env", "deploy/id_rsa", ".bashrc",
)  # fmt: skip
HARMLESS = (
    "src/app.py",
    "README.md",
    "docs/makefile.md",
    "src/hooks/useThing.ts",
    "tests/test_setup.py",
    "gitlab.py",
    "a/.github/CODEOWNERS",
    "env.py",
)


@pytest.mark.parametrize("path", RISKY, ids=lambda p: f"bad104-{p!a}")
def test_what_runs_later_says_so(path: str) -> None:
    why = risky(path)
    assert why is not None and why.endswith(".")
    change = change_of(path, None, b"x")
    assert change.risky == why
    assert change_of("harmless", b"x", b"x", old_path=path).risky == why


@pytest.mark.parametrize("path", HARMLESS)
def test_other_paths_do_not(path: str) -> None:
    assert risky(path) is None
    assert change_of(path, b"a", b"b").risky is None


def test_bad105_a_change_too_big_to_be_read() -> None:
    limits = Limits(diff=1000, diff_files=3)
    small = change_of("a", b"a\n", b"b\n")
    check_size([small] * 3, limits)
    with pytest.raises(ReconveneError, match=r"too_large: The change has 4 files; the limit is 3\. Split it\."):
        check_size([small] * 4, limits)
    with pytest.raises(ReconveneError, match="too_large"):
        check_size([change_of("a", None, b"x" * 1001)], limits)


# -- the patch, as git reads it

PATHS = (
    "plain.txt",
    "with blank.txt",
    "ünïcode.txt",
    'quo"te\\.txt',
    "tab\there",
    "deep/er/file",
    "line\nbreak",
    "latin\udce9",
)


def test_git_applies_the_patch_byte_for_byte(root: Path, git: Callable[..., str]) -> None:
    """Every text above and every odd name at once: edits, creations, deletions, renames, a change of mode."""
    files: list[tuple[str, bytes | None, bytes | None, str | None, int | None]] = []
    for n, (name, (base, new)) in enumerate(TEXTS.items()):
        files.append((f"edit-{name}", base, new, None, None))
        files.append((f"create-{name}", None, new, None, 0o755 if n % 2 else None))
        files.append((f"delete-{name}", base, None, None, None))
        files.append((f"moved/{name}", base, new, f"rename-{name}", None))
    for path in PATHS:
        files.append((path, b"a\nb\n", b"a\nc\n", None, None))
        files.append((f"new/{path}", None, b"x\n", None, None))
        files.append((f"to/{path}", b"old\n", b"old\n", f"from/{path}", None))
    files.append(("empty", None, b"", None, None))
    files.append(("was-empty", b"", None, None, None))
    files.append(("mode", b"#!x\n", b"#!x\n", None, 0o755))
    files.append(("mode-and-text", b"#!x\n", b"#!y\n", None, 0o755))
    expected = {}
    for path, base, new, old_path, mode in files:
        if base is not None:
            before = root / (old_path or path)
            before.parent.mkdir(parents=True, exist_ok=True)
            before.write_bytes(base)
        if new is not None:
            expected[path] = (new, mode or 0o644)
    patch = as_patch((change_of(p, b, n, old_path=o, mode=m), b, n) for p, b, n, o, m in files)
    git(root, "init", "-q")
    git(root, "config", "core.autocrlf", "false")
    (root.parent / "change.patch").write_text(patch, encoding="utf-8", newline="")
    git(root, "apply", "--whitespace=nowarn", str(root.parent / "change.patch"))
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            found[str(path.relative_to(root))] = (path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    assert found == expected
    # And back again.
    git(root, "apply", "-R", "--whitespace=nowarn", str(root.parent / "change.patch"))
    assert {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and ".git" not in p.parts} == {
        o or p for p, b, _, o, _ in files if b is not None
    }


def test_the_patch_of_some_hunks_is_what_git_makes_of_it(root: Path, git: Callable[..., str]) -> None:
    rng = random.Random(3)
    print("seed 3")
    git(root, "init", "-q")
    for n, keep in itertools.product(range(6), (0.3, 0.7)):
        old = [b"%d\n" % rng.randrange(30) for _ in range(120)]
        new = [line for line in old if rng.random() < 0.9] + [b"end"] * rng.randrange(2)
        base, wanted = b"".join(old), b"".join(new)
        change = change_of("f", base, wanted)
        got = chosen(change, base, wanted, {h.id for h in change.hunks if rng.random() < keep})
        (root / "f").write_bytes(base)
        (root.parent / "p").write_text(as_patch([(change_of("f", base, got), base, got)]), newline="")
        if got != base:
            git(root, "apply", "--whitespace=nowarn", str(root.parent / "p"))
        assert (root / "f").read_bytes() == got, n
