"""Items of a view as lines of text, for a terminal and for documents."""

from __future__ import annotations

from reconvene.protocol.view import Item

_CUT = 120
"""Characters of an argument that a step's line shows."""


def tool_line(item: Item) -> str:
    """`search "session cleanup": 7 places in 5 files (cached)`"""
    args = item["args"] if isinstance(item["args"], dict) else {}
    said = next((v for v in args.values() if isinstance(v, str)), "")
    result = item["result"]
    summary = result["summary"]
    if said and said not in summary:  # most summaries say what was looked for
        summary = f'"{said if len(said) <= _CUT else said[: _CUT - 1] + "…"}" → {summary}'
    notes = [n for n in (result.get("cache"), "cut" if result.get("truncated") else None) if n and n != "fresh"]
    ending = f" ({', '.join(notes)})" if notes else ""
    return f"{item['name']} {'' if result.get('ok', True) else '✗ '}{summary}{ending}"


def unified(diff: Item, *, numbered: bool = False) -> str:
    """A diff item as unified text. `numbered`: each part with its number before it, when there are several."""
    parts: list[str] = []
    several = numbered and sum(len(file["hunks"]) for file in diff["files"]) > 1
    number = 0
    for file in diff["files"]:
        old = file.get("old_path") or file["path"]
        parts.append(f"--- {'/dev/null' if file['op'] == 'create' else f'a/{old}'}\n")
        parts.append(f"+++ {'/dev/null' if file['op'] == 'delete' else 'b/' + file['path']}\n")
        for hunk in file["hunks"]:
            number += 1
            parts.append(f"# part {number}\n" if several else "")
            parts.append(hunk["unified"] if hunk["unified"].endswith("\n") else hunk["unified"] + "\n")
    return "".join(parts)
