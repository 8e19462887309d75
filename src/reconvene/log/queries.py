"""The SQL of the store: named statements from `sql/*.sql`, and the numbered migrations."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_HERE = files("reconvene.log")


def named_statements(folder: Traversable) -> dict[str, str]:
    """Every `-- name: …` of the files in a folder, without comments."""
    found: dict[str, str] = {}
    for file in folder.iterdir():
        if not file.name.endswith(".sql"):
            continue
        for part in re.split(r"^-- name: ", file.read_text("utf-8"), flags=re.M)[1:]:
            name, _, text = part.partition("\n")
            found[name.strip()] = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return found


STATEMENTS = named_statements(_HERE / "sql")
"""Every named statement."""


@lru_cache(maxsize=128)
def repeated(name: str, rows: int) -> str:
    """The statement with its closing `values (…)` for so many rows.

    >>> repeated("put_fences", 2).splitlines()[1]
    'values (?, ?),(?, ?);'
    """
    head, values, group = STATEMENTS[name].rstrip(";").rpartition("values ")
    return head + values + ",".join([group] * rows) + ";"


def numbered_scripts(folder: Traversable) -> list[str]:
    """The files `0001_….sql`, `0002_….sql`, … of a folder, in their order."""
    scripts = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    numbers = [int(name[:4]) for name in scripts]
    assert numbers == list(range(1, len(numbers) + 1)), f"migrations are numbered 0001, 0002, …: {scripts}"
    return [(folder / name).read_text("utf-8") for name in scripts]


def migrations() -> list[str]:
    """The scripts that lead from an empty file to today's schema; the n-th (from 1) makes schema version n."""
    return numbered_scripts(_HERE / "migrations")
