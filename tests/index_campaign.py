"""Random edits, renames, deletions, branch switches, restarts and kills; then what the index answers is compared with a new one's."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codebase import Repository
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.repomap import repo_map
from reconvene.search import search

PROOF = "Index: equal to one built anew"
WORDS = [
    "cart", "session", "money", "item", "price", "expire", "owner", "total", "load", "sweep", "zebra", "quantity", "order", "ship",
    "refund", "tax",
]  # fmt: skip
QUERIES = [
    "session cart", "Money", "total price of items", "expire old carts", "zebra", "def:load_cart", "uses:Money", "re:cart_\\w+\\(",
    '"return total"', "path:shop/ item", "lang:py sweep -path:tests", "def:ZebraTax", "refund order lang:go", "re:^class\\s+\\w*Tax",
]  # fmt: skip
MAPS = [None, "where are carts expired", "zebra tax refund", "path:shop/ money"]
SUFFIXES = (".py", ".py", ".py", ".go", ".js", ".md", ".json", ".txt", ".bin")

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import reconvene.index.reader as reader
import reconvene.index.root as root
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.index.store import Store
from reconvene.workspace import Workspace

where, number = sys.argv[3], int(sys.argv[4])
reader.BATCH_FILES = 2
root.FIRST_BATCH = 2
count = 0

def die():
    global count
    count += 1
    if count >= number:
        os.kill(os.getpid(), signal.SIGKILL)

commit, tidy, read, put = Store.commit, Store.tidy, reader.FileReader._read, Store._put

def at_commit(self, *args, **more):
    if where == "before a commit":
        die()
    done = commit(self, *args, **more)
    if where == "after a commit":
        die()
    return done

def in_commit(self, values):
    put(self, values)
    if where == "in a commit":
        die()

def at_tidy(self):
    tidy(self)
    die() if where == "after tidying" else None

def at_read(self, *args):
    if where == "reading":
        die()
    return read(self, *args)

Store.commit, Store.tidy, reader.FileReader._read, Store._put = at_commit, at_tidy, at_read, in_commit

async def main():
    data = Path(sys.argv[2])
    workspace = Workspace.open(sys.argv[1], data_dir=data, limits=Limits())
    index = await RootIndex.open(workspace, data, Limits())
    try:
        await index.refresh()
        await index.take_in_history()
    finally:
        await index.close()
asyncio.run(main())
"""
PLACES = ("before a commit", "after a commit", "in a commit", "after tidying", "reading")


