"""`reconvene serve`: this process becomes the server, or the running one gets the code bases."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconvene.cli.control import on_desktop, show, sign_in_url
from reconvene.cli.terminal import count, dim, emit, safe, say
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError

COMING_UP = 5.0
"""Seconds that another server on the data folder, which is just starting, may take until it answers."""


def serve(roots: Sequence[Path], flags: Mapping[str, Any], *, browser: bool, as_json: bool = False) -> int:
    """Serve until told to stop; returns the exit code.

    Args:
        flags: settings by name, None where nothing was said; `data_dir` is set.

    Raises:
        ReconveneError: it cannot start, or the running server does not take a root.
    """
    data_dir: Path = flags["data_dir"]
    paths = [os.path.realpath(root.expanduser()) for root in roots]
    if (running := find(data_dir)) is not None:
        return _join(running, paths, flags, browser=browser, as_json=as_json)
    from reconvene.agents.providers import Providers
    from reconvene.config import Settings

    settings = Settings.load(flags)
    from reconvene.adapters import endpoints
    from reconvene.server.lifecycle import Ready, run_server

    def ready(server: Ready) -> None:
        _print_link(server.new_link(), server.port, os.getpid(), paths, as_json)
        say(f"Serving {', '.join(safe(p) for p in paths)}. Ctrl-C stops it; sessions are kept.")
        if server.sessions:
            waiting = f", {server.waiting} waiting for an answer" if server.waiting else ""
            say(f"{count(server.sessions, 'session')} resumed, {count(server.runs, 'run')} continuing{waiting}")
        if Providers.of(settings).model == "offline":
            say(
                dim(
                    "· no language model is set; answers are quoted from the code (`reconvene model` or the page sets one)"
                )
            )
        if browser and on_desktop():
            # Another link: the printed one is for whoever reads it. A browser may take seconds to come up.
            threading.Thread(target=show, args=(server.new_link(),), daemon=True).start()

    try:
        ended = run_server(settings, paths, on_ready=ready, endpoints=endpoints)
    except ReconveneError as e:
        if e.code == "already_running" and (running := _coming_up(data_dir)) is not None:
            return _join(running, paths, flags, browser=browser, as_json=as_json)
        raise
    if ended.restart:
        _begin_again(ended.roots, ended.port, flags, as_json)
    return 0


def _print_link(url: str, port: int, pid: int, paths: Sequence[str], as_json: bool) -> None:
    if as_json:
        emit({"url": url, "port": port, "pid": pid, "roots": list(paths)})
    else:
        print(url, flush=True)


def _join(server: Server, paths: Sequence[str], flags: Mapping[str, Any], *, browser: bool, as_json: bool) -> int:
    """Add the code bases to the running server and print its URL."""
    for path in paths:
        server.call("POST", "/api/roots", {"path": path})
    _print_link(sign_in_url(server), server.port, server.pid, paths, as_json)
    say(
        f"A server runs already (process {server.pid}, port {server.port}); it serves {', '.join(safe(p) for p in paths)} now."
    )
    unused = [
        f"--{name.replace('_', '-')}" for name, value in flags.items() if name != "data_dir" and value is not None
    ]
    if flags.get("port") == server.port:
        unused.remove("--port")
    if unused:
        say(dim(f"· {', '.join(unused)} would need a restart: reconvene stop, then this command again"))
    if browser and on_desktop():
        show(sign_in_url(server))
    return 0


def _coming_up(data_dir: Path) -> Server | None:
    """The server that holds the data folder, as soon as it answers."""
    deadline = time.monotonic() + COMING_UP
    while time.monotonic() < deadline:
        if (server := find(data_dir)) is not None:
            return server
        time.sleep(0.1)
    return None


def _begin_again(roots: Sequence[str], port: int, flags: Mapping[str, Any], as_json: bool) -> None:
    """Replace this process by a new one of the same server: same port, same code bases, those added meanwhile too."""
    again = [sys.executable, "-m", "reconvene.cli.main", "serve", *roots, "--port", str(port), "--no-browser"]
    if as_json:
        again.append("--json")
    for name, value in flags.items():
        if name != "port" and value is not None:
            again += [f"--{name.replace('_', '-')}", str(value)]
    os.execv(sys.executable, again)  # noqa: S606 - ourselves, and no shell
