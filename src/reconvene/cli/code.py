"""`map` and `search`: by the server that serves the code base, else in this process, with the index that a server would use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from reconvene.cli import terminal
from reconvene.cli.places import root_of
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError

STARTING, AGAIN = 20.0, 0.2
"""Seconds that a server may take until it has imported what indexes need, and between two looks."""
MOST_FOCUS = 20


def print_map(
    data_dir: Path, root: Path | None, *, tokens: int, focus: Sequence[str], as_json: bool, cursor: str | None = None
) -> None:
    """Print the repo map; `focus`: words to rank by, files to begin with, folders to stay in."""
    place, server = _asked(data_dir, root)
    if server is not None and len(focus) <= MOST_FOCUS:
        words = [("focus", word) for word in focus]
        made = _call(
            server, "map", ("root", str(place)), ("tokens", str(tokens)), ("text", "true"), *words, ("cursor", cursor)
        )
        for row in made["rows"]:
            row["why"] = ", ".join(row["why"])
            del row["used"], row["seen"]
    else:
        from reconvene.cli.code_here import map_here

        made = map_here(data_dir, place, tokens=tokens, focus=focus, cursor=cursor)
    if as_json:
        for row in made["rows"]:
            terminal.emit(row)
    else:
        terminal.out(terminal.safe(made["text"].rstrip("\n")) + "\n")
    terminal.say(
        terminal.dim(f"· {made['files']:,} files, {made['symbols']:,} symbols, about {made['tokens']:,} tokens")
    )
    _say_more(made)


def print_search(
    data_dir: Path, root: Path | None, query: str, *, k: int, files: bool, as_json: bool, cursor: str | None = None
) -> None:
    """Print ranked snippets: `path:start-end score` and their lines; or (`files`) each file once."""
    place, server = _asked(data_dir, root)
    if server is not None:
        found = _call(server, "search", ("root", str(place)), ("q", query), ("limit", str(k)), ("cursor", cursor))
    else:
        from reconvene.cli.code_here import search_here

        found = search_here(data_dir, place, query, k=k, cursor=cursor)
    listed: set[str] = set()
    for snippet in found["places"]:
        path = snippet["path"]
        if files:
            if path not in listed:
                terminal.emit({"path": path, "score": snippet["score"]}) if as_json else print(path)
            listed.add(path)
        elif as_json:
            terminal.emit({key: snippet[key] for key in ("path", "start", "end", "score", "symbol", "text")})
        else:
            print(f"{path}:{snippet['start']}-{snippet['end']} {snippet['score']:.3f}")
            terminal.out("".join(f"    {line}\n" for line in terminal.safe(snippet["text"]).splitlines()))
    if found["further"] and not (files or as_json):
        terminal.say(terminal.dim(terminal.safe(f"· then come: {', '.join(found['further'])}")))
    if not found["places"]:
        terminal.say("Nothing was found. Try other words, or fewer.")
    if found["truncated"]:
        terminal.say("Not everything could be looked through in time: there may be more.")
    _say_more(found)


def _asked(data_dir: Path, root: Path | None) -> tuple[Path, Server | None]:
    """The code base that is meant, and the server that serves it."""
    server, served = find(data_dir), list[str]()
    if server is not None:
        try:
            served = [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
        except ReconveneError:
            server = None  # it is about to end; the index can be looked at without it
    place = root_of(root, served)
    return place, server if str(place) in served else None


def _call(server: Server, what: str, *query: tuple[str, str | None]) -> dict[str, Any]:
    path = f"/api/code/{what}?" + urlencode(
        [(key, value) for key, value in query if value is not None], errors="surrogateescape"
    )
    deadline = time.monotonic() + STARTING
    while True:
        try:
            answer: dict[str, Any] = server.call("GET", path)
            return answer
        except ReconveneError as e:
            if e.code != "starting" or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN)


def _say_more(answer: dict[str, Any]) -> None:
    if answer["partial"]:
        terminal.say(
            "The code is still being read, so some may be missing. `reconvene index --status` tells how far it is."
        )
    if answer["moved"]:
        terminal.say("What the pages before showed has changed since, so this begins again.")
    if answer["next"] is not None:
        terminal.say(terminal.dim(f"· there is more: the same with --cursor {answer['next']}"))
