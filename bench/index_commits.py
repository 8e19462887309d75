"""Queries taken from real commits, and the code base as each of them found it: a checkout of the exact parent, with no later history.

A line of the file of queries: `{"id", "repo": "owner/name", "parent": commit, "date": s, "query", "gold": [paths to be edited], …}`.
The mirrors are bare repositories in folders called `owner+name`. Nothing is downloaded.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Asked:
    """`gold`: the files its commit edited."""

    id: str
    repo: str
    parent: str
    date: float
    query: str
    gold: tuple[str, ...]


def read(path: Path, repos: Sequence[str] = (), every: int = 1) -> list[Asked]:
    """The queries of a file, those of a repository together, its oldest first.

    Args:
        repos: `owner/name` or `name`, only these; all when empty.
        every: take each so many-th of a repository.
    """
    by_repo: dict[str, list[Asked]] = {}
    for line in path.read_text("utf-8").splitlines():
        q = json.loads(line)
        if not repos or q["repo"] in repos or q["repo"].partition("/")[2] in repos:
            by_repo.setdefault(q["repo"], []).append(
                Asked(q["id"], q["repo"], q["parent"], q["date"], q["query"], tuple(q["gold"]))
            )
    return [asked for found in by_repo.values() for asked in sorted(found, key=lambda a: a.date)[::every]]


class Checkouts:
    """
    Args:
        mirrors: where the bare repositories are.
        folder: where the trees are made, one folder a repository, so that one commit's tree becomes the next one's.
    """

    def __init__(self, mirrors: Path, folder: Path) -> None:
        self._mirrors = mirrors
        self._folder = folder

    def of(self, asked: Asked) -> Path:
        """The tree in which a query was asked.

        Raises:
            subprocess.CalledProcessError: git has no such commit.
        """
        name = asked.repo.replace("/", "+")
        root = self._folder / name
        if not (root / ".git").is_dir():
            mirror = self._mirrors / name
            source = mirror / "repo" if (mirror / "repo").is_dir() else mirror
            _git("clone", "-q", "--shared", "--no-checkout", str(source), str(root))
            # No names of later commits: the history that an index reads ends where the query was asked.
            for ref in _git("-C", str(root), "for-each-ref", "--format=%(refname)").split():
                subprocess.run(["git", "-C", str(root), "update-ref", "-d", ref], check=False, capture_output=True)
            (root / ".git/HEAD").write_text(f"{asked.parent}\n")
        options = ("-c", "core.autocrlf=false", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false")
        _git("-C", str(root), *options, "checkout", "-q", "-f", "--detach", asked.parent)
        _git("-C", str(root), "clean", "-q", "-ffdx")
        return root

    def each(self, queries: Sequence[Asked]) -> Iterator[tuple[Asked, Path]]:
        for asked in queries:
            yield asked, self.of(asked)


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True, errors="replace").stdout
