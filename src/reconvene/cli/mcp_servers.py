"""`reconvene mcp-servers`: the MCP servers whose tools our agents may use. Nothing in a code base can add one."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconvene.agents.foreign_settings import NAME, Approval, ForeignServer, configure, configured, wrong_with
from reconvene.cli.terminal import emit, safe, say
from reconvene.errors import ReconveneError

_HOW = {"ask": "asked before each call", "once": "asked once in a session", "never": "never asked"}


def add(
    data_dir: Path,
    name: str,
    command: Sequence[str],
    *,
    approval: Approval,
    env: Sequence[str] = (),
    url: str | None = None,
    headers: Sequence[str] = (),
    token: bool = False,
    as_json: bool = False,
) -> None:
    """
    Args:
        token: ask for one, or read it from stdin: an argument is seen by others.

    Raises:
        ReconveneError: `invalid_field`.
    """
    if not NAME.fullmatch(name):
        raise ReconveneError(
            "invalid_field", "A name has 1 to 32 lower-case letters, digits and hyphens.", field="name"
        )
    if bool(command) == (url is not None):
        raise ReconveneError(
            "invalid_field", "Say after -- which command starts it, or with --url where it is.", field="command"
        )
    if url is None:
        if headers or token:
            raise ReconveneError("invalid_field", "--header and --token are for --url.", field="header")
        made = ForeignServer(command=command[0], args=list(command[1:]), env=_pairs("env", env), approval=approval)
    else:
        if env:
            raise ReconveneError("invalid_field", "--env is for a server that a command starts.", field="env")
        sent = _pairs("header", headers)
        if token:
            sent["Authorization"] = f"Bearer {_token(name)}"
        if wrong := wrong_with(url, sent):
            raise ReconveneError("invalid_field", wrong, field="url")
        made = ForeignServer(url=url, headers=sent, approval=approval)
    servers = configured(data_dir)
    servers[name] = made
    configure(data_dir, servers)
    if as_json:
        emit(_shown(name, made))
    say(f"{name} is added; its tools are there from the next prompt on. You are {_HOW[approval]}.")


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    if bad := next((key for key, equals, _ in pairs if not equals or not key), None):
        raise ReconveneError("invalid_field", f"--{option} takes NAME=VALUE, not {safe(bad)}.", field=option)
    return {key: value for key, _, value in pairs}


def _token(name: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        given = getpass(f"Token for {name}: ", sys.stderr).strip()
    else:
        given = sys.stdin.readline().strip()
    if not given:
        raise ReconveneError("invalid_field", f"No token for {name} was typed or piped. Nothing changed.")
    return given


def remove(data_dir: Path, name: str, *, as_json: bool = False) -> None:
    """Raises: `not_found`."""
    servers = configured(data_dir)
    if name not in servers:
        raise ReconveneError("not_found", f"There is no MCP server {safe(name)}.")
    removed = servers.pop(name)
    configure(data_dir, servers)
    if as_json:
        emit(_shown(name, removed))
    say(f"{name} is removed.")


def print_list(data_dir: Path, *, as_json: bool) -> None:
    """Names of variables and headers, never their values."""
    servers = configured(data_dir)
    if not servers and not as_json:
        say("No MCP server is added. Add one: reconvene mcp-servers add NAME -- command …")
    for name, server in servers.items():
        if as_json:
            emit(_shown(name, server))
        else:
            kept = sorted(server.headers if server.url else server.env)
            variables = f"  ({', '.join(map(safe, kept))} set)" if kept else ""
            where = server.url or shlex.join([server.command, *server.args])
            print(f"{name}  {safe(where)}{variables}  {_HOW[server.approval]}")


def _shown(name: str, server: ForeignServer) -> dict[str, Any]:
    """Names of variables and headers, never their values."""
    about: dict[str, Any] = {"name": name, "approval": server.approval}
    if server.url:
        return {**about, "url": server.url, "headers": sorted(server.headers)}
    return {**about, "command": server.command, "args": server.args, "env": sorted(server.env)}
