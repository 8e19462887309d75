"""The head of an overview: how much there is, in which languages, and in which folders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from reconvene.index.languages.registry import language_of
from reconvene.index.roles import WEIGHTS, role_of
from reconvene.workspace.names import display_path

_LANGUAGES = 6
_FOLDERS = 24
_NAMED = (
    "readme",
    "agents.md",
    "contributing",
    "pyproject.toml",
    "setup.py",
    "package.json",
    "cargo.toml",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "makefile",
)
_SPLIT = 0.25
"""A folder that holds more than this share of all files is shown with its own folders."""


def headline(paths: list[str], *, partial: bool, truncated: bool) -> str:
    languages = Counter(language_of(path).name for path in paths)
    languages.pop("other", None)
    most = ", ".join(f"{name} {n:,}" for name, n in languages.most_common(_LANGUAGES))
    so_far = " so far (still being read)" if partial else " (there are more than are looked at)" if truncated else ""
    return f"{len(paths):,} files{so_far}: {most}" if most else f"{len(paths):,} files{so_far}"


def tree(paths: list[str], room: int) -> list[str]:
    """Folders with the number of files of a known language in them, sources first, the large ones opened; those of tests in one line;
    then the files at the root that say what this is.

    Args:
        room: characters.
    """
    counts: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    children: defaultdict[str, set[str]] = defaultdict(set)
    told = [path for path in paths if language_of(path).name != "other"]  # no translations, images or records
    worth: defaultdict[str, float] = defaultdict(float)
    for path in told:
        role = role_of(path)
        folder = path.rpartition("/")[0]
        while folder:
            counts[folder] += 1
            tests[folder] += role == "test"
            worth[folder] += WEIGHTS[role]
            parent = folder.rpartition("/")[0]
            children[parent].add(folder)
            folder = parent
    lines: list[str] = []
    folded: list[str] = []
    shown = 0

    def visit(parent: str, depth: int) -> None:
        nonlocal shown
        below = sorted(children[parent], key=lambda f: (-worth[f], f))
        for folder in below[: _FOLDERS if depth == 0 else 10]:
            if tests[folder] > counts[folder] / 2:
                folded.append(folder)
                continue
            if shown >= _FOLDERS:
                return
            shown += 1
            lines.append("  " * depth + f"{display_path(folder.rpartition('/')[2])}/ {counts[folder]:,}")
            if depth < 3 and counts[folder] > _SPLIT * len(told) and worth[folder] > counts[folder] / 3:
                visit(folder, depth + 1)

    visit("", 0)
    if folded:
        folded.sort(key=lambda f: (-counts[f], f))
        most = [f"{display_path(f)}/ {counts[f]:,}" for f in folded[:4]]
        lines.insert(0, f"tests: {', '.join(most)}" + (", …" if len(folded) > 4 else ""))
    telling = sorted(path for path in paths if "/" not in path and path.lower().startswith(_NAMED))
    if telling:
        lines.insert(0, " ".join(display_path(path) for path in telling[:12]))
    return list(_within(lines, room))


def _within(lines: Iterable[str], room: int) -> Iterable[str]:
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return
        yield line
