"""The `reconvene` command. Here are the commands' names, options and help; each imports what it needs when it is called."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.terminal import safe, say
from reconvene.errors import ReconveneError

FAILED, USAGE, CANNOT_START = 1, 2, 3
_USAGE_CODES = frozenset(
    {"invalid_field", "root_not_found", "not_a_directory", "root_not_allowed", "root_required", "empty_prompt"}
)
_START_CODES = frozenset(
    {
        "port_in_use",
        "already_running",
        "data_dir_unusable",
        "unsafe_permissions",
        "store_corrupt",
        "store_foreign",
        "store_newer",
    }
)

app = typer.Typer(
    name="reconvene",
    help="An agent server for your code whose sessions cannot be lost.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 cannot start, 4 the run failed, 5 waiting for an answer, 130 detached.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sessions_app = typer.Typer(
    help="List, read and tidy sessions. SESSION is an id, the start of one, or `last`.", no_args_is_help=True
)
app.add_typer(sessions_app, name="sessions")
servers_app = typer.Typer(
    help="MCP servers whose tools our agents may use. Only you add them; nothing in a code base can.",
    no_args_is_help=True,
)
app.add_typer(servers_app, name="mcp-servers")

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Data folder (default: $RECONVENE_DATA_DIR, else the platform's)."),
]
Cursor = Annotated[str | None, typer.Option("--cursor", help="The page after the one that printed it.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", help="Code base (default: the served one you are in, else the current folder)."
    ),
]
Session = Annotated[str, typer.Argument(metavar="SESSION", help="An id, the start of one, or `last`.")]

AnySession = Annotated[str, typer.Argument(metavar="SESSION", help="An id, the start of one, or `last`.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class ExportFormat(StrEnum):
    jsonl = "jsonl"
    markdown = "markdown"
    html = "html"


class ApprovalOf(StrEnum):
    ask = "ask"
    once = "once"
    never = "never"


class EditorOrAgent(StrEnum):
    zed = "zed"
    jetbrains = "jetbrains"
    claude = "claude"
    vscode = "vscode"


def _version(wanted: bool) -> None:
    if wanted:
        from reconvene import __version__

        typer.echo(f"reconvene {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ROOT", help="Code bases to serve (default: the current folder)."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port on loopback; 0 takes a free one (default: 8000).")] = None,
    data_dir: DataDir = None,
    model: Annotated[
        str | None, typer.Option(help="A pydantic-ai model name such as anthropic:…, or `offline`.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A further address under which the page is reached (tunnel, proxy)."),
    ] = None,
    idle_exit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after so long without a connection or a run.")
    ] = None,
) -> None:
    """Serve code bases and print one sign-in URL.

    With a server already running on the data folder, the code bases are added to that one.
    """
    from reconvene.cli.serving import serve as run

    flags = {
        "port": port,
        "data_dir": places.data_dir(data_dir),
        "model": model,
        "public_url": public_url,
        "idle_exit": idle_exit,
    }
    try:
        code = run(roots or [Path()], flags, browser=not no_browser)
    except ReconveneError as e:
        if exit_code(e) != FAILED:
            raise
        say(f"reconvene: {safe(e.message)}")
        code = CANNOT_START
    raise typer.Exit(code)


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the server of the data folder. Runs go on when it is started again."""
    from reconvene.cli.control import stop as run

    run(places.data_dir(data_dir))


@app.command()
def restart(data_dir: DataDir = None) -> None:
    """Restart the server of the data folder.

    It comes back on its port and with its code bases; runs go on.
    """
    from reconvene.cli.control import restart as run

    run(places.data_dir(data_dir))


