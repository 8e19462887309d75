"""`patch`, `undo`, `rewind`, `retry` and `plan`: what a session did, and how it is taken back, done again or steered from the terminal."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from reconvene.cli import asking, terminal
from reconvene.cli.at_rest import awake
from reconvene.cli.looking import look, resolve
from reconvene.client.http import session_path
from reconvene.errors import ReconveneError
from reconvene.protocol.view import View, reduce

_MARKS = {"pending": " ", "active": ">", "done": "x", "skipped": "-"}
_STEP = re.compile(r"\s*(?:[-*]\s+|\d+[.)]\s+)?(?:\[(.)\]\s+)?(\S.*?)\s*")


def patch(data_dir: Path, name: str, output: Path | None, *, as_json: bool = False) -> None:
    """Write it to stdout or a file.

    Raises:
        ReconveneError: `not_found`: a content is not kept any more; `permission_denied`: the file cannot be written.
    """
    source = look(data_dir)
    id = resolve(source, name)["session_id"]
    text = source.patch(id)
    if not text:
        terminal.say("This session changed no file, or everything was taken back.")
    if output is not None:
        try:
            output.write_text(text, "utf-8")
        except OSError as e:
            raise ReconveneError("permission_denied", f"{output} cannot be written: {e.strerror}.") from e
        if as_json:
            terminal.emit({"session_id": id, "file": str(output)})
        terminal.say(f"Wrote {output}. Apply it elsewhere with: git apply {output}")
    elif as_json:
        terminal.emit({"session_id": id, "patch": text})
    else:
        # For a program byte by byte; on a terminal so that it cannot steer it.
        terminal.out(terminal.safe(text) if sys.stdout.isatty() else text)


def undo(data_dir: Path, name: str, *, sure: bool, as_json: bool) -> int:
    """Take back the last change that was not taken back; returns the exit code.

    Raises:
        ReconveneError: `no_such_diff`: there is none.
    """
    session, view = _session(data_dir, name)
    changes = [i for i in view.items.values() if i["type"] == "diff" and i["applied"] and not i["undone"]]
    if not changes:
        raise ReconveneError("no_such_diff", "This session changed no file, or everything was taken back.")
    paths = ", ".join(file["path"] for file in changes[-1]["applied"])
    if not _agreed(f"Take back the last change ({paths})?", sure):
        return 0
    return asking.act(session, data_dir, "undo", {"diff_id": changes[-1]["id"]}, as_json=as_json)


def rewind(data_dir: Path, name: str, prompts: int, *, files: bool, sure: bool, as_json: bool) -> int:
    """Go back to before the last prompts; returns the exit code.

    Raises:
        ReconveneError: `invalid_field`: the session has not so many.
    """
    source = look(data_dir)
    session = resolve(source, name)
    known = list(source.events(session["session_id"]))
    asked = _prompts(known)
    if prompts > len(asked):
        raise ReconveneError("invalid_field", f"The session has {terminal.count(len(asked), 'prompt')} to go back to.")
    seq, text = asked[-prompts]
    what = "conversation and files" if files else "the conversation; files stay as they are"
    if not _agreed(f'Go back to before "{_short(text)}" ({what})?', sure):
        return 0
    args: dict[str, Any] = {"upto": seq - 1} if files else {"upto": seq - 1, "files": False}
    code = asking.act(session, data_dir, "rewind", args, as_json=as_json)
    if code == 0 and not files and not as_json:
        terminal.say("The conversation was taken back.")
    return code


def retry(data_dir: Path, name: str, *, as_json: bool) -> int:
    """Run the last run again; returns the exit code.

    Raises:
        ReconveneError: `no_such_run`: none of its runs failed or was stopped last.
    """
    session, view = _session(data_dir, name)
    last = list(view.runs)[-1] if view.runs else None
    if last is None or view.runs[last]["outcome"] not in ("failed", "cancelled"):
        raise ReconveneError("no_such_run", "The session's last run neither failed nor was stopped.")
    return asking.act(session, data_dir, "retry", {"run_id": last}, as_json=as_json)


def plan(data_dir: Path, name: str, *, edit: bool, stdin: bool, as_json: bool) -> None:
    """Print the plan, or replace it by what was typed.

    Raises:
        ReconveneError: `not_found`: there is none; `invalid_field`: what was typed is no plan.
    """
    session, view = _session(data_dir, name)
    if view.plan is None:
        raise ReconveneError("not_found", "This session has no plan.")
    text = plan_text(view.plan)
    if not edit and not stdin:
        if as_json:
            terminal.emit({k: view.plan[k] for k in ("title", "steps")})
        else:
            terminal.out(terminal.safe(text))
        return
    if stdin:
        written: str | None = sys.stdin.read(1024**2)
    else:
        import click

        written = click.edit(text, extension=".md")
    if written is None or written.strip() == text.strip():
        terminal.say("The plan is as it was.")
        return
    steps = plan_steps(written)
    if not steps:
        raise ReconveneError("invalid_field", "A plan has at least one step. It is as it was.")
    frame = {"type": "action", "content": {"name": "edit_plan", "args": {"steps": steps}}}
    id = session["session_id"]
    awake(data_dir, id).call("POST", session_path(id, "/messages"), frame)
    terminal.say(f"The plan has {terminal.count(len(steps), 'step')} now; the agent is told.")


def plan_text(plan: dict[str, Any]) -> str:
    """A plan as it is printed, edited and read again."""
    head = f"# {plan['title']}\n" if plan.get("title") else ""
    return head + "".join(f"[{_MARKS.get(s['status'], ' ')}] {s['title']}\n" for s in plan["steps"])


def plan_steps(text: str) -> list[dict[str, str]]:
    """The steps of a text: a line each, `[x]` done, `[>]` being done, `[-]` left out.

    >>> plan_steps("# title\\n[x] look\\n- [ ] change it\\n3. test")
    [{'title': 'look', 'status': 'done'}, {'title': 'change it', 'status': 'pending'}, {'title': 'test', 'status': 'pending'}]
    """
    status = {mark: name for name, mark in _MARKS.items()} | {"X": "done"}
    steps = []
    for line in text.splitlines():
        if not line.startswith("#") and (m := _STEP.fullmatch(line)):
            steps.append({"title": m[2], "status": status.get(m[1] or " ", "pending")})
    return steps


def _session(data_dir: Path, name: str) -> tuple[dict[str, Any], View]:
    source = look(data_dir)
    session = resolve(source, name)
    return session, reduce(source.events(session["session_id"]))


def _prompts(known: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The prompts that were not taken back: seq and text, oldest first."""
    asked: list[tuple[int, str]] = []
    for e in known:
        content = e["content"]
        if e["type"] == "prompt":
            asked.append((e["seq"], content["text"]))
        elif e["type"] == "action" and content["name"] in ("rewind", "resend"):
            asked = [(seq, text) for seq, text in asked if seq <= content["args"]["upto"]]
    return asked


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _agreed(question: str, sure: bool) -> bool:
    if sure:
        return True
    if not terminal.interactive():
        raise ReconveneError("invalid_field", f"{question} Say --yes.")
    print(f"{terminal.safe(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    terminal.say("Nothing was changed.")
    return False
