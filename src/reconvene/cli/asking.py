"""`ask` and `attach` up to the point where the conversation begins: the prompt, the server, the session."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from reconvene.cli import background
from reconvene.cli.at_rest import awake, wake
from reconvene.cli.conversation import Conversation, Screen
from reconvene.cli.looking import Served, resolve
from reconvene.cli.places import root_of
from reconvene.cli.terminal import dim, interactive, safe, say
from reconvene.cli.whereabouts import Whereabouts
from reconvene.client.folder import usual_data_dir
from reconvene.client.link import Link, new_id
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError
from reconvene.protocol.follower import Follower

T = TypeVar("T")
NOT_NOW = frozenset({"starting", "draining", "store_busy", "store_error"})
AGAIN = 1.0
"""Seconds until a server that cannot answer just now is asked again."""
PIPED = 4 * 1024**2
"""Bytes read from a pipe at most; a prompt's limit is far below."""


def ask(prompt: str, data_dir: Path, *, root: Path | None, session: str | None, as_json: bool) -> int:
    """Send a prompt and show its run; returns the exit code.

    Raises:
        ReconveneError: before or instead of a run: `empty_prompt`, what the server refuses, no server.
    """
    text = _prompt(prompt)
    server = find(data_dir)
    if server is not None and server.status != "ok":
        sentence = (
            f"The server cannot write ({server.status}), so nothing was asked. `reconvene doctor` says what to do."
        )
        raise ReconveneError("store_error", sentence)
    if session is not None:
        server = server or wake(data_dir, session)
        known = resolve(Served(server), session)
        _serve_again(server, known)
        follower = Follower(known["session_id"])
        if not known["pending"]:  # else what is asked has to be known: the prompt waits behind it
            follower.cursor = known["cursor"]  # what was said before is not shown again
        base, link = Path(known["root"]), _link(follower, {})
    else:
        server, base = _server_for(data_dir, server, root)
        link = _link(Follower(), {"root_directory": str(base)})
    code = asyncio.run(Conversation(Whereabouts(data_dir, base), link, _screen(data_dir, as_json), text).run())
    if code in (0, 4) and link.session_id is not None and sys.stderr.isatty():
        say(dim(f'· go on with: {_command("ask", "-s", link.session_id[:10], data_dir=data_dir)} "…"'))
    return code


def attach(session: str, data_dir: Path, *, as_json: bool) -> int:
    """Follow a session until the person leaves; returns the exit code."""
    known = _once_it_can(lambda server: resolve(Served(server), session), lambda: awake(data_dir, session))
    conversation = Conversation(
        Whereabouts(data_dir, Path(known["root"])),
        _link(Follower(known["session_id"]), {}),
        _screen(data_dir, as_json),
        None,
    )
    return asyncio.run(conversation.run())


def _once_it_can(ask: Callable[[Server], T], where: Callable[[], Server]) -> T:
    """What a server answers. One that cannot just now, as its database is away, is asked again until it can, as it would be by the
    connection that comes after this; Ctrl-C ends it."""
    said = False
    while True:
        server = where()
        try:
            return ask(server)
        except ReconveneError as e:
            if e.code not in NOT_NOW:
                raise
            if not said:
                say(dim(f"· {safe(e.message)} Trying again, Ctrl-C ends it"))
            said = True
            time.sleep(AGAIN)


def act(session: dict[str, Any], data_dir: Path, name: str, args: dict[str, Any], *, as_json: bool) -> int:
    """Do something to a session, and show the run that it begins, if it begins one; returns the exit code.

    Args:
        session: as the server describes it; one is started when none runs.
    """
    awake(data_dir, session["session_id"])
    follower = Follower(session["session_id"])
    follower.cursor = session["cursor"]
    frame = {"type": "action", "content": {"name": name, "args": args}}
    return asyncio.run(
        Conversation(
            Whereabouts(data_dir, Path(session["root"])), _link(follower, {}), _screen(data_dir, as_json), frame
        ).run()
    )


def _prompt(prompt: str) -> str:
    """What was typed and what was piped in, as text that can be sent."""
    piped = _piped(always=prompt == "-")
    if prompt == "-":
        text = piped
    else:
        # An argument may hold bytes that are no UTF-8; they cannot be part of JSON.
        typed = os.fsencode(prompt).decode("utf-8", "replace")
        text = f"{typed}\n\n{piped}" if piped.strip() else typed
    if not text.strip():
        raise ReconveneError("empty_prompt", "The prompt is empty. Say what you want to know.")
    return text


def _piped(*, always: bool) -> str:
    """What is piped or redirected to stdin. A terminal, a socket or /dev/null is not read, unless it was asked for (`-`)."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # closed
        return ""
    if not always and not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return ""
    raw = sys.stdin.buffer.read(PIPED + 1)
    if len(raw) > PIPED:
        raise ReconveneError("too_large", f"What is piped in is over {PIPED:,} bytes. Send less of it.")
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")


def _server_for(data_dir: Path, server: Server | None, root: Path | None) -> tuple[Server, Path]:
    """A server that serves the code base: the running one, told to; or one started in the background."""
    if server is None:
        from reconvene.config import Settings

        base = root_of(root, ())
        settings = Settings.load({"data_dir": data_dir})
        say(dim("· starting a server in the background"))
        return background.start(data_dir, base, port=settings.port, port_is_chosen="port" in settings.origins), base
    served = [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
    base = root_of(root, served)
    if str(base) not in served:
        server.call("POST", "/api/roots", {"path": str(base)})
    return server, base


def _serve_again(server: Server, known: dict[str, Any]) -> None:
    """A session's code base may not be served any more; asking in it says that it should be."""
    told = server.call("GET", "/api/roots")
    served = [r["root"] for r in (*told["roots"], *told.get("elsewhere", ()))]
    if known["root"] and known["root"] not in served:
        server.call("POST", "/api/roots", {"path": known["root"]})


def _link(follower: Follower, config: dict[str, Any]) -> Link:
    return Link(client={"id": new_id(), "name": "terminal"}, config=config, follower=follower)


def _screen(data_dir: Path, as_json: bool) -> Screen:
    def again(session: str) -> str:
        return _command("attach", session, data_dir=data_dir)

    return Screen(as_json, not as_json and interactive(), again, live=sys.stdout.isatty())


def _command(*words: str, data_dir: Path) -> str:
    """A command to type, with the data folder when it is not the usual one."""
    more = [] if usual_data_dir() == data_dir else ["--data-dir", str(data_dir)]
    return shlex.join(["reconvene", *words, *more])
