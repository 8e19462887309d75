"""`reconvene migrate-store`: from the data folder's SQLite to PostgreSQL, for when one machine is not enough."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from reconvene.cli.terminal import count, dim, emit, safe, say
from reconvene.errors import ReconveneError
from reconvene.log.folder import DataFolder


def migrate_store(data_dir: Path, url: str, *, as_json: bool = False) -> None:
    """Copy everything, compare, and say how to go on. The SQLite file stays as it is.

    Raises:
        ReconveneError: `already_running`, `not_found` (no database here), and what `moving.move` raises.
    """
    try:
        from reconvene.log.postgres import moving
    except ModuleNotFoundError as e:
        raise ReconveneError(
            "store_error", f"PostgreSQL needs the package {e.name}. Install reconvene[postgres]."
        ) from e
    folder = DataFolder.claim(data_dir)
    try:
        file = folder.database
        if not file.is_file():
            raise ReconveneError("not_found", f"There is no database in {data_dir}. Name its folder with --data-dir.")
        _bring_up_to_date(file)
        moved = asyncio.run(moving.move(file, url, contents=_contents(data_dir / "contents"), tick=_tick))
    finally:
        folder.release()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    sessions, events = moved.rows.get("session", 0), moved.rows.get("event", 0)
    if as_json:
        emit({"sessions": sessions, "events": events, "digest": moved.digest, "from": str(file)})
    say(
        f"{count(sessions, 'session')} with {count(events, 'event')} moved; read back, both have the SHA-256 {moved.digest}."
    )
    say(
        dim(f"· serve from there: RECONVENE_DATABASE=postgresql://… reconvene serve. {safe(str(file))} stays as it is.")
    )


def _bring_up_to_date(file: Path) -> None:
    """An older schema is migrated first, with a backup, as every start does it."""
    from reconvene.log.database import open_writer, recognise

    recognise(file)
    open_writer(file).close()


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    from reconvene.workspace.contents import Contents

    kept = Contents(folder)
    for path in sorted(folder.glob("??/*")):
        name = path.parent.name + path.name
        data = kept.get(name)
        if data is not None:
            yield name, zlib.compress(data, 6)


def _tick(table: str, rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r  {table}: {rows:,}      ", end="", file=sys.stderr, flush=True)
