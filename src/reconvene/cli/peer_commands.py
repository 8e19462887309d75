"""`acp`, `mcp`, `config`, `mcp-servers`: editors and agents of others, as typer knows them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Root

servers_app = typer.Typer(
    help="MCP servers whose tools agents may use. Only you add them; nothing in a code base can.",
    no_args_is_help=True,
)


class ApprovalOf(StrEnum):
    ask = "ask"
    once = "once"
    never = "never"


class EditorOrAgent(StrEnum):
    zed = "zed"
    jetbrains = "jetbrains"
    claude = "claude"
    vscode = "vscode"


def acp(
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="DIR", help="Code base of a server that is started (default: the current folder)."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Speak ACP on stdin and stdout, for editors.

    The Agent Client Protocol. A thin bridge: sessions and runs live in the server, which is started when none runs.
    `reconvene config zed` prints what to paste.
    """
    from reconvene.cli.acp import acp as run

    raise typer.Exit(run(places.data_dir(data_dir), root))


def config(
    client: Annotated[EditorOrAgent, typer.Argument(metavar="zed|jetbrains|claude|vscode")],
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print the settings of an editor or an agent.

    What to paste there, so that it finds Reconvene.
    """
    from reconvene.cli.snippets import print_snippet

    print_snippet(client.value, places.data_dir(data_dir), as_json=json)


def mcp(root: Root = None, data_dir: DataDir = None) -> None:
    """Speak MCP on stdin and stdout, for agents.

    The Model Context Protocol. A thin bridge to the server, which is started when none runs. `reconvene config claude` prints
    what to paste.
    """
    from reconvene.cli.mcp import mcp as run

    raise typer.Exit(run(places.data_dir(data_dir), root))


@servers_app.command("add")
def servers_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, hyphens.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="What starts it, and its arguments.")
    ] = None,
    approval: Annotated[
        ApprovalOf, typer.Option("--approval", help="Ask you before each call, once in a session, or never.")
    ] = ApprovalOf.ask,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where it is, when it is not started by a command.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="Sent with each request to the URL; may be repeated."),
    ] = None,
    token: Annotated[
        bool, typer.Option("--token", help="Ask for the token of the URL, or read it from stdin.")
    ] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Add an MCP server, or change one."""
    from reconvene.cli.mcp_servers import add

    add(
        places.data_dir(data_dir),
        name,
        command or [],
        approval=approval.value,
        env=env or [],
        url=url,
        headers=header or [],
        token=token,
        as_json=json,
    )


@servers_app.command("list")
def servers_list(json: Json = False, data_dir: DataDir = None) -> None:
    """List them. Values of variables and headers are not shown."""
    from reconvene.cli.mcp_servers import print_list

    print_list(places.data_dir(data_dir), as_json=json)


@servers_app.command("remove")
def servers_remove(
    name: Annotated[str, typer.Argument(metavar="NAME")], json: Json = False, data_dir: DataDir = None
) -> None:
    """Remove an MCP server."""
    from reconvene.cli.mcp_servers import remove

    remove(places.data_dir(data_dir), name, as_json=json)
