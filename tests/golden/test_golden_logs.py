"""A log that a released version left is opened, shown and gone on with by this one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest
from record import ROOT, shown, view_of

import threefiles
from coding import agents
from house import ME, House, check_log
from reconvene.errors import ReconveneError
from reconvene.log.sqlite import SqliteLog

GOLDEN = sorted(Path(__file__).parent.glob("*.db"))


def copied(golden: Path, folder: Path) -> Path:
    (folder / "data").mkdir(mode=0o700)
    return Path(shutil.copy(golden, folder / "data" / "reconvene.db"))


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def has_all(then: Any, now: Any, path: str = "") -> list[str]:
    """Where what is shown now lacks or changes what was shown then; a later version may add fields."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [d for k in then for d in has_all(then[k], now.get(k), f"{path}.{k}")]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [d for n, (a, b) in enumerate(zip(then, now, strict=True)) for d in has_all(a, b, f"{path}[{n}]")]
    return [] if then == now else [f"{path}: then {str(then)[:80]}, now {str(now)[:80]}"]


def test_there_is_one_of_every_release() -> None:
    assert GOLDEN[0].stem == "0.1.0"
    assert all(g.with_suffix(".json").exists() for g in GOLDEN)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: g.stem)
async def test_it_is_shown_as_it_was(golden: Path, tmp_path: Path) -> None:
    then = json.loads(golden.with_suffix(".json").read_text())
    now = as_json(await shown(copied(golden, tmp_path)))
    assert then.keys() == now.keys()
    assert not has_all(then, now)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: g.stem)
async def test_it_is_gone_on_with(golden: Path, tmp_path: Path) -> None:
    """Its state is folded, a known command is known, and a new prompt has the old conversation before it."""
    path = copied(golden, tmp_path)
    house = await House.open(tmp_path, agents(["It goes on."], threefiles.CODER), files=threefiles.FILES)
    try:
        session = next(s for s in await house.sessions.list(ME.owner) if s.title == "A golden session" and s.pinned)
        assert session.root == ROOT
        check_log(await house.rows(session.id))
        with pytest.raises(ReconveneError) as refused:
            await house.sessions.submit(ME, session.id, id="prompt-1", text="another text")
        assert refused.value.code == "id_conflict"
    finally:
        await house.close()
    db = apsw.Connection(str(path))
    db.execute("update session set root = ?", (str((tmp_path / "project").resolve()),))
    db.close()
    await house.reopen()
    try:
        earlier = len(await house.rows(session.id))
        await house.ask("Go on.", session.id, id="prompt-3")
        rows = await house.completed(session.id, runs=3)
        check_log(rows)
        assert '"It goes on."' in rows[-2].content + rows[-1].content and len(rows) > earlier
        snapshot = await house.sessions.snapshot(session.id)
        assert snapshot.cursor.seq == len(rows)
    finally:
        await house.close()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: g.stem)
async def test_control_a_changed_meaning_is_seen(golden: Path, tmp_path: Path) -> None:
    then = json.loads(golden.with_suffix(".json").read_text())
    log = await SqliteLog.open(copied(golden, tmp_path))
    try:
        id = (await log.sessions())[0].id
        rows = [r for r in await log.read(id, 0) if r.type != "message"]
        assert has_all(then[id], as_json(view_of(rows)))
    finally:
        await log.close()
