"""A data folder without a server: its database, read as it is. Nothing is written to it, and no lock is taken.

What only some commands need is imported when they ask for it: a list of sessions is to be there at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from reconvene.errors import ReconveneError
from reconvene.log.queries import STATEMENTS, migrations
from reconvene.protocol.cursor import START_TAG, Cursor

T = TypeVar("T")
BUSY_MS = 5000
LAST = 2**32 - 1
APPLICATION_ID = 0x52435645
"""As in `log.database`, whose log would have to be imported."""
OWNER = "owner"
"""Whose sessions a command at this machine is about, as in `server.gate`."""
_SESSION = (
    "id", "owner", "root", "epoch", "head", "head_tag", "title", "status", "run_id", "pinned", "archived", "created_at", "active_at",
    "last_active", "bytes", "meta",
)  # fmt: skip
"""The columns of the statements `session` and `sessions`."""


def elsewhere(data_dir: Path) -> bool:
    """Whether this folder's sessions are in a PostgreSQL."""
    try:
        named = "database" in (data_dir / "config.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        named = False
    if not named and not os.environ.get("RECONVENE_DATABASE"):
        return False
    from reconvene.config import Settings

    return Settings.load({"data_dir": data_dir}).database is not None


@dataclass(slots=True)
class _Event:
    """A row of the log as it is kept, without what only a server needs of it."""

    seq: int
    type: str
    run_id: str | None
    item_id: str | None
    parent_id: str | None
    at: float
    content: str

    def wire(self) -> str:
        from reconvene.protocol.events import wire

        return wire(self.type, self.seq, self.run_id, self.item_id, self.parent_id, self.at, self.content)


class Stored:
    """See `looking.Source`."""

    live = False

    def __init__(self, data_dir: Path, db: apsw.Connection | None) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "reconvene.db"
        self._db = db

    @classmethod
    def of(cls, data_dir: Path) -> Stored | None:
        """None: its database is of an earlier version of ours, which a server brings up to date. One that never was has no sessions.

        Raises:
            ReconveneError: `store_lost`, `store_corrupt`, `store_foreign`, `store_newer`, `store_busy`, `data_dir_unusable`.
        """
        path = data_dir / "reconvene.db"
        if not os.path.lexists(path):
            if any(path.with_name(path.name + left).exists() for left in (".instance", "-wal")):
                sentence = (
                    f"The database {path} is missing, though there was one. `reconvene doctor` says what can be done."
                )
                raise ReconveneError("store_lost", sentence, path=str(path))
            return cls(data_dir, None)
        db = None
        try:
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            db.set_busy_timeout(BUSY_MS)
            # A damaged schema, or one with foreign triggers, must not be able to run anything.
            db.pragma("trusted_schema", False)
            db.pragma("cell_size_check", True)
            db.pragma("query_only", True)
            if (db.pragma("application_id"), db.pragma("user_version")) == (APPLICATION_ID, len(migrations())):
                return cls(data_dir, db)
            failed: apsw.Error | None = None
        except apsw.Error as e:
            failed = e
        if db is not None:
            db.close(True)
        from reconvene.log.database import explain, recognise

        recognise(path)  # what is no database of ours, or of a newer version, it refuses
        if failed is not None:
            raise explain(failed, path) from failed
        return None

    # -- sessions

    def sessions(self, *, whole: bool = False) -> list[dict[str, Any]]:
        rows = [row for row in self._rows(OWNER) if row["head"]]
        rows.sort(key=lambda row: (row["active_at"], row["id"]), reverse=True)
        shown = [self._shown(row) for row in rows]
        if whole:
            for one, row in zip(shown, rows, strict=True):
                one["stay"] = self._stay(row)
        return shown

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """As `GET /api/sessions` says it."""
        cursor = Cursor(row["epoch"], row["head"], row["head_tag"] if row["head"] else START_TAG)
        kept = ("title", "root", "status", "run_id", "pinned", "archived", "head", "created_at", "active_at")
        return {
            "session_id": row["id"],
            **{name: row[name] for name in kept},
            "pinned": bool(row["pinned"]),
            "archived": bool(row["archived"]),
            "cursor": str(cursor),
            "pending": 0 if row["status"] == "idle" else self._pending(row["id"]),
        }

    def _stay(self, row: Mapping[str, Any]) -> dict[str, Any]:
        from reconvene.config import Settings
        from reconvene.log.port import SessionRow
        from reconvene.sessions.stay import stay

        retention = Settings.load({"data_dir": self._data_dir}).retention
        kept = stay(SessionRow(**row), now=self._uptime(), retention=retention, is_open=False)
        return {"reason": kept.reason, "left": kept.left, "sentence": kept.sentence}

    def _pending(self, id: str) -> int:
        from reconvene.sessions.state import SessionState

        state = SessionState()
        for row in self._events(id, stateful=True):
            state.apply(row)
        return len(state.pending)

    def events(self, id: str) -> Iterator[dict[str, Any]]:
        for row in self._events(id, public=True):
            yield {
                "type": row.type,
                "seq": row.seq,
                "run_id": row.run_id,
                "item_id": row.item_id,
                "parent_id": row.parent_id,
                "at": round(row.at, 3),
                "content": json.loads(row.content),
            }

    def export(self, id: str, format: str) -> str:
        rows = self._events(id, public=True)
        if format == "jsonl":
            return "".join(f"{row.wire()}\n" for row in rows)
        from reconvene.protocol.view import reduce
        from reconvene.sessions.document import DOCUMENTS

        title = next(row["title"] for row in self._rows(OWNER) if row["id"] == id)
        return DOCUMENTS[format](title or id, reduce(json.loads(row.wire()) for row in rows))

    def patch(self, id: str) -> str:
        from reconvene.sessions.kept import patch
        from reconvene.workspace.contents import Contents

        return patch(self._events(id, types=("applied",)), Contents(self._data_dir / "contents"))

    def search(self, words: str, limit: int) -> dict[str, Any]:
        if self._db is None:
            return {"sessions": [], "searched": 0, "of": 0}
        from reconvene.cli.stored_search import search

        return search(self._data_dir, words, limit, OWNER)

    # -- people

    def users(self) -> list[dict[str, Any]]:
        from reconvene.server.people import People

        made = []
        for person in _now(People.open(_Values(self))).all():
            rows = self._rows(person.id)
            made.append(
                {
                    "id": person.id,
                    "name": person.name,
                    "created_at": person.created,
                    "disabled": person.disabled,
                    "account": person.account[0] if person.account else None,
                    "sessions": sum(1 for row in rows if row["head"]),
                    "running": sum(1 for row in rows if row["status"] == "running"),
                    "waiting": sum(1 for row in rows if row["status"] == "waiting"),
                    "bytes": sum(row["bytes"] for row in rows),
                    "connections": 0,
                }
            )
        return made

    def audit(self, limit: int) -> list[dict[str, Any]]:
        from dataclasses import asdict

        from reconvene.server.audit import Audit

        return [asdict(entry) for entry in _now(Audit(_Values(self)).newest(limit))]

    def links(self, id: str) -> list[dict[str, Any]]:
        from reconvene.server.views import Views

        now = self._uptime()
        views = _now(Views.open(_Values(self), lambda: now))
        return [{"id": v.id, "created_at": v.made, "left": views.left(v)} for v in views.of(id)]

    # -- the database

    def _rows(self, owner: str) -> list[dict[str, Any]]:
        found = self._value("sessions", owner=owner, archived=None, statuses=None, limit=-1) or []
        return [dict(zip(_SESSION, columns, strict=True)) for columns in found]

    def _events(
        self, id: str, *, public: bool | None = None, stateful: bool | None = None, types: Sequence[str] | None = None
    ) -> list[_Event]:
        found = self._value(
            "read_events", id=id, after=0, upto=LAST, public=public, stateful=stateful, run_id=None,
            types=None if types is None else json.dumps(list(types)), max_events=-1, max_bytes=None,
        )  # fmt: skip
        return [
            _Event(seq, type, run_id, item_id, parent_id, at, content)
            for seq, type, run_id, item_id, parent_id, _key, _public, _stateful, at, _tag, content in found or []
        ]

    def _uptime(self) -> float:
        """As `log.uptime.Uptime` begins."""
        newest: list[list[Any]] = self._value("sessions", owner=None, archived=None, statuses=None, limit=1) or []
        try:
            stored = float((self._value("get", name="uptime") or [0.0])[0])
        except ValueError:
            stored = 0.0
        return max([stored, *(float(row[_SESSION.index("last_active")]) for row in newest)])

    def _value(self, statement: str, **bindings: Any) -> Any:
        if self._db is None:
            return None
        try:
            found = self._db.execute(STATEMENTS[statement], bindings).get
        except (apsw.Error, UnicodeDecodeError) as e:
            from reconvene.log.database import explain

            raise explain(e, self._path, self._db) from e
        return None if found is None else json.loads(found)


def _now(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing, as all that ask `_Values` do: an event loop would have to be imported."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits for something")


class _Values:
    """The small store beside the sessions, as `server.small_store` wants it; what would be tidied up there stays."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    async def get(self, name: str) -> str | None:
        found = self._stored._value("get", name=name)
        return found[0] if found else None

    async def put(self, name: str, value: str | None) -> None:
        pass

    async def scan(self, prefix: str) -> dict[str, str]:
        found: dict[str, str] = self._stored._value("scan", prefix=prefix) or {}
        return found
