"""One session with everything in it, the client that follows it over the lives of its server, and what has to hold in the end.

A prompt, two searches, a question, and a change of three files that a person sends back once and accepts in part. The client knows only
what it was told in writing: `told`, a file outside of the data folder, has the acknowledgements it got and what it was shown.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
from io_points import REAL_WRITE

import threefiles
from coding import update
from house import ME, House
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import Row

SCRIPT: list[Any] = [
    [("search", {"query": "line_3"}), ("search", {"query": "old"})],
    [("read_file", {"path": "a.py"}), ("ask_user", {"question": "Which?"})],
    update("Change a.py, make sub/new.py, delete b.py.", "a.py", "b.py"),
    "It is written, as you wanted it.",
]
MODEL_CALLS = len(threefiles.CALLS) + 1
OLD = {name: text.encode() for name, text in threefiles.FILES.items()}
LATER = b"# saved by a person after the change\n"
FAILED_TOOL = "a tool call failed"
SETTINGS: dict[str, Any] = {"limits": Limits(attempts_without_progress=10_000)}
"""A run is ended when it was started five times without getting further; here it is killed more often than that on purpose."""


class Client:
    """What a person's client does. It knows what it was told before (`known`), and writes down what it is told now."""

    def __init__(self, house: House, told: int, known: list[dict[str, Any]], again: bool) -> None:
        self.house, self.told, self.again = house, told, again
        self.acked = {k["ack"]: k["seq"] for k in known if "ack" in k}
        self.session = next((k["session"] for k in known if "session" in k), None)
        self.late = any("late" in k for k in known)
        self.woken = asyncio.Event()
        self.fresh = self.written = False

    def tell(self, **what: Any) -> None:
        REAL_WRITE(self.told, (json.dumps(what) + "\n").encode())

    async def look_back(self) -> None:
        """Before anything goes on: what of the session is on the disk. A person saves a file that was changed, once."""
        rows = await self.house.rows(self.session) if self.session else []
        self.written = any(r.type == "apply_outcome" for r in rows)
        self.tell(life=len(rows), digest=digest(rows))
        changed = self.house.folder / "project" / "a.py"
        if (
            any(r.type == "applied" for r in rows)
            and not self.late
            and changed.read_bytes() == threefiles.WANTED["a.py"]
        ):
            self.tell(late="begun")
            changed.write_bytes(threefiles.WANTED["a.py"] + LATER)
            self.tell(late="done")

    def committed(self, _id: str, rows: tuple[Row, ...]) -> None:
        self.tell(shown=[[r.seq, digest([r])] for r in rows])
        if not self.fresh and any(r.type != "run" for r in rows):
            self.fresh = True
            self.tell(fresh=True)
        self.woken.set()

    def touched(self, op: str, path: str) -> None:
        if self.written and op in ("create", "write", "renameat2", "rename") and "/project/" in path:
            self.tell(wrong=f"after the outcome of the change was on the disk: {op} {path}")

    async def run(self) -> None:
        sessions = self.house.sessions
        attached = await sessions.attach(ME, session_id=self.session, prompt_id="the prompt")
        session = attached.session.id
        if session != self.session:
            self.tell(session=session)
        turn = {"review": True, "max_iterations": 3}
        await self.send(sessions.submit, "the prompt", session, text=threefiles.PROMPT, turn=turn)
        while True:
            self.woken.clear()
            rows = await self.house.rows(session)
            if any(r.type == "completed" for r in rows):
                self.tell(end=True)
                return
            asked = [json.loads(r.content) | {"kind": r.type} for r in rows if r.type in ("question", "diff")]
            for n, item in enumerate([i for i in asked if i["kind"] == "diff"]):
                how = threefiles.decision(item, n)
                await self.send(sessions.decide, f"to {item['id']}", session, reply_to=item["id"], **how)
            for item in asked:
                if item["kind"] == "question":
                    await self.send(sessions.answer, f"to {item['id']}", session, reply_to=item["id"], value="this one")
            await self.woken.wait()

    async def send(self, command: Any, id: str, session: str, **frame: Any) -> None:
        """Send until it is acknowledged. What was acknowledged in an earlier life is sent once more, as after a lost answer."""
        if id in self.acked and not self.again:
            return
        try:
            receipt = await command(ME, session, id=id, body=f"body of {id}", **frame)
        except ReconveneError as e:
            self.tell(wrong=f"{id} is refused: {e}")
            return
        if self.acked.get(id, receipt.seq) != receipt.seq or (id in self.acked and receipt.status != "duplicate"):
            self.tell(wrong=f"{id} was acknowledged as {self.acked[id]}, now as {receipt}")
        self.acked[id] = receipt.seq
        self.again = False
        self.tell(ack=id, seq=receipt.seq)


def digest(rows: Sequence[Row]) -> str:
    texts = [text for r in rows for text in (str(r.seq), r.type, r.content, r.key or "")]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()


