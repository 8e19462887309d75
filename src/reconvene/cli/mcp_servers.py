"""`reconvene mcp-servers`: the MCP servers whose tools our agents may use. Nothing in a code base can add one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from reconvene.agents.foreign_settings import NAME, Approval, ForeignServer, configure, configured
from reconvene.cli.terminal import emit, safe, say
from reconvene.errors import ReconveneError

_HOW = {"ask": "asked before each call", "once": "asked once in a session", "never": "never asked"}


def add(data_dir: Path, name: str, command: Sequence[str], *, approval: Approval, env: Sequence[str]) -> None:
    """Raises: `invalid_field`."""
    if not NAME.fullmatch(name):
        raise ReconveneError(
            "invalid_field", "A name has 1 to 32 lower-case letters, digits and hyphens.", field="name"
        )
    if not command:
        raise ReconveneError("invalid_field", "Say after -- which command starts it.", field="command")
    pairs = [pair.partition("=") for pair in env]
    if bad := next((key for key, equals, _ in pairs if not equals or not key), None):
        raise ReconveneError("invalid_field", f"--env takes NAME=VALUE, not {safe(bad)}.", field="env")
    servers = configured(data_dir)
    values = {key: value for key, _, value in pairs}
    servers[name] = ForeignServer(command=command[0], args=list(command[1:]), env=values, approval=approval)
    configure(data_dir, servers)
    say(f"{name} is added; its tools are there from the next prompt on. You are {_HOW[approval]}.")


def remove(data_dir: Path, name: str) -> None:
    """Raises: `not_found`."""
    servers = configured(data_dir)
    if name not in servers:
        raise ReconveneError("not_found", f"There is no MCP server {safe(name)}.")
    del servers[name]
    configure(data_dir, servers)
    say(f"{name} is removed.")


def print_list(data_dir: Path, *, as_json: bool) -> None:
    """Names of variables, never their values."""
    servers = configured(data_dir)
    if not servers and not as_json:
        say("No MCP server is added. Add one: reconvene mcp-servers add NAME -- command …")
    for name, server in servers.items():
        if as_json:
            said = {"command": server.command, "args": server.args, "env": sorted(server.env)}
            emit({"name": name, "approval": server.approval, **said})
        else:
            variables = f"  ({', '.join(sorted(server.env))} set)" if server.env else ""
            print(f"{name}  {safe(shlex.join([server.command, *server.args]))}{variables}  {_HOW[server.approval]}")
