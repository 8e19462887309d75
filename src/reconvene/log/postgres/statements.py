"""The SQL of this store: named statements from `sql/*.sql`, and the numbered migrations."""

from __future__ import annotations

from importlib.resources import files

from reconvene.log.queries import named_statements, numbered_scripts

_HERE = files("reconvene.log.postgres")

STATEMENTS = named_statements(_HERE / "sql")


def migrations() -> list[str]:
    """The scripts that lead from nothing to today's schema; the n-th (from 1) makes version n."""
    return numbered_scripts(_HERE / "migrations")
