"""Events as sentences for people, one line each but for answers: what a plain client gets as `log`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Content = Mapping[str, Any]


def quoted(text: str, most: int = 160) -> str:
    """A text in one line, cut with "…" after `most` characters."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= most else line[: most - 1] + "…"}"'


def prompt(content: Content) -> str:
    how = " (steers the run)" if content.get("delivery") == "steer" else ""
    return f"[prompt] {quoted(content['text'], 400)}{how}"


def run(content: Content) -> str:
    first, attempt = content.get("position"), content.get("attempt") or 0
    words = str(content["status"])
    if content["status"] == "queued" and first:
        words += f", {first} {'run goes' if first == 1 else 'runs go'} first"
    if attempt > 1:
        words += f", attempt {attempt}"
    return f"[run] {words}" + (f": {content['reason']}" if content.get("reason") else "")


def repo_map(content: Content) -> str:
    notes = [word for word in ("reused", "partial") if content.get(word)]
    words = f"[map] {content['files']:,} files, {content['symbols']:,} symbols"
    return words + (f" ({', '.join(notes)})" if notes else "")


def message(content: Content) -> str:
    text = f"{content['text']} [stopped here]" if content.get("interrupted") else str(content["text"])
    return f"[reasoning] {text}" if content.get("kind") == "reasoning" else text


def tool(call: Content | None, result: Content) -> str:
    """
    >>> tool({"name": "search", "args": {"query": "session cleanup"}}, {"summary": "7 snippets", "cache": "cached"})
    '[search] "session cleanup" → 7 snippets (cached)'
    """
    name = str(call["name"])[:64] if call else "tool"
    words = _arguments(call["args"]) if call else ""
    notes = [result["cache"]] if result.get("cache") in ("cached", "refreshed") else []
    notes += ["truncated"] if result.get("truncated") else []
    ended = result["summary"] if result.get("ok", True) else f"failed: {result['summary']}"
    return f"[{name}] {words}{' ' if words else ''}→ {ended}" + (f" ({', '.join(notes)})" if notes else "")


def call(content: Content) -> str:
    """
    >>> call({"name": "read_file", "args": {"path": "a.py", "start": 3}})
    'read_file a.py:3'
    """
    words = _arguments(content["args"])
    return f"{str(content['name'])[:64]}{' ' if words else ''}{words}"


def _arguments(args: object) -> str:
    match args:
        case {"query": str() as query}:
            return quoted(query)
        case {"path": str() as path, "start": int() as start, "end": int() as end}:
            return f"{path}:{start}-{end}"
        case {"path": str() as path, "start": int() as start}:
            return f"{path}:{start}"
        case {"path": str() as path}:
            return path
        case dict():
            words = [f"{key}={_value(value)}" for key, value in list(args.items())[:3]]
            return " ".join(words)
        case _:
            return "" if args is None else _value(args)


def _value(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:159] + "…"


def answered(question: str | None, content: Content) -> str:
    answer = content["answer"]
    words = ("yes" if answer else "no") if isinstance(answer, bool) else _value(answer)
    return f"[question] {quoted(question) + ' ' if question is not None else ''}→ {words}{_by(content)}"


def decided(paths: str | None, hunks: int | None, content: Content) -> str:
    """`paths`: the diff's files; `hunks`: how many it has (None: not known)."""
    match content:
        case {"verdict": "feedback"}:
            words = f"feedback: {quoted(content.get('feedback') or '')}"
        case {"verdict": "stale"}:
            words = f"out of date: {content.get('feedback') or 'a file changed'}"
        case {"verdict": "accept", "hunks": list() as chosen}:
            words = f"accepted {len(chosen)}{f' of {hunks}' if hunks is not None else ''} hunks"
        case {"verdict": verdict}:
            words = f"{verdict}ed"
    return f"[diff] {paths + ' ' if paths else ''}→ {words}{_by(content)}"


def applied(content: Content) -> str:
    paths = ", ".join(file["path"] for file in content["files"]) or "nothing"
    words = f"[{'taken back' if content.get('undo') else 'applied'}] {paths}"
    clashes = [f"{c['path']} ({c.get('note') or 'it changed meanwhile'})" for c in content.get("conflicts") or ()]
    return f"{words}; in conflict, not overwritten: {', '.join(clashes)}" if clashes else words


def closed(label: str, text: str) -> str:
    return f"[{label}] {text} → closed: its run is over"


def action(content: Content) -> str:
    words = _arguments(dict(content.get("args") or {}))
    return f"[action] {content['name']}{' ' + words if words else ''}{_by(content)}"


def _by(content: Content) -> str:
    return f" (by {content['by']})" if content.get("by") else ""


def paths(files: list[dict[str, Any]]) -> str:
    """The files of a diff, at most three by name."""
    names = [file["path"] for file in files]
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more files"


def unified(files: list[dict[str, Any]]) -> str:
    """A diff as one unified text, as `git diff` writes it."""
    parts: list[str] = []
    for file in files:
        op, path, old = file["op"], file["path"], file.get("old_path") or file["path"]
        hunks = list(file.get("hunks") or ())
        if hunks and not hunks[0]["unified"].startswith(("@@", "Binary")):
            parts.append(hunks.pop(0)["unified"])  # the rename and the new mode are a hunk of their own, the first
        elif op == "rename":
            parts.append(f"rename from {old}\nrename to {path}\n")
        if hunks:
            parts.append(f"--- {'/dev/null' if op == 'create' else 'a/' + old}\n")
            parts.append(f"+++ {'/dev/null' if op == 'delete' else 'b/' + path}\n")
        elif op in ("create", "delete"):
            parts.append(f"{op} {path}\n")
        parts += [hunk["unified"] if hunk["unified"].endswith("\n") else hunk["unified"] + "\n" for hunk in hunks]
    return "".join(parts)
