"""What the index costs on a code base, beside aider's map and ripgrep on the same one, in turn: the rows of the table."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from websockets.sync.client import connect

from bench.control import Child
from bench.index_trees import Questions, Tree, edited, questions
from bench.machine import cpu_seconds
from bench.stage import source
from bench.table import Row, percentile


@dataclass(frozen=True, slots=True)
class Targets:
    """CPU-seconds for `build`, MB for `memory`, ms for the others. `files`: code bases up to so many are held to them."""

    name: str
    files: int
    build: float
    restart: float
    prompt: float
    edit: float
    p50: float
    p95: float
    memory: float


TARGETS = (
    Targets("Django", 12_000, 4, 100, 25, 30, 8, 25, 130),
    Targets("kernel slice", 1 << 60, 90, 400, 600, 80, 40, 120, 300),
)
GROWTH, STRETCH = 1.2, 20.0
"""Times as many files as a tenth may cost so much more; ms of CPU of the event loop at a stretch."""
ASKED = 22
"""Prompts, searches and patterns of a round."""
PEER_SECONDS = 900.0
"""By the clock, for all that a peer is asked of a code base in a round; one that needs longer is given up and not asked again."""


@dataclass(slots=True)
class Took:
    """One kind of measurement: ms of CPU and by the clock, over all rounds."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, cost: dict[str, Any]) -> dict[str, Any]:
        self.cpu.append(cost["cpu"])
        self.wall.append(cost["wall"])
        return cost

    def at(self, share: float, judged: str) -> float:
        return percentile(getattr(self, judged), share)


@dataclass(slots=True)
class Costs:
    """All that was measured of one side on one tree. `build`: CPU-s of each round. Memory in MB."""

    build: list[float] = field(default_factory=list)
    build_wall: list[float] = field(default_factory=list)
    restart: Took = field(default_factory=Took)
    overview: Took = field(default_factory=Took)
    prompt: Took = field(default_factory=Took)
    told: Took = field(default_factory=Took)
    found: Took = field(default_factory=Took)
    sweep: Took = field(default_factory=Took)
    search: Took = field(default_factory=Took)
    pattern: Took = field(default_factory=Took)
    warm: list[float] = field(default_factory=list)
    building: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    stretch: list[float] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)


