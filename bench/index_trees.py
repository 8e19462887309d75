"""The code bases that the index is measured on: copies of given folders, or one that is made; a tenth of each; and what is asked of them.

Everything is done in copies, which one of the two compared writes its cache into and both see edited. What is random has a seed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SKIPPED = {".git", ".hg", "node_modules", ".aider.tags.cache.v4"}
CODE = (".py", ".c", ".h", ".rs", ".go", ".js", ".ts", ".tsx", ".java", ".rb", ".php", ".cs", ".cpp", ".kt", ".swift")
_WORD = re.compile(r"[A-Za-z][a-z]{3,14}")
_NAME = re.compile(
    r"^[ \t]*(?:(?:async def|def|class|func|fn|pub fn)\s+([A-Za-z_]\w{4,50})\b"
    r"|(?:static )?(?:inline )?(?:int|void)\s+([A-Za-z_]\w{4,50})\([^;]*$|struct\s+([A-Za-z_]\w{4,50})\s*\{)",
    re.M,
)


@dataclass(frozen=True, slots=True)
class Tree:
    """`paths`: its code files. `files`, `bytes`: of all that it has."""

    name: str
    root: Path
    paths: tuple[str, ...]
    files: int
    bytes: int

    @classmethod
    def of(cls, name: str, root: Path) -> Tree:
        found = list(_files(root))
        code = tuple(path for path, _ in found if path.endswith(CODE))
        return cls(name, root, code, len(found), sum(size for _, size in found))


@dataclass(frozen=True, slots=True)
class Questions:
    """`prompts`: as a person asks. `searches`: as an agent does, each with the words that a search by lines gets. `patterns`: of lines."""

    prompts: tuple[str, ...]
    searches: tuple[tuple[str, tuple[str, ...]], ...]
    patterns: tuple[str, ...]


def copied(name: str, source: Path, into: Path, *, every: int = 1) -> Tree:
    """A copy of a folder, its times kept; with `every`, of each so many-th of its files only."""
    for number, (path, _) in enumerate(_files(source)):
        if number % every == 0:
            to = into / path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, to)
    if every == 1 and (source / ".git").is_dir():
        shutil.copytree(source / ".git", into / ".git", symlinks=True)
    return Tree.of(name, into)


def made(into: Path, files: int, seed: int) -> None:
    """A code base of Python files: packages, classes and functions that use each other, names and words as rare as they are in code."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bcdfglmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "or", "us")]
    words = list(dict.fromkeys("".join(rng.choices(syllables, k=rng.choice((2, 2, 3)))) for _ in range(9000)))
    weights = [1 / (rank + 3) for rank in range(len(words))]

    def pick(count: int) -> list[str]:
        return rng.choices(words, weights, k=count)

    old = 1_700_000_000
    for number in range(files):
        folder = into / words[number // 400] / words[20 + number // 40 % 10 * 31 + number // 400]
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f'"""{" ".join(pick(12)).capitalize()}."""',
            "",
            f"from {words[number // 400]} import {pick(1)[0]}",
            "",
        ]
        for _ in range(rng.randrange(1, 6)):
            lines += [f"class {''.join(word.title() for word in pick(2))}:", f'    """{" ".join(pick(9))}."""', ""]
            for _ in range(rng.randrange(1, 9)):
                first, second, third = pick(3)
                lines += [f"    def {first}_{second}(self, {third}):", f"        # {' '.join(pick(8))}"]
                lines += [
                    f"        {a} = self.{b}.{c}_{a}({third})"
                    for a, b, c in (pick(3) for _ in range(rng.randrange(1, 12)))
                ]
                lines += [f"        return {first}", ""]
        file = folder / f"{pick(1)[0]}_{number}.py"
        file.write_text("\n".join(lines))
        os.utime(file, (old, old))


def questions(tree: Tree, seed: int | str, count: int) -> Questions:
    """Made of the tree's own words: a few from lines that stand together, and names that are defined there."""
    rng = random.Random(seed)
    prompts: list[str] = []
    searches: list[tuple[str, tuple[str, ...]]] = []
    patterns: list[str] = []
    while len(prompts) < count:
        path = rng.choice(tree.paths)
        text = (tree.root / path).read_text("utf-8", "replace")
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        words = list(dict.fromkeys(_WORD.findall(" ".join(lines[at : at + 12]))))[:5]
        names = [name for found in _NAME.findall(text) for name in found if name]
        if len(words) < 4 or not names:
            continue
        name = rng.choice(names)
        prompts.append(f"Why does {name} fail when {' '.join(words)}")
        folder = path.partition("/")[0]
        searches.append(
            rng.choice(
                [
                    (" ".join(words), tuple(words)),
                    (" ".join(words[:3]), tuple(words[:3])),
                    (name, (name,)),
                    (f"{name} {words[0]}", (name, words[0])),
                    (f"def:{name}", (name,)),
                    (f"path:{folder}/ {' '.join(words[:3])}", tuple(words[:3])),
                ]
            )
        )
        patterns.append(rng.choice([f"re:{name[:5]}\\w+\\(", f"uses:{name}", f'"{words[0]} {words[1]}"']))
    return Questions(tuple(prompts), tuple(searches), tuple(patterns))


_DEFINED = {
    ".py": "def {}():\n    return 1\n",
    ".js": "function {}() {{\n  return 1;\n}}\n",
    ".c": "int {}(void)\n{{\n\treturn 1;\n}}\n",
    ".h": "static inline int {}(void)\n{{\n\treturn 1;\n}}\n",
    ".go": "func {}() int {{\n\treturn 1\n}}\n",
    ".rs": "pub fn {}() -> i32 {{\n    1\n}}\n",
}


def edited(tree: Tree, rng: random.Random) -> tuple[str, str]:
    """Put a new definition at the end of one of the files of usual size; its path, and the name."""
    known = [path for path in tree.paths if os.path.splitext(path)[1] in _DEFINED]
    path = rng.choice([p for p in known if 2000 < (tree.root / p).stat().st_size < 40_000] or known)
    name = "".join(rng.choices("bcdfghjklmnpqrstvwz", k=14))
    with (tree.root / path).open("a") as file:
        file.write("\n\n" + _DEFINED[os.path.splitext(path)[1]].format(name))
    return path, name


def _files(root: Path) -> Sequence[tuple[str, int]]:
    """Regular files, sorted, with their sizes; no links, and none of what versions and packages are kept in."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED)
        below = os.path.relpath(folder, root)
        for name in names:
            full = os.path.join(folder, name)
            if os.path.isfile(full) and not os.path.islink(full):
                found.append((name if below == "." else f"{below}/{name}", os.path.getsize(full)))
    return sorted(found)
