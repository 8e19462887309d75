"""Record the golden log of this version: one session with everything in it, as a release leaves it on people's disks.

    python tests/golden/record.py          makes tests/golden/<version>.db and <version>.json, which are never changed again

The `.json` is what the session was shown as by the version that wrote it. `test_golden_logs.py` opens every one of them with the code
of today. Run it once, when a version is released; a file that is there already is not written over.
"""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import threefiles
from coding import agents, update
from house import ME, House, contents
from reconvene import __version__
from reconvene.log.port import Row
from reconvene.protocol.view import reduce

HERE = Path(__file__).parent
ROOT = "/home/somebody/project"
"""What the recorded sessions say their code base is; the folder of whoever recorded them is nobody's business."""
SCRIPT: list[Any] = [
    [("search", {"query": "line_3"}), ("search", {"query": "old"})],
    [("create_plan", {"title": "Change it", "steps": ["look", "change"]}), ("ask_user", {"question": "Which?"})],
    update("Change a.py, make sub/new.py, delete b.py.", "a.py", "b.py"),
    "It is written.",
]


async def session(folder: Path) -> None:
    """A prompt, searches, a plan, a question, a diff that is sent back and one that is accepted in part, a second prompt that is stopped, a
    rename, a pin and a fork."""
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = await House.open(folder, model, files=threefiles.FILES)
    id = await house.ask(threefiles.PROMPT, id="prompt-1", turn={"review": True, "max_iterations": 3})
    answered = decided = 0
    while True:
        rows = await house.until(id, functools.partial(_due, seen=answered + decided))
        if any(r.type == "completed" for r in rows):
            break
        if len(questions := contents(rows, "question")) > answered:
            await house.sessions.answer(
                ME, id, id=f"answer-{answered}", reply_to=questions[answered]["id"], value="both"
            )
            answered += 1
        else:
            diff = contents(rows, "diff")[decided]
            how = threefiles.decision(diff, decided)
            await house.sessions.decide(ME, id, id=f"decision-{decided}", reply_to=diff["id"], **how)
            decided += 1
    await house.ask("And again?", id, id="prompt-2")
    await house.until(id, lambda r: _asked(r) > answered + decided)
    await house.sessions.cancel(ME, id, id="cancel-1")
    await house.completed(id, runs=2)
    await house.sessions.act(ME, id, id="action-1", name="rename", args={"title": "A golden session"})
    await house.sessions.act(ME, id, id="action-2", name="pin", args={"pinned": True})
    await house.sessions.fork(ME, id, upto=None, id="fork-1")
    await house.close()


def _due(rows: list[Row], seen: int) -> bool:
    return _asked(rows) > seen or any(r.type == "completed" for r in rows)


def _asked(rows: list[Row]) -> int:
    return sum(r.type in ("question", "diff") for r in rows)


def view_of(rows: list[Row]) -> Any:
    """What a person is shown of these rows."""
    return reduce([json.loads(r.wire()) for r in rows if r.public]).to_json()


async def shown(database: Path) -> dict[str, Any]:
    """Of every session in a database, what a person is shown."""
    from reconvene.log.sqlite import SqliteLog

    log = await SqliteLog.open(database)
    try:
        return {s.id: view_of(await log.read(s.id, 0)) for s in await log.sessions()}
    finally:
        await log.close()


def without_paths(database: Path, folder: Path) -> None:
    import apsw

    db = apsw.Connection(str(database))
    db.pragma("secure_delete", True)  # what is written over leaves nothing in a page
    real = str((folder / "project").resolve())
    db.execute("update session set root = ?", (ROOT,))
    left = db.execute("select count(*) from event where instr(content, ?)", (real,)).get
    assert not left, "the folder it was recorded in stands in an event"
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()
    assert real.encode() not in database.read_bytes()


async def main() -> None:
    target = HERE / f"{__version__}.db"
    if target.exists():
        raise SystemExit(f"{target.name} is there already: a golden log is never changed.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        await session(folder)
        database = folder / "data" / "reconvene.db"
        without_paths(database, folder)
        views = await shown(database)
        shutil.copy(database, target)
    target.with_suffix(".json").write_text(json.dumps(views, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    print(f"{target.name}: {len(views)} sessions, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