def ours(costs: Costs, tree: Tree, asked: Questions, data: Path, rng: random.Random) -> None:
    """One round: built from nothing, ended, opened again and asked, told of an edit, left to find one.

    Raises:
        RuntimeError: an answer was not right.
    """
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    child = Child("bench.index_ours")
    try:
        child.call("memory")  # the imports are done
        began, wall = cpu_seconds(child.pid), time.monotonic()
        child.call("open", root=str(tree.root), data=str(data))
        costs.said = child.call("look")
        child.call("map")
        child.call("map", query=asked.prompts[0])
        child.call("search", query=asked.searches[0][0])
        costs.build.append(cpu_seconds(child.pid) - began)
        costs.build_wall.append(time.monotonic() - wall)
        memory = child.call("memory")
        costs.building.append(memory["peak"] / 1000)
        costs.workers.append(memory["workers"] / 1000)
        child.call("close")
    finally:
        child.stop()
    child = Child("bench.index_ours")
    try:
        child.call("memory")
        opened = child.call("open", root=str(tree.root), data=str(data))
        costs.overview.add(_sum(opened, child.call("map")))
        costs.restart.add(_sum(opened, child.call("map", query=asked.prompts[1])))
        for _ in range(5):
            costs.sweep.add(child.call("look"))
        empty = 0
        for prompt in asked.prompts[2:]:
            made = costs.prompt.add(child.call("map", query=prompt))
            _must(0 < made["tokens"] <= 1024, f"a map of {made['tokens']} tokens for {prompt!r}")
        for query, _ in asked.searches:
            empty += costs.search.add(child.call("search", query=query))["snippets"] == 0
        _must(empty <= ASKED // 10, f"{empty} of {ASKED} searches found nothing")
        for query in asked.patterns:
            costs.pattern.add(child.call("search", query=query))
        for how, took in (("told", costs.told), ("found", costs.found)):
            for n in range(6):
                path, name = edited(tree, rng)
                cost = child.call(how, path=path, name=name)
                _must(cost["right"], f"{name}, written to {path}, is not in both map and search")
                if n:  # the first starts a worker process, which a server has
                    took.add(cost)
        memory = child.call("memory")
        costs.warm.append(memory["rss"] / 1000)
        child.call("close")
    finally:
        child.stop()


def event_loop(costs: Costs, tree: Tree, asked: Questions, data: Path) -> None:
    """One round: the real server builds the index of the tree while somebody asks; how long its event loop ran at a stretch."""
    shutil.rmtree(data, ignore_errors=True)
    small = source(data / "small")
    child = Child("bench.index_loop", str(data / "data"), str(small))
    over = threading.Event()
    try:
        place = child.call("ready")
        _ask(place, small, ["Where are idle sessions swept"], over)
        child.call("begin")
        _serve(place, tree.root)
        with ThreadPoolExecutor(1) as asking:
            asked_of = asking.submit(_ask, place, tree.root, asked.prompts, over)
            while child.call("partial", root=str(tree.root)):
                if asked_of.done():
                    asked_of.result()  # a prompt that failed set nothing off
                time.sleep(0.2)
            over.set()
        found = child.call("stretches")
        costs.stretch.append(found["most"])
        costs.said["loop"] = max(found, costs.said.get("loop", found), key=lambda f: f["most"])
    finally:
        over.set()
        child.stop()


def _serve(place: dict[str, Any], root: Path) -> None:
    request = urllib.request.Request(
        f"http://localhost:{place['port']}/api/roots",
        data=json.dumps({"path": str(root)}).encode(),
        headers={"Authorization": f"Bearer {place['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60):
        pass


def _ask(place: dict[str, Any], root: Path, prompts: Sequence[str], over: threading.Event) -> None:
    """A person at the page: one prompt after the other, each run awaited, until it is over."""
    headers = {"Authorization": f"Bearer {place['token']}"}
    where = f"ws://localhost:{place['port']}/ws"
    config = {"root_directory": str(root)}
    client = {"id": root.name}
    with connect(where, additional_headers=headers, compression=None, max_size=None, proxy=None) as socket:
        socket.send(json.dumps({"type": "hello", "proto": 1, "client": client, "config": config}))
        for n, prompt in enumerate(prompts):
            socket.send(json.dumps({"type": "default", "id": f"{root.name}{n}", "content": prompt}))
            frame = ""
            while '"type":"completed"' not in frame:
                if over.is_set():
                    return
                with contextlib.suppress(TimeoutError):
                    frame = str(socket.recv(timeout=0.2))
                _must('"type":"nack"' not in frame and '"outcome":"failed"' not in frame, f"a prompt failed: {frame}")


def peer(costs: Costs, python: str, tree: Tree, asked: Questions, rng: random.Random, pids: list[int]) -> None:
    """One round of aider's class: as `ours`; it has no search. `pids` gets the processes it runs in, the one of now last."""
    shutil.rmtree(tree.root / ".aider.tags.cache.v4", ignore_errors=True)
    paths = list(tree.paths)
    child = Child("bench.index_aider", python=python)
    pids.append(child.pid)
    try:
        costs.said["version"] = child.call("version")
        opened = child.call("open", root=str(tree.root), paths=paths)
        built = _sum(opened, child.call("map", query=asked.prompts[0]))
        costs.build.append(built["cpu"] / 1000)
        costs.build_wall.append(built["wall"] / 1000)
        costs.building.append(child.call("memory")["peak"] / 1000)
    finally:
        child.stop()
    child = Child("bench.index_aider", python=python)
    pids.append(child.pid)
    try:
        child.call("version")
        opened = child.call("open", root=str(tree.root), paths=paths)
        costs.restart.add(_sum(opened, child.call("map", query=asked.prompts[1])))
        for prompt in asked.prompts[2:5]:
            costs.prompt.add(child.call("map", query=prompt))
        _, name = edited(tree, rng)
        costs.told.add(child.call("map", query=name))
        costs.warm.append(child.call("memory")["rss"] / 1000)
    finally:
        child.stop()
        shutil.rmtree(tree.root / ".aider.tags.cache.v4", ignore_errors=True)


def _peer_within(seconds: float, costs: Costs, python: str, tree: Tree, asked: Questions, rng: random.Random) -> None:
    """`peer`, its process killed when it takes longer."""
    pids: list[int] = []
    limit = threading.Timer(seconds, lambda: os.kill(pids[-1], signal.SIGKILL))
    limit.start()
    try:
        peer(costs, python, tree, asked, rng, pids)
    except RuntimeError:
        if limit.is_alive():
            raise
        costs.said["given up"] = seconds
    finally:
        limit.cancel()


def ripgrep(costs: Costs, program: str, tree: Tree, asked: Questions) -> None:
    """One round: each search's words, one call, every line that has any of them, read to the end."""
    for _, words in asked.searches:
        command = [program, "-n", "-i", "-F", *(part for word in words for part in ("-e", word)), str(tree.root)]
        before, wall = _cpu_of_ended(), time.perf_counter()
        subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False
        )
        wall = 1000 * (time.perf_counter() - wall)
        costs.search.add({"cpu": 1000 * (_cpu_of_ended() - before), "wall": wall})


def _cpu_of_ended() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sum(*costs: dict[str, Any]) -> dict[str, Any]:
    return {kind: sum(cost[kind] for cost in costs) for kind in ("cpu", "wall")}


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


def measure(
    tree: Tree,
    tenth: Tree,
    folder: Path,
    *,
    rounds: int,
    seed: int,
    python: str | None,
    program: str | None,
    peer_seconds: float = PEER_SECONDS,
) -> dict[str, Costs]:
    """All rounds on one tree and its tenth, each side in turn; by side (`ours`, `tenth`, `peer`, `lines`). Each round has questions of its
    own: the median of a few is theirs, not the search's (of eight sets of 22 it was 6.3 to 9.2 ms)."""
    costs = {side: Costs() for side in ("ours", "tenth", "peer", "lines")}
    for n in range(rounds):
        rng = random.Random(f"{seed} {n}")
        asked, asked_tenth = (questions(of, f"{seed} {n}", ASKED) for of in (tree, tenth))
        say(f"{tree.name}, round {n + 1} of {rounds}: ours")
        ours(costs["ours"], tree, asked, folder / "data", rng)
        ours(costs["tenth"], tenth, asked_tenth, folder / "data", rng)
        say(f"{tree.name}, round {n + 1} of {rounds}: event loop")
        event_loop(costs["ours"], tree, asked, folder / "served")
        event_loop(costs["tenth"], tenth, asked_tenth, folder / "served")
        if program:
            say(f"{tree.name}, round {n + 1} of {rounds}: ripgrep")
            ripgrep(costs["lines"], program, tree, asked)
        if python and "given up" not in costs["peer"].said:
            say(f"{tree.name}, round {n + 1} of {rounds}: aider")
            _peer_within(peer_seconds, costs["peer"], python, tree, asked, rng)
    return costs


def say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class _Table:
    """The rows of one tree while they are made. `judged`: see `rows`."""

    tree: Tree
    mine: Costs
    small: Costs
    judged: str
    rows: list[Row] = field(default_factory=list)
    grown: list[tuple[str, float]] = field(default_factory=list)
    """Of each row: how many times as much as for the tenth."""

    def add(
        self, what: str, unit: str, value: float, tenth: float, *, target: float | None, beside: float | None, note: str
    ) -> None:
        self.grown.append((what, value / tenth))
        self.rows.append(
            Row(
                f"{self.tree.name}: {what}",
                _figure(value, unit),
                _figure(beside, unit) if beside is not None else "not measured",
                f"{value / beside:.3g}" if beside else "",
                f"≤ {_figure(target, unit)}" if target is not None else "",
                value <= target if target is not None else None,
                note,
            )
        )

    def ms(
        self,
        what: str,
        name: str,
        share: float = 0.5,
        *,
        target: float | None = None,
        beside: Took | None = None,
        note: str,
    ) -> None:
        """A row of `Costs.<name>`: the value that so large a share of them stays below."""
        took: Took = getattr(self.mine, name)
        small: Took = getattr(self.small, name)
        times = f"{len(took.cpu)} times; CPU {took.at(share, 'cpu'):.1f} ms, clock {took.at(share, 'wall'):.1f} ms, "
        worst = f"worst {max(getattr(took, self.judged)):.0f} ms. "
        self.add(
            what,
            "ms",
            took.at(share, self.judged),
            small.at(share, self.judged),
            target=target,
            beside=beside.at(share, self.judged) if beside and beside.cpu else None,
            note=times + worst + note,
        )


def rows(tree: Tree, tenth: Tree, costs: dict[str, Costs], judged: str) -> list[Row]:
    """The table's rows of one tree.

    Args:
        judged: `wall` on a quiet machine; `cpu` on one where others take what the clock counts.
    """
    mine, small, other, lines = costs["ours"], costs["tenth"], costs["peer"], costs["lines"]
    target = next(t for t in TARGETS if tree.files <= t.files)
    table = _Table(tree, mine, small, judged)
    said, loop = mine.said, mine.said["loop"]
    theirs = (
        f" aider: its map of the {len(tree.paths):,} code files, {median(other.build_wall):.0f} s."
        if other.build
        else ""
    )
    if "given up" in other.said:
        theirs += (
            f" aider was given up after {other.said['given up']:.0f} s in all; what it had done by then stands beside."
        )
    table.add(
        "cold build, search and map",
        "CPU-s",
        median(mine.build),
        median(small.build),
        target=target.build,
        beside=median(other.build) if other.build else None,
        note=f"{said['files']:,} files of {tree.bytes / 1e6:.0f} MB, {said['symbols']:,} symbols; index {said['bytes'] / 1e6:.0f} MB; "
        f"by the clock {median(mine.build_wall):.1f} s. With the worker processes, a first overview, map and search.{theirs}",
    )
    overview = f"Opened and a query's map made. The overview, which is kept: {mine.overview.at(0.5, judged):.0f} ms."
    told = "Told of it, as of our own writes and by a watcher; then both are asked for the new name."
    table.ms("restart → first map", "restart", target=target.restart, beside=other.restart, note=overview)
    table.ms("new prompt → map", "prompt", target=target.prompt, beside=other.prompt, note="")
    table.ms("one file edited → map and search right", "told", target=target.edit, beside=other.told, note=told)
    table.ms(
        "the same, told by nobody", "found", beside=other.told, note="Every file's size and time are looked at first."
    )
    table.ms("a look at all files, none changed", "sweep", note="")
    line = "Beside it ripgrep, one call with the same words."
    table.ms("search with snippets, p50", "search", target=target.p50, beside=lines.search, note=line)
    table.ms("search with snippets, p95", "search", 0.95, target=target.p95, beside=lines.search, note=line)
    table.ms("search by pattern, p50", "pattern", note="`re:`, `uses:` and phrases.")
    table.ms("search by pattern, p95", "pattern", 0.95, note="")
    table.add(
        "memory, warm",
        "MB",
        max(mine.warm),
        max(small.warm),
        target=target.memory,
        beside=max(other.warm) if other.warm else None,
        note=f"Resident, the most of {len(mine.warm)} rounds, after all of the above. The process that built the index: "
        f"{max(mine.building):.0f} MB at its most, its workers {max(mine.workers):.0f} MB.",
    )
    table.add(
        "event loop at a stretch while building",
        "ms CPU",
        max(mine.stretch),
        max(small.stretch),
        target=STRETCH,
        beside=None,
        note=f"The longest of {loop['stretches']:,} in the real server, which builds and answers prompts at once: {loop['longest'][1]}. "
        f"{loop['over']} over 20 ms, p99.9 {loop['p999']:.1f} ms; by the clock, waiting for Python's lock, {loop['wall']:.0f} ms; "
        f"the longest garbage collection in it {loop['collection']:.1f} ms.",
    )
    files = tree.files / tenth.files
    what, most = max(table.grown, key=lambda g: g[1])
    growth = Row(
        f"{tree.name}: growth, ×{files:.1f} files",
        f"×{most:.1f}",
        target=f"≤ ×{GROWTH * files:.1f}",
        met=most <= GROWTH * files,
        note=f"The worst row ({what}), against every tenth of its files alone. "
        + "; ".join(f"{w} ×{by:.1f}" for w, by in table.grown),
    )
    return [*table.rows, growth]


def _figure(value: float, unit: str) -> str:
    digits = 1 if value < 100 and unit != "MB" else 0
    return f"{value:,.{digits}f} {unit}"
