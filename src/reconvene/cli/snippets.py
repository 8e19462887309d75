"""`reconvene config`: what to paste into an editor's or an agent's settings so that it finds this installation."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs

from reconvene.cli.terminal import dim, emit, say

Client = Literal["zed", "jetbrains", "claude", "vscode"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a client looks: `command` is ours that it starts, `path` the keys under which it wants it."""

    command: Literal["acp", "mcp"]
    path: tuple[str, str]
    type: str | None
    where: str


PLACES: dict[Client, _Place] = {
    "zed": _Place(
        "acp", ("agent_servers", "Reconvene"), "custom", "settings.json of Zed (command palette: `zed: open settings`)"
    ),
    "jetbrains": _Place(
        "acp", ("agent_servers", "Reconvene"), None, "~/.jetbrains/acp.json (AI Chat: Add Custom Agent)"
    ),
    "claude": _Place("mcp", ("mcpServers", "reconvene"), "stdio", "~/.claude.json, or `claude mcp add-json`"),
    "vscode": _Place(
        "mcp", ("servers", "reconvene"), "stdio", "mcp.json (command palette: `MCP: Open User Configuration`)"
    ),
}


def print_snippet(client: Client, data_dir: Path, *, as_json: bool = False) -> None:
    """The JSON on stdout, where it goes on stderr; `as_json`: both, on one line."""
    place = PLACES[client]
    if as_json:
        emit({"client": client, "where": place.where, "settings": snippet(place, data_dir)})
        return
    print(json.dumps(snippet(place, data_dir), indent=2))
    say(dim(f"· goes into {place.where}"))


def snippet(place: _Place, data_dir: Path) -> dict[str, Any]:
    usual = Path(platformdirs.user_data_dir("reconvene", appauthor=False)).expanduser().absolute()
    more = [] if data_dir == usual else ["--data-dir", str(data_dir)]
    entry: dict[str, Any] = {} if place.type is None else {"type": place.type}
    entry |= {"command": _executable(), "args": [place.command, *more], "env": {}}
    outer, inner = place.path
    return {outer: {inner: entry}}


def _executable() -> str:
    """This installation's command, absolute: an editor that was not started from a terminal has another PATH."""
    beside = Path(sys.executable).with_name("reconvene")
    return str(beside) if os.access(beside, os.X_OK) else os.path.abspath(sys.argv[0])