def told(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(folder: Path) -> list[str]:
    """What is wrong in the end: `broken_promises`, and what a run that went well has to have."""
    lines, rows = told(folder), rows_of(folder / "data" / "reconvene.db")
    wrong = broken_promises(lines, rows)
    kinds = Counter(r.type for r in rows)
    wanted = {"prompt": 1, "answered": 1, "decided": 2, "applied": 1, "completed": 1}
    wrong += [f"{kinds[k]} rows of {k}, {n} wanted" for k, n in wanted.items() if kinds[k] != n]
    if kinds["model"] + kinds["sub_model"] != MODEL_CALLS:
        wrong.append(f"{kinds['model'] + kinds['sub_model']} model responses, {MODEL_CALLS} wanted")
    wrong += [f"ended with {r.content}" for r in rows if r.type == "completed" and '"success"' not in r.content]
    wrong += [f"{FAILED_TOOL}: {key} with {code}" for key, code in failed_tools(rows).items()]
    if kinds["tool_result"] != kinds["tool_call"]:
        wrong.append(f"{kinds['tool_result']} results of {kinds['tool_call']} tool calls")
    files = files_of(folder)
    late = {t["late"] for t in lines if "late" in t}
    saved = threefiles.WANTED | {"a.py": threefiles.WANTED["a.py"] + LATER}
    if files != (saved if "done" in late else threefiles.WANTED) and not (late == {"begun"} and files == saved):
        wrong.append(f"files: { {k: v[-60:] for k, v in files.items()} }, late {late}")
    return wrong


def failed_tools(rows: Sequence[Row]) -> dict[str, str]:
    """Of each tool call that failed: the key of the row with what the model was answered (the result's own, when there is no such row),
    and the code of the error. A run goes on with what the model does then, and may end well all the same."""
    found = {}
    for n, row in enumerate(rows):
        if row.type == "tool_result" and not json.loads(row.content)["ok"]:
            answered = rows[n + 1] if n + 1 < len(rows) and rows[n + 1].type == "tool_return" else row
            value = json.loads(answered.content).get("value")
            error = value.get("error") if isinstance(value, dict) else None
            found[str(answered.key)] = error["code"] if isinstance(error, dict) else "no code"
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    root = folder / "project"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def acknowledged(folder: Path) -> int:
    return len({t["ack"] for t in told(folder) if "ack" in t})


def broken_promises(lines: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[str]:
    """What the disk has, against what the client was told on the way: holds at every moment, however a run went."""
    wrong = [t["wrong"] for t in lines if "wrong" in t]
    session = next((t["session"] for t in lines if "session" in t), "")
    others = {r.session_id for r in rows if r.session_id != session}
    if others:
        wrong.append(f"rows in sessions that nobody was told of: {others}")
    rows = [r for r in rows if r.session_id == session]
    if [r.seq for r in rows] != list(range(1, len(rows) + 1)):
        wrong.append("a gap or a repeat in the log")
    keys = [r.key for r in rows if r.key]
    wrong += [f"the key {k} twice" for k, n in Counter(keys).items() if n > 1]
    at = {r.seq: r for r in rows}
    for t in lines:
        for seq, was in t.get("shown", ()):
            if seq not in at or digest([at[seq]]) != was:
                wrong.append(f"shown and not in the log, or changed: {seq}")
        if "ack" in t and (t["seq"] not in at or at[t["seq"]].type not in ("prompt", "answered", "decided")):
            wrong.append(f"acknowledged and lost: {t}")
        if "life" in t and digest(rows[: t["life"]]) != t["digest"]:
            wrong.append("what was on the disk at a death is not there any more")
    wrong += begun_again(lines, rows)[0]
    return wrong


def begun_again(lines: Sequence[dict[str, Any]], rows: Sequence[Row]) -> tuple[list[str], int]:
    """Model requests and tool calls that were begun although their result was on the disk when that life began; and how many
    were begun again because a death had cut them short, which is allowed."""
    finished: set[str | None] = set()
    begun: Counter[str] = Counter()
    wrong = []
    for t in lines:
        if "life" in t:
            finished = {r.key for r in rows[: t["life"]]}
        elif "begun" in t:
            begun[t["begun"]] += 1
            if t["begun"] in finished:
                wrong.append(f"finished before a death and begun again: {t['begun']}")
    return wrong, sum(n - 1 for n in begun.values())


def rows_of(database: Path) -> list[Row]:
    """Every row, as a server that starts now would find them."""
    db = apsw.Connection(str(database))
    names = ("seq", "type", "content", "run_id", "item_id", "parent_id", "key", "public", "stateful", "at", "tag")
    columns = ", ".join(f"e.{name}" for name in names)
    try:
        found = db.execute(f"select s.id, {columns} from event e join session s on s.n = e.session order by place")
        return [Row(**dict(zip(("session_id", *names), row, strict=True))) for row in found]
    finally:
        db.close()
