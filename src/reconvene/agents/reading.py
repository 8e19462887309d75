"""The tool `read_file`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic_ai import RunContext

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.excerpt import RESULT_CHARS, header, numbered, place, remember
from reconvene.agents.notes import Found
from reconvene.agents.outlined import CHARS, outlined
from reconvene.agents.paths import Wanted, locate
from reconvene.agents.quoting import keeping
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.agents.secret_leave import Rows, asked, key_of
from reconvene.errors import ReconveneError
from reconvene.workspace import FileSlice

PAGE_LINES = 300


async def read_file(
    ctx: RunContext[AgentDeps],
    path: str,
    start: Annotated[int, Field(ge=1)] = 1,
    end: Annotated[int | None, Field(ge=1)] = None,
) -> ToolOutcome:
    """Read lines of a file, numbered. Long files come in pages; the last line says how to go on, and what is further on is told.

    Args:
        path: From the code base's root, as search prints it. A bare file name does when only one file has it.
        start: First line, from 1.
        end: Last line, inclusive.
    """
    deps = ctx.deps
    read = functools.partial(_read, deps, path, tuple(deps.seen), start, end, deps.notes.folders if deps.notes else ())
    private: Rows = ()
    try:
        wanted, start, end, got, notes = await asyncio.to_thread(read)
    except ReconveneError as e:
        if e.code != "secret_file":
            raise
        allowed = await asked(deps, key_of(ctx), e, change=False)
        if allowed is None:
            return ToolOutcome("The person said no. Do not ask for this file again.", "not read: you said no", ok=False)
        private = allowed
        wanted, start, end, got, notes = await asyncio.to_thread(read, secret=True)
    lines = _fitting(got, RESULT_CHARS)
    outline: list[str] = []
    if start == 1 and end is None and not private and (len(lines) <= got.end - got.start or got.next_start is not None):
        lines = _fitting(got, RESULT_CHARS - CHARS)
        blob = bytes.fromhex(got.fingerprint)
        outline = outlined(
            await asyncio.to_thread(deps.index.definitions_of, blob, got.path), got.start + len(lines) - 1
        )
    upto = got.start + len(lines) - 1
    following = upto + 1 if upto < got.end else got.next_start
    total = f"{got.total_lines:,} lines" if got.total_lines is not None else f"{got.size:,} bytes"
    head = header(got.path, got.start, upto) if lines else f"{got.path} is empty."
    told = [f"({scrub(wanted.written)} is {got.path})"] if wanted.written else []
    more = following is not None and (end is None or upto < end)
    tail = [f'(of {total}; go on with read_file("{got.path}", start={following}))'] if more else [f"(of {total})"]
    remember(deps, got.path)
    if deps.notes is not None:
        deps.notes.touch([got.path])
    whole = got.start == 1 and following is None
    where = f"{got.path}, {total}" if whole else f"{got.path}:{got.start}-{upto} of {total}"
    outcome = ToolOutcome(
        "\n".join([*told, head, *lines, *outline, *(tail if lines and not whole else [])]),
        f"{scrub(wanted.written)} → {where}" if wanted.written else where,
        truncated=more or got.truncated,
        places=[place(got.path, got.start, max(upto, got.start), None)],
        private=private,
        notes=notes,
    )
    return await keeping(deps, outcome, {got.path: got.fingerprint})


def _read(
    deps: AgentDeps,
    path: str,
    seen: Sequence[str],
    start: int,
    end: int | None,
    folders: Sequence[str],
    *,
    secret: bool = False,
) -> tuple[Wanted, int, int | None, FileSlice, Found | None]:
    """The file that is meant, the first and the last line that are wanted of it, and those of them that are one page; and the notes of
    these folders. Blocking."""
    wanted = locate(deps.workspace, path, seen)
    if start == 1 and end is None and wanted.start is not None:
        start, end = max(1, wanted.start - (0 if wanted.end else 10)), wanted.end or wanted.start + 40
    if end is not None and end < start:
        raise ReconveneError(
            "invalid_field", f"Lines {start} to {end} are no range: lines count from 1, and start comes first."
        )
    last = min(end or start + PAGE_LINES - 1, start + PAGE_LINES - 1)
    got = deps.workspace.read(wanted.path, start=start, end=last, max_bytes=RESULT_CHARS * 4, secret=secret)
    return wanted, start, end, got, deps.notes.look(folders) if deps.notes else None


def _fitting(got: FileSlice, room: int) -> list[str]:
    """As many of its lines, numbered, as there is room for; one at least."""
    lines: list[str] = []
    for number, line in enumerate(redact(got.text).split("\n") if got.end >= got.start else [], got.start):
        text = numbered(number, line)
        room -= len(text) + 1
        if room < 0 and lines:
            break
        lines.append(text)
    return lines
