"""What is typed at a question or a change, as the frame that answers it."""

from __future__ import annotations

import json
import re
from typing import Any

from reconvene.cli import terminal
from reconvene.client.link import Frame
from reconvene.protocol.lines import unified
from reconvene.protocol.view import Item

MOST_EDITED = 18_000
"""Characters of an edited change; feedback has at most 20,000."""


class Parts:
    """A change gone through part by part. `take` says what becomes of what was typed; `open`: it goes on."""

    def __init__(self, item: Item) -> None:
        self._item = item
        self._hunks = [(file["path"], hunk) for file in item["files"] for hunk in file["hunks"]]
        self._chosen: list[str] = []
        self._at = 0
        self.open = True

    def shown(self) -> str:
        """The part that is asked about."""
        path, hunk = self._hunks[self._at]
        return terminal.safe(f"{path}\n{hunk['unified'].rstrip()}\n")

    def hint(self) -> str:
        return f"part {self._at + 1} of {len(self._hunks)}: y, n, f and what to change, e to edit, q to go back to the whole "

    def take(self, line: str) -> Frame | str | None:
        """The decision once it is made, a sentence for what makes no sense, None to go on."""
        first, _, rest = line.strip().partition(" ")
        word = first.lower()
        if word == "q":
            self.open = False
            return None
        if word in ("f", "feedback"):
            if not rest.strip():
                return "Type f and what should be different."
            path, hunk = self._hunks[self._at]
            return self._feedback(f"In {path}, at `{_place(hunk)}`: {rest.strip()}")
        if word not in ("y", "yes", "n", "no"):
            return "Answer y, n, f, e or q."
        if word[0] == "y":
            self._chosen.append(self._hunks[self._at][1]["id"])
        self._at += 1
        if self._at < len(self._hunks):
            return None
        return _decide(self._item, "accept" if self._chosen else "reject", self._chosen or None)

    def edited(self) -> Frame | str:
        """The part as the person edits it, as feedback. Blocking."""
        path, hunk = self._hunks[self._at]
        said = f"I edited the part of {path} at `{_place(hunk)}`. Propose exactly this in its place:"
        made = _edit(hunk["unified"], said)
        return made if made in (_SAME, _LONG) else self._feedback(made)

    def _feedback(self, said: str) -> Frame:
        fine = [f"{path} at `{_place(hunk)}`" for path, hunk in self._hunks[: self._at] if hunk["id"] in self._chosen]
        kept = f"\n\nFine as they are: {', '.join(fine)}." if fine else ""
        return _decide(self._item, "feedback", feedback=said + kept)


def edited(item: Item) -> Frame | str:
    """The change as the person edits it, as feedback: the agent proposes it anew, and nothing is written that was not shown. Blocking."""
    made = _edit(unified(item), "I edited the change. Propose exactly this:")
    return made if made in (_SAME, _LONG) else _decide(item, "feedback", feedback=made)


_SAME = "The change is as it was."
_LONG = f"This is over {MOST_EDITED:,} characters. Say in words what should be different."


def _edit(before: str, said: str) -> str:
    """What to tell the agent; `_SAME` or `_LONG` when there is nothing to tell."""
    import click

    after = click.edit(before, extension=".diff")
    if after is None or after.strip() == before.strip():
        return _SAME
    if len(after) > MOST_EDITED:
        return _LONG
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", after)), default=0))
    return f"{said}\n\n{fence}diff\n{after.rstrip()}\n{fence}"


def _place(hunk: dict[str, Any]) -> str:
    """The line of a part that says where it is."""
    return str(hunk["unified"]).split("\n", 1)[0].strip()[:120]


def _decide(item: Item, verdict: str, hunks: list[str] | None = None, feedback: str | None = None) -> Frame:
    content = {"verdict": verdict, "hunks": hunks, "feedback": feedback}
    return {"type": "decision", "reply_to": item["id"], "content": content}


def hint(item: Item) -> str:
    if item["type"] == "diff":
        parts = sum(len(file["hunks"]) for file in item["files"])
        some = "the parts to accept (1 3 …), s to go through them, " if parts > 1 else ""
        return f"y, n, {some}e to edit, q to leave, or what to change "
    if item["type"] == "confirmation" or (item["schema"] or {}).get("type") == "boolean":
        return "y or n "
    return ""


def answer_of(item: Item, typed: str) -> Frame | str:
    """The frame for what was typed, or a sentence why it cannot be one."""
    word = typed.strip()
    if not word:
        return "Type an answer, or Ctrl-C to leave; the question waits."
    yes_or_no = {"y": True, "yes": True, "n": False, "no": False}.get(word.lower())
    if item["type"] == "diff":
        return _decision(item, word, yes_or_no)
    value: Any = word
    kind = (item.get("schema") or {}).get("type")
    if item["type"] == "confirmation" or kind == "boolean":
        if yes_or_no is None:
            return "Answer y or n."
        value = yes_or_no
    elif kind == "object":
        try:
            value = json.loads(word)
        except ValueError as e:
            return f"This needs a JSON object ({e})."
    return {"type": "answer", "reply_to": item["id"], "content": value}


def _decision(item: Item, word: str, yes_or_no: bool | None) -> Frame | str:
    """What was typed at a diff: yes, no, the numbers of the parts to accept, or (with or without f before it) what to change."""
    hunks = [hunk["id"] for file in item["files"] for hunk in file["hunks"]]
    content: dict[str, Any] = {"verdict": "reject" if yes_or_no is False else "accept", "hunks": None, "feedback": None}
    first, _, rest = word.partition(" ")
    if yes_or_no is None and re.fullmatch(r"[\d\s,]+", word):
        numbers = [int(n) for n in re.findall(r"\d+", word)]
        if not numbers or not all(1 <= n <= len(hunks) for n in numbers):
            return f"The parts are 1 to {len(hunks)}."
        content["hunks"] = [hunks[n - 1] for n in sorted(set(numbers))]
    elif yes_or_no is None:
        said = rest.strip() if first.lower() in ("f", "feedback") else word
        if not said:
            return "Type what should be different."
        content.update(verdict="feedback", feedback=said)
    return {"type": "decision", "reply_to": item["id"], "content": content}
