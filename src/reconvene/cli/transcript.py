"""A session as text for a terminal: what of it was printed, and what is to be printed next.

A follower folds the session; this prints the difference between its view and what was printed before. So a snapshot
after a reconnect repeats nothing, and an answer that was struck and written anew is shown as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.cli.terminal import safe
from reconvene.protocol.lines import tool_line, unified
from reconvene.protocol.sentences import decided
from reconvene.protocol.view import Item, View

OF_A_PERSON = ("text", "diff", "question", "confirmation")
"""What is shown of a sub-agent: what it says and asks, not each of its steps."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to print: of the answer (as it comes, newlines included), a change (whole lines), or one whole line about a step."""

    kind: Literal["answer", "diff", "step"]
    text: str


class Transcript:
    """What is shown of a session.

    Args:
        one_run: show nothing but the run `run_id`, which may become known later (`ask`); else everything, with the
            prompts (`attach`).
        live: print text as it comes; else when it is finished, so that nothing that was struck gets into a file.
    """

    def __init__(self, *, one_run: bool = False, run_id: str | None = None, live: bool = True) -> None:
        self.run_id = run_id
        self._live = live
        self._one_run = one_run
        self._written: dict[str, str] = {}
        """What was printed of each text item that is not finished."""
        self._finished: set[str] = set()
        self._pending: set[str] = set()
        self._decided: set[str] = set()
        self._status: dict[str, tuple[Any, Any]] = {}
        self._over: set[str] = set()
        self._plan: Any = None
        self._mid_line = False
        self._spoke: set[str | None] = set()
        """Runs of which an answer was printed."""

    def pending(self, view: View) -> list[Item]:
        """What waits for a person in what is shown, oldest first."""
        return [i for i in view.pending() if self._shows(i["run_id"])]

    def run(self, view: View) -> dict[str, Any]:
        """What is known of the one run; empty before anything is."""
        return view.runs.get(self.run_id or "", {})

    def news(self, view: View) -> list[Piece]:
        """What of the view was not printed yet."""
        return list(self._news(view))

    def question(self, item: Item) -> list[Piece]:
        """A question of another run that has to be answered first; nothing if it was printed before."""
        return [] if item["key"] in self._pending else list(self._asked(item["key"], item))

    def _news(self, view: View) -> Iterator[Piece]:
        for key in [k for k in self._written if k not in view.items]:
            if self._written.pop(key):
                yield from self._step("  (interrupted; it is written anew)")
        yield from self._held_up(view)
        last = {item["run_id"]: key for key, item in view.items.items()}
        for key, item in list(view.items.items()):
            nested = item["parent_id"] is not None and item["type"] not in OF_A_PERSON
            if key not in self._finished and self._shows(item["run_id"]) and not nested:
                yield from self._item(key, item)
            if (run_id := item["run_id"]) is not None and last[run_id] == key:
                yield from self._plan_news(view, run_id)
                yield from self._ended(view, run_id)
        for run_id in view.runs:
            yield from self._plan_news(view, run_id)
            yield from self._ended(view, run_id)

    def _shows(self, run_id: str | None) -> bool:
        return not self._one_run or (run_id is not None and run_id == self.run_id)

    def _item(self, key: str, item: Item) -> Iterator[Piece]:
        match item["type"]:
            case "text":
                yield from self._text(key, item)
            case "prompt":
                self._finished.add(key)
                if not self._one_run and not item["removed"]:
                    by = f" ({item['by']})" if item["by"] else ""
                    yield from self._step("\n".join(f"> {line}" for line in item["text"].splitlines()) + by)
            case "tool":
                if item["result"] is not None:
                    self._finished.add(key)
                    yield from self._step(f"· {tool_line(item)}")
            case "question" | "confirmation" | "diff":
                yield from self._asked(key, item)
            case "repo_map":
                self._finished.add(key)
                seen = item["content"]
                note = " so far" if seen.get("partial") else " (reused)" if seen["reused"] else ""
                yield from self._step(f"· map: {seen['files']:,} files, {seen['symbols']:,} symbols{note}")
            case "error":
                self._finished.add(key)
                yield from self._step(f"✗ {item['content']['message']}")

    def _text(self, key: str, item: Item) -> Iterator[Piece]:
        if item["kind"] == "reasoning" or not (self._live or item["final"]):
            return
        if item["parent_id"] is not None:  # a sub-agent's: no answer, and shown once it is whole
            if item["final"]:
                self._finished.add(key)
                yield from self._step("\n".join(f"  │ {line}" for line in item["text"].splitlines()))
            return
        text, written = item["text"], self._written.get(key, "")
        if not text.startswith(written):
            yield from self._step("  (written anew)")
            written = ""
        self._spoke.add(item["run_id"])
        if new := text[len(written) :]:
            if not written and self._mid_line:
                yield Piece("answer", "\n")
            yield Piece("answer", safe(new))
            self._mid_line = not new.endswith("\n")
        self._written[key] = text
        if item["final"]:
            self._finished.add(key)
            del self._written[key]
            if self._mid_line:
                self._mid_line = False
                yield Piece("answer", "\n")
            if item["interrupted"]:
                yield from self._step("  (stopped here)")

    def _asked(self, key: str, item: Item) -> Iterator[Piece]:
        if key not in self._pending:
            self._pending.add(key)
            if item["type"] == "diff":
                yield from self._step(f"? Apply this change to {', '.join(f['path'] for f in item['files'])}?")
                risks = [file["risk"] for file in item["files"] if file.get("risk")]
                yield from (piece for risk in risks for piece in self._step(f"! {risk}"))
                yield Piece("diff", safe(unified(item, numbered=True)))
            else:
                choices = (item["schema"] or {}).get("enum")
                yield from self._step(f"? {item['text']}" + (f" ({' / '.join(map(str, choices))})" if choices else ""))
        if (settled := item["settled"]) is None:
            return
        if item["type"] == "diff" and settled.get("verdict") == "accept" and key in self._decided:
            yield from self._written_files(key, item)
            return
        if item["type"] == "diff":
            yield from self._step(f"· {decided(None, None, settled).removeprefix('[diff] → ')}")
            self._decided.add(key)
            if settled["verdict"] == "accept":
                yield from self._written_files(key, item)
            else:
                self._finished.add(key)
        else:
            self._finished.add(key)
            what = settled.get("verdict") or settled.get("answer")
            if isinstance(what, bool):
                what = "yes" if what else "no"
            yield from self._step(f"· {settled.get('by') or 'somebody'} answered: {what}")

    def _written_files(self, key: str, item: Item) -> Iterator[Piece]:
        """What became of an accepted diff, once it is known."""
        if item["applied"] is None:
            return
        self._finished.add(key)
        if item["applied"]:
            yield from self._step(f"· written: {', '.join(file['path'] for file in item['applied'])}")
        for conflict in item["conflicts"]:
            yield from self._step(
                f"✗ {conflict['path']}: {conflict['note'] or 'it changed meanwhile; not overwritten'}"
            )

    def _plan_news(self, view: View, run_id: str) -> Iterator[Piece]:
        plan = view.plan
        if plan is None or plan["run_id"] != run_id or plan == self._plan or not self._shows(run_id):
            return
        self._plan = plan
        marks = {"pending": "○", "active": "◐", "done": "●", "skipped": "–"}
        lines = [f"  {marks.get(s['status'], '○')} {s['title']}" for s in plan["steps"]]
        yield from self._step("\n".join([f"· plan{': ' + plan['title'] if plan.get('title') else ''}", *lines]))

    def _held_up(self, view: View) -> Iterator[Piece]:
        """Why a run does not go on at once, before its items."""
        for run_id, run in view.runs.items():
            now = (run["status"], run["attempt"])
            if self._shows(run_id) and run["outcome"] is None and self._status.get(run_id) != now:
                self._status[run_id] = now
                if run["status"] == "queued" and run["position"]:
                    yield from self._step(f"· queued behind {run['position']}")
                elif run["status"] == "recovering":
                    restarted = run["reason"] in (None, "restart")
                    yield from self._step(
                        "· the server was restarted; the run goes on" if restarted else f"· {run['reason']}"
                    )

    def _ended(self, view: View, run_id: str) -> Iterator[Piece]:
        """How a run ended, after its items."""
        run = view.runs.get(run_id)
        if run is None or run["outcome"] is None or run_id in self._over or not self._shows(run_id):
            return
        self._over.add(run_id)
        if run["outcome"] == "success" and run["text"] and run_id not in self._spoke:
            yield from self._step(run["text"])  # of a run that no model was asked in, such as taking back
        if run["outcome"] != "success":
            yield from self._step(f"✗ {run['outcome']}{f': {why}' if (why := run['ended']) else ''}")
        if run["usage"]:
            yield from self._step(f"· {usage_line(run['usage'])}")

    def _step(self, text: str) -> Iterator[Piece]:
        if self._mid_line:
            self._mid_line = False
            yield Piece("answer", "\n")
        yield Piece("step", safe(text))


def usage_line(usage: dict[str, Any]) -> str:
    tokens = f"{usage.get('input_tokens', 0):,} tokens in, {usage.get('output_tokens', 0):,} out"
    cost = f", ${usage['cost']:.4f}" if usage.get("cost") else ""
    requests = usage.get("requests", 0)
    return (
        f"{'about ' if usage.get('estimated') else ''}{tokens}, {requests} model request{'s' * (requests != 1)}{cost}"
    )