class Campaign:
    """
    Args:
        folder: empty; gets the code base and the indexes.
        workers: of this process's indexes.
    """

    def __init__(self, folder: Path, seed: int, workers: Workers) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.workers = workers
        self.code = Repository(folder)
        self.done: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        self.compared = 0
        self.branches = ["main"]
        self._number = 0

    async def run(self, steps: int, *, compare: int, kills: int) -> list[str]:
        """Do so many steps; what answered otherwise than a new index, a line each.

        Args:
            compare: after each so many steps, and at the end.
            kills: so many of the steps are a refresh that is killed.
        """
        self.index = await self._open()
        deadly = set(self.rng.sample(range(1, steps), kills))
        wrong: list[str] = []
        for step in range(1, steps + 1):
            if step in deadly:
                await self._killed()
            else:
                await self._step()
            if step % compare == 0 or step == steps:
                wrong += [f"after step {step}: {line}" for line in await self._differences()]
                if wrong:
                    break
        await self.index.close()
        return wrong

    # -- steps

    async def _step(self) -> None:
        kinds = {
            self._write: 8, self._edit: 8, self._same_size: 3, self._touch: 2, self._rename: 4, self._move_folder: 1, self._delete: 4,
            self._delete_folder: 1, self._copy: 2, self._ignore: 1, self._replace_by_other: 1, self._commit: 4, self._switch: 5,
            self._branch: 2, self._undo: 1,
        }  # fmt: skip
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        self.done[kind.__name__.strip("_")] += 1
        before = self._files()
        kind()
        match self.rng.choices(["not", "told", "all", "restart", "both"], [5, 4, 5, 1, 1])[0]:
            case "told":
                changed = sorted(set(before) ^ set(self._files())) or self.rng.sample(before, min(2, len(before)))
                await self.index.refresh_paths(changed)
            case "all":
                await self.index.refresh()
            case "both":
                await self.index.refresh()
                await self.index.take_in_history()
            case "restart":
                self.done["restart"] += 1
                await self._restart()

    def _files(self) -> list[str]:
        found = []
        for folder, folders, names in os.walk(self.code.root):
            folders[:] = sorted(name for name in folders if name != ".git")
            found += [os.path.relpath(f"{folder}/{name}", self.code.root) for name in sorted(names)]
        return [path for path in found if not (self.code.root / path).is_symlink()]

    def _one(self) -> Path:
        files = self._files()
        if not files:
            self._write()
            files = self._files()
        return self.code.root / self.rng.choice(files)

    def _new_path(self) -> str:
        folder = self.rng.choice(["", "shop/", "shop/", "web/", "tests/", "a/b/", "docs/"])
        return f"{folder}{self.rng.choice(WORDS)}_{self.rng.randrange(12)}{self.rng.choice(SUFFIXES)}"

    def _text(self, path: str) -> bytes:
        pick: Callable[[], str] = lambda: self.rng.choice(WORDS)  # noqa: E731
        parts = []
        for _ in range(self.rng.randrange(1, 14)):
            body = " ".join(pick() for _ in range(self.rng.randrange(2, 9)))
            match path.rpartition(".")[2]:
                case "py":
                    holder = f"class {pick().title()}{pick().title()}:\n    " if self.rng.random() < 0.3 else ""
                    inner = "    " if holder else ""
                    parts.append(
                        f"{holder}def {pick()}_{pick()}(self):\n{inner}    # {body}\n{inner}    return {pick()}({pick()})\n"
                    )
                case "go":
                    parts.append(f"// {body}\nfunc {pick().title()}{pick().title()}() int {{\n\treturn {pick()}\n}}\n")
                case "js":
                    parts.append(f"export function {pick()}{pick().title()}() {{\n  return {pick()}; // {body}\n}}\n")
                case "json":
                    parts.append(f'{{"{pick()}": "{body}"}}\n')
                case "bin":
                    parts.append(body + "\0\n")
                case _:
                    parts.append(f"# {body}\n\n{body}\n")
        return "\n".join(parts).encode()

    def _write(self) -> None:
        path = self._new_path()
        if self._is_free(path):
            self.code.write(path, self._text(path))

    def _is_free(self, path: str) -> bool:
        """Whether a file can be written there; a link to what is gone is in nobody's way."""
        place = self.code.root / path
        if place.is_symlink() and not place.exists():
            place.unlink()
        return not place.is_dir()

    def _edit(self) -> None:
        file = self._one()
        text = self._text(file.name)
        file.write_bytes(text if self.rng.random() < 0.5 else file.read_bytes() + text)

    def _same_size(self) -> None:
        """Other content of the same length, with the time it had."""
        file = self._one()
        st = file.stat()
        data = file.read_bytes()
        short = [word for word in WORDS if len(word) == 5]
        old = self.rng.choice([word for word in short if word.encode() in data] or short)
        new = self.rng.choice([word for word in short if word != old])
        file.write_bytes(data.replace(old.encode(), new.encode()))
        os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns))

    def _touch(self) -> None:
        os.utime(self._one(), ns=(10**18, self.rng.randrange(10**18, 2 * 10**18)))

    def _rename(self) -> None:
        to = self.code.root / self._new_path()
        if not to.is_dir():
            to.parent.mkdir(parents=True, exist_ok=True)
            self._one().rename(to)

    def _folder(self) -> Path | None:
        folders = [f for f in sorted(self.code.root.iterdir()) if f.is_dir() and f.name != ".git"]
        return self.rng.choice(folders) if folders else None

    def _move_folder(self) -> None:
        if (folder := self._folder()) is not None:
            self._number += 1
            folder.rename(self.code.root / f"{self.rng.choice(WORDS)}{self._number}")

    def _delete(self) -> None:
        self._one().unlink()

    def _delete_folder(self) -> None:
        if (folder := self._folder()) is not None and self.rng.random() < 0.5:
            shutil.rmtree(folder)

    def _copy(self) -> None:
        path = self._new_path()
        if self._is_free(path):
            self.code.write(path, self._one().read_bytes())

    def _ignore(self) -> None:
        if (self.code.root / ".gitignore").is_dir():
            return
        lines = self.rng.sample(["*.md", "shop/", "*_1.*", "!keep_1.py", "docs/*.txt", "/web"], self.rng.randrange(3))
        self.code.write(".gitignore", "\n".join(lines) + "\n")

    def _replace_by_other(self) -> None:
        """A link or a folder where a file was."""
        file = self._one()
        file.unlink()
        if self.rng.random() < 0.5:
            file.symlink_to(self._one())
        else:
            file.mkdir()
            (file / "inside.py").write_bytes(self._text("inside.py"))

    def _commit(self) -> None:
        self.code.commit(" ".join(self.rng.choices(WORDS, k=5)))

    def _branch(self) -> None:
        name = f"b{len(self.branches)}"
        self.code.git("checkout", "-q", "-f", "-b", name)
        self.branches.append(name)
        self._write()
        self._edit()
        self._commit()

    def _switch(self) -> None:
        self._commit()
        self.code.git("checkout", "-q", "-f", self.rng.choice(self.branches))

    def _undo(self) -> None:
        self._commit()
        self.code.git("reset", "-q", "--hard", "HEAD~1")

    async def _killed(self) -> None:
        """Some changes, and a process that dies while it takes them in."""
        await self.index.close()
        for _ in range(self.rng.randrange(2, 7)):
            self.rng.choice([self._write, self._edit, self._delete, self._rename, self._switch])()
        # Where it has not died yet first, so that it dies everywhere whatever the seed.
        where = self.rng.choice([place for place in PLACES if place not in self.deaths] or PLACES)
        number = self.rng.choice([1, 1, 2, 3, 5]) if where in self.deaths else 1
        code = self.code
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(code.root), str(code.data), where, str(number)],
            check=False,
            capture_output=True,
            timeout=60,
        )
        if process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(process.stderr.decode()[-2000:])
        self.deaths[where if process.returncode else "too late"] += 1
        self.index = await self._open()

    # -- comparing

    async def _open(self, data: Path | None = None) -> RootIndex:
        return await RootIndex.open(self.code.workspace(), data or self.code.data, Limits(), self.workers)

    async def _restart(self) -> None:
        await self.index.close()
        self.index = await self._open()

    async def _differences(self) -> list[str]:
        self.compared += 1
        data = self.folder / "new"
        data.mkdir(mode=0o700)
        new = await self._open(data)
        try:
            for index in (self.index, new):
                await index.refresh()
                await index.take_in_history()
            ours, theirs = await answers(self.index), await answers(new)
        finally:
            await new.close()
            shutil.rmtree(data)
        return [
            f"{what}: {_where(ours[what], theirs[what])}"
            for what in ours
            if ours[what].encode() != theirs[what].encode()
        ]


async def answers(index: RootIndex) -> dict[str, str]:
    """All that can be asked, as text. Epochs are left out: each index has its own."""
    found: dict[str, Any] = {
        "files": sorted((path, index.fingerprint(path)) for path in index.view.paths()),
        "counts": (index.files, index.symbols, index.skipped, index.partial),
        "left out": index.left_out(),
        "statistics": index.view.mark,
        "definitions": {path: [tuple(d) for d in index.definitions(path)] for path in sorted(index.view.paths())},
    }
    for query in QUERIES:
        result = dataclasses.asdict(await search(index, query, limit=20))
        del result["epoch"]
        result.pop("next", None)
        found[f"search {query}"] = result
    for asked in MAPS:
        made = dataclasses.asdict(await repo_map(index, query=asked))
        found[f"map {asked}"] = {
            key: made[key] for key in ("text", "rows", "files", "symbols", "tokens", "fingerprint")
        }
    return {what: json.dumps(value, ensure_ascii=True, sort_keys=True) for what, value in found.items()}


def _where(ours: str, theirs: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"…{ours[max(0, at - 100) : at + 100]}… a new index: …{theirs[max(0, at - 100) : at + 100]}…"