@app.command("open")
def open_(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print it.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print (and open) a fresh one-time sign-in URL."""
    from reconvene.cli.control import open_page

    open_page(places.data_dir(data_dir), browser=not no_browser)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; `-` reads all of it from stdin.")],
    root: Root = None,
    session: Annotated[
        str | None,
        typer.Option(
            "-s", "--session", metavar="SESSION", help="Go on with a session: an id, the start of one, or `last`."
        ),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Ask one question and stream the answer. What is piped in is appended to the prompt.

    A server is started in the background when none runs. Ctrl-C detaches: the run goes on.
    """
    from reconvene.cli.asking import ask as run

    raise typer.Exit(run(prompt, places.data_dir(data_dir), root=root, session=session, as_json=json))


@app.command()
def attach(session: Session, json: Json = False, data_dir: DataDir = None) -> None:
    """Follow a session live, until Ctrl-C."""
    from reconvene.cli.asking import attach as run

    raise typer.Exit(run(session, places.data_dir(data_dir), as_json=json))


@app.command()
def patch(
    session: AnySession = "last",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Print everything a session changed as one patch for `git apply`."""
    from reconvene.cli.changes import patch as run

    run(places.data_dir(data_dir), session, output)


@app.command()
def undo(session: AnySession = "last", yes: Yes = False, json: Json = False, data_dir: DataDir = None) -> None:
    """Take back the last change of a session.

    A file that was changed since is not touched: that is a conflict, and is said.
    """
    from reconvene.cli.changes import undo as run

    raise typer.Exit(run(places.data_dir(data_dir), session, sure=yes, as_json=json))


@app.command()
def rewind(
    session: AnySession = "last",
    prompts: Annotated[int, typer.Option("--prompts", "-n", help="How many of the last prompts.", min=1)] = 1,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Only the conversation goes back.")] = False,
    yes: Yes = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Take a session back to before its last prompt, with the files that were changed since."""
    from reconvene.cli.changes import rewind as run

    raise typer.Exit(run(places.data_dir(data_dir), session, prompts, files=not keep_files, sure=yes, as_json=json))


@app.command()
def retry(session: AnySession = "last", json: Json = False, data_dir: DataDir = None) -> None:
    """Run a session's last run once more, if it failed or was stopped."""
    from reconvene.cli.changes import retry as run

    raise typer.Exit(run(places.data_dir(data_dir), session, as_json=json))


@app.command()
def plan(
    session: AnySession = "last",
    edit: Annotated[bool, typer.Option("--edit", help="Change it in your editor.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the new plan from stdin, as it is printed.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print a session's plan, or change it; the agent is told and keeps to it."""
    from reconvene.cli.changes import plan as run

    run(places.data_dir(data_dir), session, edit=edit, stdin=stdin, as_json=json)


@app.command("map")
def map_(
    root: Root = None,
    tokens: Annotated[int, typer.Option(help="Size of the map.", min=64, max=32_000)] = 2048,
    focus: Annotated[
        list[str] | None, typer.Option(metavar="WORDS|PATH", help="What the map is about; may be repeated.")
    ] = None,
    cursor: Cursor = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print the repo map.

    The definitions that matter most, in a budget of tokens.
    """
    from reconvene.cli.code import print_map

    print_map(places.data_dir(data_dir), root, tokens=tokens, focus=focus or [], cursor=cursor, as_json=json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    root: Root = None,
    k: Annotated[int, typer.Option("-k", help="How many places.", min=1, max=200)] = 10,
    files: Annotated[bool, typer.Option("--files", help="One line a file.")] = False,
    cursor: Cursor = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Search the code and print ranked snippets."""
    from reconvene.cli.code import print_search

    print_search(places.data_dir(data_dir), root, query, k=k, files=files, cursor=cursor, as_json=json)


@app.command()
def index(
    root: Root = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how far it is.")] = False,
    pause: Annotated[
        bool, typer.Option("--pause", help="Read nothing more until --resume, also after a restart.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was paused.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw it away and build it from nothing.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Build or refresh the index.

    Prints files, symbols and seconds. A server that serves the code base does the work itself.
    """
    from reconvene.cli.indexing import Wish
    from reconvene.cli.indexing import index as run

    wishes: dict[Wish, bool] = {"status": status, "pause": pause, "resume": resume, "rebuild": rebuild}
    chosen = [name for name, given in wishes.items() if given]
    if len(chosen) > 1:
        raise typer.BadParameter("Give one of --status, --pause, --resume and --rebuild.")
    wish: Wish = chosen[0] if chosen else "refresh"
    raise typer.Exit(run(places.data_dir(data_dir), root, wish, as_json=json))


@app.command()
def model(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="provider:name, or `offline`; leave it out to see what holds.")
    ] = None,
    key: Annotated[bool, typer.Option("--key", help="Ask for the provider's key, or read it from stdin.")] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="An OpenAI-compatible server, such as http://localhost:11434/v1."
        ),
    ] = None,
    constrained: Annotated[
        bool,
        typer.Option(
            "--constrained", help="Write every step by a JSON schema: for small models on a server of your own."
        ),
    ] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="PROVIDER", help="Remove its key and address.")
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option("--fallback", metavar="MODEL", help="The one that takes over when it fails; `none` for none."),
    ] = None,
    daily_cap: Annotated[
        str | None,
        typer.Option("--daily-cap", metavar="USD", help="What all runs of a day may cost; `none` for no cap."),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Choose the model that answers, and give its key.

    Kept in the data folder, readable by you alone. No restart is needed.
    """
    from reconvene.cli.model import model as run

    run(
        places.data_dir(data_dir),
        name,
        key=key,
        base_url=base_url,
        forget=forget,
        constrained=constrained,
        fallback=fallback,
        daily_cap=daily_cap,
        as_json=json,
    )


@app.command()
def commands(
    wanted: Annotated[str | None, typer.Argument(metavar="on|off", help="Leave it out to see what holds.")] = None,
    root: Root = None,
    network: Annotated[bool, typer.Option("--network", help="With `on`: they may reach the network.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Allow agents to ask to run programs in a code base: its tests, a build.

    Off by default. You are asked before each command; it runs in a sandbox where the machine has one.
    """
    from reconvene.cli.leave import commands as run

    run(places.data_dir(data_dir), root, wanted, network=network, as_json=json)


@app.command()
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend permissions and a damaged database; nothing is deleted.")
    ] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Check what can go wrong; a fix stands under every ✗.

    Machine, settings, data folder, database, model, index and server.
    """
    from reconvene.cli.doctor import doctor as run

    raise typer.Exit(run(places.data_dir(data_dir), repair=repair, as_json=json))


@app.command()
def acp(
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="DIR", help="Code base of a server that is started (default: the current folder)."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Speak the Agent Client Protocol on stdin and stdout, for editors.

    A thin bridge: sessions and runs live in the server, which is started when none runs. `reconvene config zed` prints what to paste.
    """
    from reconvene.cli.acp import acp as run

    raise typer.Exit(run(places.data_dir(data_dir), root))


@app.command()
def config(
    client: Annotated[EditorOrAgent, typer.Argument(metavar="zed|jetbrains|claude|vscode")],
    data_dir: DataDir = None,
) -> None:
    """Print what to paste into an editor's or an agent's settings, so that it finds Reconvene."""
    from reconvene.cli.snippets import print_snippet

    print_snippet(client.value, places.data_dir(data_dir))


@app.command()
def mcp(root: Root = None, data_dir: DataDir = None) -> None:
    """Speak the Model Context Protocol on stdin and stdout, for other agents.

    A thin bridge to the server, which is started when none runs. `reconvene config claude` prints what to paste.
    """
    from reconvene.cli.mcp import mcp as run

    raise typer.Exit(run(places.data_dir(data_dir), root))


@sessions_app.command("list")
def sessions_list(
    all_: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List sessions, the one used last first."""
    from reconvene.cli import sessions

    sessions.print_list(places.data_dir(data_dir), archived=all_, as_json=json)


@sessions_app.command("show")
def sessions_show(session: Session, json: Json = False, data_dir: DataDir = None) -> None:
    """Print a session's conversation (`--json`: its events)."""
    from reconvene.cli import sessions

    sessions.print_session(places.data_dir(data_dir), session, as_json=json)


@sessions_app.command("export")
def sessions_export(
    session: Session,
    format: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.jsonl,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Export a session: JSONL (every event), Markdown or HTML."""
    from reconvene.cli import sessions

    sessions.export(places.data_dir(data_dir), session, format.value, output)


@sessions_app.command("rename")
def sessions_rename(session: Session, title: str, data_dir: DataDir = None) -> None:
    """Give a session another title."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"title": title})


@sessions_app.command("archive")
def sessions_archive(
    session: Session,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out of the archive.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Archive a session; a prompt wakes it."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"archived": not undo})


@sessions_app.command("fork")
def sessions_fork(
    session: Session,
    upto: Annotated[
        int | None, typer.Option(metavar="SEQ", help="The last event to take over (default: all).", min=1)
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a new session that begins with a copy of this one; prints its id."""
    from reconvene.cli import sessions

    sessions.fork(places.data_dir(data_dir), session, upto, as_json=json)


@sessions_app.command("rm")
def sessions_rm(
    session: Session,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a session for good."""
    from reconvene.cli import sessions

    sessions.remove(places.data_dir(data_dir), session, sure=yes)


@servers_app.command("add")
def servers_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, hyphens.")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="What starts it, and its arguments.")],
    approval: Annotated[
        ApprovalOf, typer.Option("--approval", help="Ask you before each call, once in a session, or never.")
    ] = ApprovalOf.ask,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Add an MCP server, or change one."""
    from reconvene.cli.mcp_servers import add

    add(places.data_dir(data_dir), name, command, approval=approval.value, env=env or [])


@servers_app.command("list")
def servers_list(json: Json = False, data_dir: DataDir = None) -> None:
    """List them. Values of variables are not shown."""
    from reconvene.cli.mcp_servers import print_list

    print_list(places.data_dir(data_dir), as_json=json)


@servers_app.command("remove")
def servers_remove(name: Annotated[str, typer.Argument(metavar="NAME")], data_dir: DataDir = None) -> None:
    """Remove an MCP server."""
    from reconvene.cli.mcp_servers import remove

    remove(places.data_dir(data_dir), name)


def exit_code(error: ReconveneError) -> int:
    """The exit code of a command that ended with this error."""
    if error.code in _START_CODES:
        return CANNOT_START
    return USAGE if error.code in _USAGE_CODES else FAILED


def main() -> None:
    """The entry point: every error is a sentence; what is unforeseen is written to the log."""
    # Started without one of them (`>&-`), there is nobody to read what is written.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 shows escapes instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ReconveneError as e:
        say(f"reconvene: {safe(e.message)}")
        sys.exit(exit_code(e))
    except Exception as e:
        say(f"reconvene: Something unforeseen: {safe(f'{type(e).__name__}: {e}'[:300])}. {_written_down()}")
        sys.exit(FAILED)


def _written_down() -> str:
    path = places.log_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {' '.join(sys.argv[1:2])}\n{traceback.format_exc()}\n")
    except OSError as e:
        return f"Its details could not be written to {path} ({e.strerror})."
    return f"Its details are in {path}."


if __name__ == "__main__":
    main()
