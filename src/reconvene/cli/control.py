"""The running server from outside: stop it, restart it, get a sign-in URL, open the page."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from reconvene.cli.terminal import dim, emit, say
from reconvene.client.local import Server, find, need, wait_gone
from reconvene.errors import ReconveneError

STOP_TIME = 30.0


def stop(data_dir: Path, *, as_json: bool = False) -> None:
    """Stop the server and wait until it has ended.

    Raises:
        ReconveneError: `not_running`; `draining` when it does not end in time.
    """
    server = need(data_dir)
    try:
        server.call("POST", "/api/stop", {"restart": False})
    except ReconveneError:
        os.kill(server.pid, signal.SIGTERM)  # whatever keeps it from answering: a signal asks the same
    if not wait_gone(server.pid, STOP_TIME):
        raise ReconveneError(
            "draining", f"The server (process {server.pid}) is still stopping after {STOP_TIME:.0f} s."
        )
    if as_json:
        emit({"status": "stopped", "pid": server.pid, "port": server.port})
    say(f"Stopped the server on port {server.port}. Its runs go on when it is started again.")


def restart(data_dir: Path, *, as_json: bool = False) -> None:
    """Restart the server and wait until it answers again.

    Raises:
        ReconveneError: `not_running`; `starting` when it does not come back in time.
    """
    server = need(data_dir)
    before = server.call("GET", "/api/me")["boot"]
    server.call("POST", "/api/stop", {"restart": True})
    deadline = time.monotonic() + STOP_TIME
    while time.monotonic() < deadline:
        now = find(data_dir)
        if now is not None and _boot(now) not in (None, before):
            if as_json:
                emit({"status": "restarted", "pid": now.pid, "port": now.port})
            say(f"Restarted the server on port {now.port}.")
            return
        time.sleep(0.1)
    raise ReconveneError("starting", f"The server did not come back within {STOP_TIME:.0f} s. Run `reconvene doctor`.")


def _boot(server: Server) -> str | None:
    try:
        return str(server.call("GET", "/api/me")["boot"])
    except ReconveneError:  # between two lives
        return None


def open_page(data_dir: Path, *, browser: bool, as_json: bool = False) -> None:
    """Print a one-time sign-in URL, and open another where there is a desktop."""
    server = need(data_dir)
    if as_json:
        emit({"url": sign_in_url(server)})
    else:
        print(sign_in_url(server), flush=True)
    if browser and on_desktop():
        show(sign_in_url(server))


def sign_in_url(server: Server) -> str:
    return str(server.call("POST", "/api/sign-in-links", {})["url"])


def on_desktop() -> bool:
    """Whether there is a screen with a person before it."""
    if os.environ.get("CI") or os.environ.get("SSH_CONNECTION") or not sys.stderr.isatty():
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(url: str) -> None:
    """Open a URL in the person's browser; that it cannot be opened is no failure, as it was printed too."""
    import webbrowser

    try:
        opened = webbrowser.open(url)
    except webbrowser.Error:
        opened = False
    if not opened:
        say(dim("· no browser could be opened; open the URL yourself"))
