"""`reconvene sessions …`: what only looks is answered without a server, too; what changes something starts one when none runs."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from reconvene.cli import terminal
from reconvene.cli.at_rest import awake
from reconvene.cli.looking import look, resolve
from reconvene.client.http import session_path
from reconvene.errors import ReconveneError

NARROW, SHORT = 100, 10
"""On a terminal of fewer columns, ids are shown by so many of their characters: the start of one is enough everywhere."""
_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def print_list(data_dir: Path, *, archived: bool, as_json: bool) -> None:
    source = look(data_dir)
    known = [s for s in source.sessions(whole=as_json) if archived or not s["archived"]]
    if as_json:
        for session in known:
            terminal.emit(session)
        return
    if not known:
        terminal.say('No sessions yet. Start one: reconvene ask "…"')
        return
    heading = sys.stdout.isatty()
    room = shutil.get_terminal_size().columns if heading else 10_000
    rows = [("SESSION", "STATE", "USED", "TITLE", "CODE BASE"), *map(_row, known)]
    if room < NARROW:
        rows = [(row[0][:SHORT], *row[1:]) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for number, row in enumerate(rows):
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        if number:
            print(line[:room].rstrip())
        elif heading:
            print(terminal.dim(line[:room].rstrip()))
    if not source.live and (cut := sum(s["status"] in ("running", "recovering") for s in known)):
        on = "it goes on" if cut == 1 else "they go on"
        terminal.say(
            terminal.dim(
                f"· no server runs, so {terminal.count(cut, 'session')} stands still; {on} as soon as one does"
            )
        )


def _row(session: dict[str, Any]) -> tuple[str, ...]:
    marks = " (archived)" if session["archived"] else " (pinned)" if session["pinned"] else ""
    waiting = f" · {session['pending']} to answer" if session.get("pending") else ""
    title = terminal.safe(" ".join((session["title"] or "untitled").split())[:60])
    age = _age(time.time() - session["active_at"])
    return session["session_id"], session["status"], age, f"{title}{marks}{waiting}", terminal.safe(session["root"])


def search(data_dir: Path, words: str, *, limit: int, as_json: bool) -> None:
    """Print where all these words were said, the best sessions first.

    Raises:
        ReconveneError: `invalid_field`: there is nothing to look for.
    """
    if not words.strip():
        raise ReconveneError("invalid_field", "Say which words to look for.")
    source = look(data_dir)
    found = source.search(words, limit)
    titles = {s["session_id"]: s["title"] for s in source.sessions()} if found["sessions"] else {}
    bold = terminal.colours(sys.stdout)
    for session in found["sessions"]:
        title = titles.get(session["session_id"], "")
        if as_json:
            terminal.emit({**session, "title": title})
            continue
        print(f"{session['session_id']}  {terminal.safe(title or 'untitled')}")
        for hit in session["hits"]:
            pieces = [terminal.safe(" ".join(piece.split("\n"))) for piece in hit["pieces"]]
            marked = [f"\x1b[1m{piece}\x1b[0m" if bold and n % 2 else piece for n, piece in enumerate(pieces)]
            print(f"    {hit['kind']}: {''.join(marked).strip()}")
    if not found["sessions"]:
        terminal.say("Nothing was found. Try other words, or fewer.")
    if found["searched"] < found["of"]:
        terminal.say(
            terminal.dim(
                f"· {found['searched']:,} of {found['of']:,} sessions were looked through; ask again for the rest"
            )
        )


def prune(data_dir: Path, older: str, *, archived: bool, sure: bool, dry: bool, as_json: bool) -> None:
    """Delete sessions that were not used for so long. Those that run, wait for a person or are pinned stay.

    Raises:
        ReconveneError: `invalid_field`: that is no time, or nobody can be asked and nobody said that it is sure.
    """
    from reconvene.config import seconds

    age = seconds(older)
    if not isinstance(age, float):
        raise ReconveneError("invalid_field", f"--older {terminal.safe(older)} is no time such as 30d or 12h.")
    now = time.time()
    old = [
        s
        for s in look(data_dir).sessions()
        if now - s["active_at"] >= age
        and s["status"] == "idle"
        and not s["pinned"]
        and not s["pending"]
        and (s["archived"] or not archived)
    ]
    if not old:
        terminal.say(f"No session is that old (unused for {terminal.safe(older)}).")
        return
    if not dry and not sure:
        if not terminal.interactive():
            raise ReconveneError("invalid_field", "Deleting is for good; say --yes, or --dry-run to see what would go.")
        for session in old:
            terminal.say("  ".join(_row(session)))
        print(f"Delete {terminal.count(len(old), 'session')} for good? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            terminal.say("Nothing was deleted.")
            return
    server = None if dry else awake(data_dir, old[0]["session_id"])
    for session in old:
        if server is not None:
            server.call("DELETE", session_path(session["session_id"]))
        terminal.emit(session) if as_json else print("  ".join(_row(session)))
    verb = "would be deleted" if dry else "deleted"
    terminal.say(f"{terminal.count(len(old), 'session')} {verb}.")


def print_session(data_dir: Path, name: str, *, as_json: bool) -> None:
    source = look(data_dir)
    session = resolve(source, name)
    if as_json:
        for event in source.events(session["session_id"]):
            terminal.emit(event)
        return
    from reconvene.cli.printing import Printer
    from reconvene.cli.transcript import Transcript
    from reconvene.protocol.view import reduce

    printer = Printer(steps=sys.stdout)
    printer.show(Transcript().news(reduce(source.events(session["session_id"]))))
    printer.end()


def export(data_dir: Path, name: str, format: str, output: Path | None, *, as_json: bool = False) -> None:
    """Write a session as JSONL (its events as they are stored), Markdown or HTML.

    Raises:
        ReconveneError: `permission_denied` when the file cannot be written.
    """
    source = look(data_dir)
    id = resolve(source, name)["session_id"]
    text = source.export(id, format)
    about = {"session_id": id, "format": format}
    if output is None:
        terminal.emit({**about, "text": text}) if as_json else terminal.out(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as e:
        raise ReconveneError("permission_denied", f"{output} cannot be written: {e.strerror}.") from e
    if as_json:
        terminal.emit({**about, "file": str(output)})
    terminal.say(f"Wrote {output}.")


def change(data_dir: Path, name: str, fields: dict[str, Any], *, as_json: bool) -> None:
    session = resolve(look(data_dir), name)
    changed = awake(data_dir, session["session_id"]).call("PATCH", session_path(session["session_id"]), fields)
    if as_json:
        terminal.emit(changed)


def fork(data_dir: Path, name: str, upto: int | None, *, as_json: bool) -> None:
    id = resolve(look(data_dir), name)["session_id"]
    made = awake(data_dir, id).call("POST", session_path(id, "/fork"), {} if upto is None else {"upto": upto})
    if as_json:
        terminal.emit(made)
    else:
        print(made["session_id"])


def remove(data_dir: Path, name: str, *, sure: bool, as_json: bool = False) -> None:
    session = resolve(look(data_dir), name)
    if not sure:
        if not terminal.interactive():
            raise ReconveneError("invalid_field", "Deleting is for good; say --yes.")
        print(
            f"Delete {session['session_id']} ({terminal.safe(session['title'] or 'untitled')}) for good? [y/N] ",
            end="",
            file=sys.stderr,
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            terminal.say("Nothing was deleted.")
            return
    awake(data_dir, session["session_id"]).call("DELETE", session_path(session["session_id"]))
    if as_json:
        terminal.emit(session)
    terminal.say(f"Deleted {session['session_id']}.")


def _age(seconds: float) -> str:
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "now"
