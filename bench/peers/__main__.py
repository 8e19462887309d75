"""Measure the servers one after the other and write the page: `python -m bench.peers`. With names those alone are measured, and the page
is printed; `--page` only makes it anew."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import Others, description
from bench.peers import measure, released
from bench.peers.chainlit import Chainlit
from bench.peers.codex import Codex
from bench.peers.langgraph import LangGraph
from bench.peers.opencode import Opencode
from bench.peers.openhands import OpenHands
from bench.peers.ours import Reconvene
from bench.peers.peer import Peer
from bench.peers.provider import LONG, PACE, SLOW, TOOL_SECONDS, Provider

TREE = Path(__file__).parents[2]
KEPT = TREE / "docs" / "explanation" / "peers.json"
PAGE = TREE / "docs" / "explanation" / "peers.md"
PEERS: dict[str, type[Peer]] = {
    "reconvene": Reconvene,
    "opencode": Opencode,
    "codex": Codex,
    "chainlit": Chainlit,
    "langgraph": LangGraph,
    "openhands": OpenHands,
}
HEAD = f"""\
# Beside others

The same tests on comparable servers, in one run on one machine. Made by `make bench-peers`; do not edit. All were given the same scripted
model: an OpenAI-compatible provider on loopback that says {SLOW} tokens, one each {PACE * 1000:.0f} ms, or asks for a shell command that
takes {TOOL_SECONDS} s. A token that is shown is one that the server's own documented client would show: what it fetched, and what came
after. The packages are the released ones; each was run with the best setting that its documentation names, which is below.
"""
TAIL = f"""\
## How it was measured

* *Lost* are tokens older than the newest that is shown and not there; *doubled* are those there twice. Counted 2 s after the return, and
  when the answer had ended.
* *Loaded anew*: a second client with nothing but the session's id, 1.5 s after it came.
* *Two tabs*: two clients on one session, then a prompt.
* *Sent twice*: the same prompt with the same id of the client's, where the server takes one; how many runs the model sees.
* *`kill -9`* is sent to the server's processes, not to the command that it runs; the server is started again a second later (after a
  command: when the command would have ended) and waited for, 40 s for an answer and 25 s for a command.
* *Leave*: a command that a person is to allow first; the server is killed {measure.THINKING:.0f} s after it asked, and the leave is given
  after the restart.
* *10,000 pieces*: an answer of {LONG:,} tokens, each streamed by itself, then a new client: until all are shown.
* Times are of this machine with what else it did; the seconds of CPU can be compared. Memory is PSS of all the server's processes, 5 s
  after the start, without a session.

## Not measured

* LangGraph's production server and Cloudflare's agents (they do not run here), and servers that are parts of a desktop program.
"""


def page(kept: dict[str, Any]) -> str:
    names = [name for name in PEERS if name in kept["cells"]]
    titles = [f"{PEERS[name].name} {kept['versions'][name]}" for name in names]
    lines = [
        HEAD,
        f"{kept['day']}, commit {kept['commit']}. {kept['machine']}; other programs kept {kept['others']:.1f} cores busy.\n",
    ]
    lines += [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(names)}"]
    for row in measure.ROWS:
        cells = [kept["cells"][name].get(row, "not measured").replace("|", "/") for name in names]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    lines += ["", *kept.get("notes", []), "", "## As it was run", ""]
    lines += [f"* **{PEERS[name].name}**: {PEERS[name].setting}. {PEERS[name].limits}" for name in names]
    return "\n".join([*lines, "", TAIL])


def added(kept: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with the columns of a later run, which is said."""
    titles = ", ".join(PEERS[name].name for name in new["cells"])
    note = f"{titles}: of a run of its own ({new['day']}, commit {new['commit']}; other programs kept {new['others']:.1f} cores busy)."
    cells, versions = ({**kept[part], **new[part]} for part in ("cells", "versions"))
    others = [line for line in kept.get("notes", []) if not line.startswith(f"{titles}:")]
    return {**kept, "cells": cells, "versions": versions, "notes": [*others, note]}


async def run(names: list[str], missing: dict[str, str]) -> dict[str, Any]:
    """Measure these. `missing`: packages that could not be had, and why."""
    provider, others = Provider(), Others()
    found: dict[str, measure.Cells] = {}
    for name in names:
        if why := missing.get(PEERS[name].package):
            found[name] = dict.fromkeys(measure.ROWS, f"not measured: {why[:160]}")
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"peers-{name}-"))
        peer = PEERS[name](folder, provider)
        provider.said.clear()
        try:
            found[name] = await measure.measured(peer, lambda line: print(line, flush=True))
        except Exception as e:
            found[name] = dict.fromkeys(measure.ROWS, f"not measured: {str(e)[:160]}")
        finally:
            await peer.close()
            shutil.rmtree(folder, ignore_errors=True)
    versions = {name: released.VERSIONS.get(PEERS[name].package) or PEERS[name].version for name in names}
    return {
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": released.commit(),
        "machine": description(TREE)[0],
        "others": round(others.cores(), 1),
        "versions": versions,
        "cells": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The same tests on comparable servers.")
    parser.add_argument("names", nargs="*", choices=[*PEERS, []], help="these alone, and ours")
    parser.add_argument("--add", action="store_true", help="put those into the page, beside what is kept of the others")
    parser.add_argument("--page", action="store_true", help="measure nothing; make the page")
    asked = parser.parse_args()
    if not asked.page:
        names = [name for name in PEERS if name in (asked.names or PEERS) or (name == "reconvene" and not asked.add)]
        missing = released.install({PEERS[name].package for name in names}, lambda line: print(line, flush=True))
        kept = asyncio.run(run(names, missing))
        if asked.add:
            kept = added(json.loads(KEPT.read_text()), kept)
        elif asked.names:
            print(page(kept))  # the page is of all of them
            return
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(json.loads(KEPT.read_text())))
    print(f"{PAGE.relative_to(TREE)} is made")


if __name__ == "__main__":
    main()
