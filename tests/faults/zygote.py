"""A preloaded process that forks servers: a death and a restart cost tenths of a second instead of seconds of imports.

Commands come as JSON lines on stdin: `{"data_dir", "root", "out", "effects", "mutation"}`; each answer is the pid of a forked server.
Nothing is opened and no thread is started before the fork, so every server begins as a new process does.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mutations
from effects import note_effects

import reconvene.agents.models
import reconvene.agents.offline
import reconvene.index.registry
import reconvene.index.root
import reconvene.repomap
import reconvene.runs.attempt
import reconvene.search.context
import reconvene.server.lifecycle
import reconvene.workspace.edits
import threefiles
import widequestion
from coding import agents
from reconvene.config import Settings
from reconvene.log.writer import Writer
from scripted import scripted

ANSWER = " ".join(f"word{n}" for n in range(40))
STEPS: list[Any] = [
    [("search", {"query": "idle"}), ("search", {"query": "sweep"}), ("search", {"query": "hub"})],
    [("read_file", {"path": "src/hub.py"}), ("read_file", {"path": "src/session.py"})],
    [("create_plan", {"title": "Plan", "steps": ["one", "two"]}), ("ask_user", {"question": "Which?"})],
    ANSWER,
]


def model_with_effects(effects: int, script: str) -> Any:
    """The scripted model; every request is written down outside of the log."""

    def note(**what: Any) -> None:
        os.write(effects, (json.dumps(what) + "\n").encode())

    async def before(step: int) -> None:
        await asyncio.sleep(0.004)

    async def between(step: int, word: int) -> None:
        await asyncio.sleep(0.003)

    note_effects(note)
    if script == "wide question":
        return widequestion.model
    if script == "three files":
        return agents(threefiles.ORCHESTRATOR, threefiles.CODER, threefiles.REVIEWER)
    return scripted(STEPS, before=before, between=between)


def die_at(rows: int) -> None:
    """Kill this server in the writer's thread, right after the commit with which so many rows are on disk: nobody was told of it."""
    commit = Writer._commit

    def last(self: Writer, db: Any, tx: Any, answers: list[Any]) -> None:
        commit(self, db, tx, answers)
        if db.execute("select count(*) from event").get >= rows:
            os.kill(os.getpid(), signal.SIGKILL)

    Writer._commit = last  # type: ignore[method-assign]


def serve(job: dict[str, Any]) -> None:
    out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.dump_traceback_later(15, file=out)  # a start that hangs says where: its stacks are in the output
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    effects = os.open(job["effects"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    model = model_with_effects(effects, job.get("script", "looking"))
    if job.get("die_at"):
        die_at(job["die_at"])
    reconvene.agents.models.resolve = model if job.get("script") == "wide question" else lambda *_: model
    (mutations.MUTATIONS | mutations.OF_CHANGES)[job["mutation"]]()
    settings = Settings.load(
        {"data_dir": job["data_dir"], "port": 0, **job.get("settings", {})}, environ={"RECONVENE_LIMIT_HEARTBEAT": "90"}
    )
    reconvene.server.lifecycle.run_server(settings, [job["root"]])


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 1
            try:
                serve(job)
                code = 0
            except BaseException:
                traceback.print_exc()  # into the server's output: why it did not start must not be lost
                sys.stderr.flush()
            finally:
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
