"""`reconvene index`: build it, see how far it is, pause it, begin anew.

Beside a server that serves the code base the server is asked, so that nobody else writes its index; without one this process does it,
holding the index's own lock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from reconvene.cli import places, terminal
from reconvene.cli.places import root_of
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError

Wish = Literal["refresh", "pause", "resume", "rebuild", "status"]
STARTING = 20.0
"""Seconds that a server may take until it has imported what indexes need."""
REDRAW, PLAIN = 0.2, 5.0
"""Seconds between two states of the progress: of a bar on a terminal, and of lines elsewhere."""


def index(data_dir: Path, root: Path | None, wish: Wish, *, as_json: bool) -> int:
    """Do it and print what the index holds then; returns the exit code.

    Raises:
        ReconveneError: it cannot be done; the sentence says why.
    """
    server = find(data_dir)
    served = [r["root"] for r in server.call("GET", "/api/roots")["roots"]] if server is not None else []
    place = root_of(root, served)
    began = time.monotonic()
    asked = server if str(place) in served else None
    done = _through(asked, str(place), wish) if asked is not None else _in_this_process(data_dir, place, wish)
    done["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        terminal.emit(done)
    else:
        print(_line(done))
        for note in done["notes"]:
            terminal.say(f"· {terminal.safe(note)}")
    return 1 if done["phase"] == "failed" else 0


def _line(done: dict[str, Any]) -> str:
    if done["phase"] != "ready":
        return terminal.safe(done["sentence"])
    analysed = f", {done['parsed']:,} analysed" if done.get("parsed") is not None else ""
    more = " The code base has more files than the limit; these are the first." if done["truncated"] else ""
    return f"{done['files']:,} files, {done['symbols']:,} symbols{analysed}, {done['seconds']:.1f} s.{more}"


class _Progress:
    """A bar that is drawn over itself on a terminal, a line now and then elsewhere; on stderr either way."""

    def __init__(self) -> None:
        self._drawn = False
        self._said = time.monotonic()

    def show(self, done: int, of: int) -> None:
        if not of:
            return
        if sys.stderr.isatty():
            self._drawn = True
            print(f"\r{terminal.bar(done, of)}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said >= PLAIN:
            self._said = time.monotonic()
            terminal.say(f"indexing: {done:,} of {of:,} files")

    def end(self) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _through(server: Server, root: str, wish: Wish, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Ask the server, and follow what it does until there is no more to do. Ctrl-C leaves it at work."""

    def call(method: str, body: dict[str, str] | None = None) -> Any:
        deadline = time.monotonic() + STARTING
        while True:
            try:
                return server.call(method, "/api/indexes", body)
            except ReconveneError as e:
                if e.code != "starting" or time.monotonic() > deadline:
                    raise
            sleep(REDRAW)

    def now() -> dict[str, Any]:
        return next((s for s in call("GET")["indexes"] if s["root"] == root), {})

    state = now() if wish == "status" else call("POST", {"root": root, "do": wish})
    progress = _Progress()
    while wish in ("refresh", "rebuild", "resume") and state and state["phase"] in ("building", "verifying"):
        progress.show(state["done"], state["of"])
        sleep(REDRAW)
        state = now()
    progress.end()
    if not state:
        raise ReconveneError("starting", "The server has not opened this index yet. Try again in a moment.")
    return {**state, "parsed": None}


def _in_this_process(data_dir: Path, place: Path, wish: Wish) -> dict[str, Any]:
    import asyncio

    terminal.quiet_logs()
    return asyncio.run(_here(places.made(data_dir), place, wish))


async def _here(data_dir: Path, place: Path, wish: Wish) -> dict[str, Any]:
    from dataclasses import asdict

    from reconvene.config import Settings
    from reconvene.index import Indexes
    from reconvene.workspace.roots import Roots

    settings = Settings.load({"data_dir": data_dir})
    workspace = Roots(data_dir=data_dir, limits=settings.limits).add(place)
    indexes = Indexes(data_dir, settings.limits)
    try:
        found = await indexes.get(workspace)
        if found.shared and wish != "status":
            sentence = f"Another process keeps the index of {workspace.name}. Try again when it has ended."
            raise ReconveneError("search_failed", sentence)
        if wish == "pause":
            await found.pause()
        elif wish == "resume":
            await found.resume()
        elif wish == "rebuild":
            await found.rebuild()
        if wish in ("refresh", "resume", "rebuild") and not found.paused:
            await _refresh(found)
            await found.take_in_history()
        state = indexes.state_of(found)
        sentence = _at_rest(state) if wish == "status" else state.sentence
        return {**asdict(state), "sentence": sentence, "parsed": found.parsed}
    finally:
        await indexes.close()


def _at_rest(state: Any) -> str:
    """What is stored, while nobody works on it: no server serves the code base, and this process only looks."""
    if state.phase == "building" and not state.files:
        return "Nothing is indexed yet. `reconvene index` does it, or the first question."
    if state.phase in ("building", "verifying"):
        some = "so far" if state.partial else "are stored; what has changed since is looked for when they are used"
        return f"{state.files:,} files, {state.symbols:,} symbols {some}."
    return str(state.sentence)


async def _refresh(found: Any) -> None:
    import asyncio

    refreshing, progress = asyncio.ensure_future(found.refresh()), _Progress()
    try:
        while not (await asyncio.wait({refreshing}, timeout=REDRAW))[0]:
            if found.progress is not None:
                progress.show(*found.progress)
        await refreshing
    finally:
        progress.end()
        refreshing.cancel()  # Ctrl-C: what it would have said is of no interest any more
        await asyncio.gather(refreshing, return_exceptions=True)
