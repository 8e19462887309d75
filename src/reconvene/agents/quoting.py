"""What a session quotes of files is kept as it was, so that a citation opens what the answer was made from, whatever the file is now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.errors import ReconveneError
from reconvene.workspace.reading import blob_id

LARGEST = 1024**2
"""Bytes of a file that is kept whole because some of its lines were quoted."""


async def keeping(deps: AgentDeps, outcome: ToolOutcome, known: Mapping[str, str | None]) -> ToolOutcome:
    """The same outcome, its places with the `hash` of the file they are from, and a private row that keeps those files.

    Args:
        known: by path, git's blob id of what was shown. A file that is another one by now, is too large, or cannot be read
            or kept gets no hash: what is quoted stays in the log, it only cannot be opened as it was.
    """
    if deps.contents is None or not outcome.places:
        return outcome
    paths = dict.fromkeys(str(p["path"]) for p in outcome.places)
    kept = {path: blob for path in paths if (blob := known.get(path)) is not None and blob in deps.quoted}
    new = (
        await asyncio.to_thread(_keep, deps, [p for p in paths if p not in kept], known)
        if len(kept) < len(paths)
        else {}
    )
    kept |= new
    if not kept:
        return outcome
    places = [{**p, "hash": kept[str(p["path"])]} if p["path"] in kept else p for p in outcome.places]
    if not new:
        return replace(outcome, places=places)
    deps.quoted.update(new.values())
    held = ("held", json.dumps({"contents": sorted(set(new.values()))}))
    return replace(outcome, places=places, private=(*outcome.private, held))


def _keep(deps: AgentDeps, paths: Iterable[str], known: Mapping[str, str | None]) -> dict[str, str]:
    assert deps.contents is not None
    kept: dict[str, str] = {}
    for path in paths:
        try:
            content = deps.workspace.read_bytes(path, max_bytes=LARGEST)
            if blob_id(content) == known.get(path):
                kept[path] = deps.contents.put(content, durable=False)
        except ReconveneError as e:
            if e.code == "workspace_gone":
                raise
    return kept
