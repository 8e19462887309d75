"""The tool that runs a program, after the person gave leave. It is there only in a workspace whose owner switched commands on.

The program runs confined (`commands.confinement`) under a supervisor of its own, so that neither a restart nor a crash of the
server ends it or starts it twice: the tool call that comes again after a crash finds the job of the first one and waits for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, JsonValue
from pydantic_ai import RunContext

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.commands.confinement import Kind, credentials, kinds
from reconvene.commands.job import Job, Result, Spec
from reconvene.errors import ReconveneError
from reconvene.protocol.events import Output

RULE = "command_rule"
"""Private row: `{"command", "rule"}`: what the person said for the whole session."""
FOR_MODEL = 16_000
"""Characters of output that the model gets: a quarter from the beginning, the rest from the end, where errors stand."""
SHOWN_EVERY = 0.25
"""Seconds between two looks at what a running command wrote."""
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ")
"""Of the server's environment: never its keys."""
_NEVER_RUN = "The person does not want this command run in this session. Do not ask again; go on without it, or say what you need."


@dataclass
class Leave:
    """What commands are allowed in this run.

    jobs: the folder of the run's jobs. hidden: real paths no command may read. rules: what the person said earlier in the session,
    by command. longest: seconds that a command may take. keep: bytes of its output that are kept, from each end.
    """

    jobs: Path
    network: bool
    hidden: tuple[str, ...]
    longest: float
    keep: int
    rules: dict[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


async def run_command(
    ctx: RunContext[AgentDeps],
    command: Annotated[list[Annotated[str, Field(max_length=8000)]], Field(min_length=1, max_length=200)],
    cwd: Annotated[str, Field(max_length=4000)] = ".",
    shell: bool = False,
    timeout: Annotated[int, Field(ge=1)] = 120,
) -> ToolOutcome:
    """Run a program in the code base: its tests, a build, a formatter. The person is asked first, and may say no.

    Args:
        command: The program and its arguments, one string each. No shell reads them: no pipes, no globs.
        cwd: Folder to run it in, from the code base's root.
        shell: Only when you need a pipe or a redirection: then `command` has one string, which `/bin/sh -c` reads.
        timeout: Seconds after which it is ended.
    """
    deps = ctx.deps
    leave = deps.leave
    if leave is None:
        raise ReconveneError("tool_failed", "Commands are not allowed in this code base.")
    if any("\0" in word for word in command) or (shell and len(command) != 1) or not command[0].strip():
        raise ReconveneError(
            "invalid_field", "command needs a program's name and its arguments; with shell, exactly one string."
        )
    folder = await asyncio.to_thread(_folder, str(deps.workspace.root), cwd)
    argv = ("/bin/sh", "-c", command[0]) if shell else tuple(command)
    env = _environment(leave)
    if shutil.which(argv[0], path=env.get("PATH")) is None and not os.path.exists(os.path.join(folder, argv[0])):
        raise ReconveneError("tool_failed", f"There is no program {scrub(argv[0])!r} on this machine.")
    kind = await asyncio.to_thread(lambda: kinds()[0])
    item = deps.durable.item(ctx.tool_call_id or "")
    name = json.dumps([list(argv), os.path.relpath(folder, deps.workspace.root)])
    private: tuple[tuple[str, str], ...] = ()
    if (rule := leave.rules.get(name)) is None:
        asked = await deps.durable.ask(f"leave:{item}", _question(argv, shell, cwd, leave, kind), schema=_ANSWERS)
        if asked in ("session", "never"):
            rule = leave.rules[name] = str(asked)
            private = ((RULE, json.dumps({"command": name, "rule": rule})),)
        elif asked != "once":
            return ToolOutcome("The person said no. Do not ask for this again.", "not run: you said no", ok=False)
    if rule == "never":
        return ToolOutcome(_NEVER_RUN, "not run: you said never", ok=False, private=private)
    job = Job(leave.jobs, item)
    root = str(deps.workspace.root)
    spec = Spec(
        argv, folder, {**env, "TMPDIR": job.temporary, "XDG_CACHE_HOME": f"{job.temporary}/cache"},
        min(float(timeout), leave.longest), leave.keep, kind, (root, job.temporary), leave.hidden,
        tuple(f"{root}/.git/{name}" for name in ("hooks", "config")), network=leave.network,
    )  # fmt: skip
    await asyncio.to_thread(job.start, spec)
    result = await _Watcher(deps, job, item).follow()
    await deps.index.refresh_within(2.0)
    return _outcome(command, shell, result, spec.timeout, private)


_ANSWERS: dict[str, JsonValue] = {"type": "string", "enum": ["once", "session", "no", "never"]}


def _question(argv: tuple[str, ...], shell: bool, cwd: str, leave: Leave, kind: Kind) -> str:
    line = argv[2] if shell else shlex.join(argv)
    where = "" if cwd in (".", "") else f" in {scrub(cwd)}"
    by = " (a shell reads this line)" if shell else ""
    net = "it can reach the network" if leave.network else "it cannot reach the network"
    bounds = (
        "It is NOT confined on this machine: it can read, write and send whatever you can. Install bubblewrap to confine it."
        if kind == "none"
        else f"It can write only inside the code base; {net}."
    )
    answers = "Answer once, session (this command, without asking again), no or never."
    return f"Run this command{where}?{by}\n\n    {scrub(line)}\n\n{bounds}\n{answers}"


def _folder(root: str, cwd: str) -> str:
    path = os.path.realpath(os.path.join(root, cwd))
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        raise ReconveneError("path_outside_root", "cwd must be a folder inside the code base.")
    if not os.path.isdir(path):
        raise ReconveneError("not_a_directory", f"There is no folder {scrub(cwd)} in the code base.")
    return path


def _environment(leave: Leave) -> dict[str, str]:
    kept = {k: v for k, v in leave.environ.items() if k in _PASSED_ON or k.startswith("LC_")}
    return {**kept, "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}


class _Watcher:
    """Shows what a command writes, whole lines at a time, each once: where the pieces end is kept beside the output, so that whoever
    follows the command after a crash cuts it at the same places."""

    def __init__(self, deps: AgentDeps, job: Job, item: str) -> None:
        self._deps, self._job, self._item = deps, job, item
        self._ends = job.folder / "shown"

    async def follow(self) -> Result:
        shown = await self._again()
        while True:
            state = await asyncio.to_thread(self._job.state)
            running = state == "running"
            while piece := await asyncio.to_thread(self._job.read, shown):
                end = len(piece) if not running else piece.rfind(b"\n") + 1
                if end == 0:
                    break
                await asyncio.to_thread(self._mark, shown + end)
                await self._show(shown, piece[:end])
                shown += end
            if not running and (result := await asyncio.to_thread(self._job.result)) is not None:
                return result
            if state == "new":
                raise self._job.gone()
            await asyncio.sleep(SHOWN_EVERY)

    async def _again(self) -> int:
        """What an earlier follower had cut off: what of it is in the log already is not written twice."""
        try:
            ends = [int(line) for line in (await asyncio.to_thread(self._ends.read_text)).split()]
        except FileNotFoundError:
            return 0
        start = 0
        for end in ends:
            piece = await asyncio.to_thread(self._job.read, start)
            await self._show(start, piece[: end - start])
            start = end
        return start

    def _mark(self, end: int) -> None:
        with open(self._ends, "a", encoding="ascii") as f:
            f.write(f"{end}\n")

    async def _show(self, start: int, piece: bytes) -> None:
        text = scrub(redact(piece.decode("utf-8", "replace")))
        content = Output(id=self._item, offset=start, text=text)
        await self._deps.durable.show(f"output:{self._item}:{start}", [content], parent=self._item)


def _outcome(
    command: list[str], shell: bool, result: Result, limit: float, private: tuple[tuple[str, str], ...]
) -> ToolOutcome:
    line = scrub(command[0] if shell else shlex.join(command))
    line = line if len(line) <= 80 else f"{line[:79]}…"
    text = scrub(redact(result.output.decode("utf-8", "replace")))
    cut = len(text) > FOR_MODEL
    if cut:
        first, last = text[: FOR_MODEL // 4], text[-FOR_MODEL * 3 // 4 :]
        text = f"{first}\n[... {len(text) - len(first) - len(last):,} characters left out ...]\n{last}"
    how = _how(result, limit)
    value = f"{how}\n{text}" if text.strip() else f"{how}\nIt wrote nothing."
    return ToolOutcome(value, f"{line}: {how}", ok=result.exit == 0, truncated=cut or result.truncated, private=private)


def _how(result: Result, limit: float) -> str:
    if result.error is not None:
        return f"could not be started: {scrub(result.error)}"
    took = f"after {result.seconds:.1f} s"
    match result.why:
        case "timeout":
            return f"ended {took}: it had not finished within {limit:g} s"
        case "cancelled":
            return f"stopped {took}"
        case "lost":
            return "was started, and how it ended is not known (the machine went down); ask the person before running it again"
    return f"exit {result.exit} {took}" if result.exit is not None else f"ended by signal {result.signal} {took}"


def hidden(data_dir: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What no command reads: the data folder, and where credentials usually lie."""
    home = environ.get("HOME") or "/nonexistent"
    return (os.path.realpath(data_dir), *credentials(home))
