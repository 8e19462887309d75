"""One change of three files (edit, create, delete) with everything that can happen to it: an answer that does not fit, a reviewer who sends
it back, a person who does, and a hunk that is rejected. What it ends in is known to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coding import update
from reconvene.agents.edit_format import Create, Delete, Edit, Replace, render
from scripted import Step

FILES = {
    "a.py": "".join(f"line_{n} = {n}\n" for n in range(30)),
    "b.py": "old = True\n",
    "sub/keep.txt": "keep\r\nme",
}
PROMPT = "Change the three files."
ORCHESTRATOR: Sequence[Step] = [
    [("search", {"query": "line_3"})],
    update("Change a.py, make sub/new.py, delete b.py.", "a.py", "b.py"),
    "It is written.",
]


def _answer(mark: str) -> str:
    edit = Edit(
        "a.py", (Replace(("line_3 = 3",), (f"line_3 = '{mark}'",)), Replace(("line_25 = 25",), ("line_25 = 'no'",)))
    )
    return f"This is {mark}.\n{render([edit, Create('sub/new.py', (f'# {mark}', 'x = 1')), Delete('b.py')])}"


CODER = [
    render([Edit("a.py", (Replace(("line_3 =  3",), ("x",)),))]),
    _answer("review 0"),
    _answer("review 1"),
    _answer("review 2"),
]
REVIEWER = ["SEND BACK\n\nNot yet.", "APPROVE\n\nGood.", "APPROVE\n\nBetter."]
FEEDBACK = "Say review 2 instead."
CALLS = {("orchestrator", n) for n in range(3)} | {("coder", n) for n in range(4)} | {("reviewer", n) for n in range(3)}
"""Every model call that it takes, each once."""
WANTED = {
    "a.py": FILES["a.py"].replace("line_3 = 3\n", "line_3 = 'review 2'\n").encode(),
    "sub/keep.txt": b"keep\r\nme",
    "sub/new.py": b"# review 2\nx = 1\n",
}


def decision(diff: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What the person says to the n-th diff (from 0)."""
    if number == 0:
        return {"verdict": "feedback", "hunks": None, "feedback": FEEDBACK}
    hunks = [h["id"] for file in diff["files"] for h in file["hunks"] if "line_25" not in h["unified"].split("@@")[2]]
    return {"verdict": "accept", "hunks": hunks, "feedback": None}
