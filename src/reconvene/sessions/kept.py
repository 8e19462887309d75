"""What sessions did to files: the contents that it needs kept, and all of it as one patch."""

from __future__ import annotations

import json
from collections.abc import Iterable

from reconvene.errors import ReconveneError
from reconvene.log.port import Log, NewEvent, Row
from reconvene.sessions.state import StatefulRow
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Plan, as_patch, change_of
from reconvene.workspace.names import parse_path

PLAN = "apply_plan"
"""Private row: `{"diff_id", "n", "shown", "parent", "undo", "plan"}`: what is about to be written to files, and how it is shown."""
OUTCOME = "apply_outcome"
"""Private row: `{"diff_id", "n", "outcome", "unsettled"}`: what became of it on disk."""
HELD = "held"
"""Private row: `{"contents"}`: hashes in the store of contents that this session needs."""
PROPOSED = "once"
"""Private row: `{"key", "value"}`: among other things a proposal, as `agents.proposal` makes it."""


KEPT = (HELD, PLAN, OUTCOME, PROPOSED)
"""The rows that name contents."""


def needed(rows: Iterable[Row | NewEvent]) -> set[str]:
    """The hashes of the contents that these rows of a session name."""
    hashes: set[str] = set()
    for row in rows:
        content = json.loads(row.content)
        match row.type:
            case "held":
                hashes.update(content["contents"])
            case "apply_plan":
                hashes |= Plan.from_json(content["plan"]).hashes
            case "once" if isinstance(value := content["value"], dict):
                # A proposal that nobody was shown yet: a reviewer, or a provider that is away, may take its time.
                for file in value.get("files") or ():
                    hashes.update(h for h in (file.get("base"), file.get("new")) if h)
            case "apply_outcome":
                hashes.update(h for file in content["outcome"]["files"] for h in file["kept"])
    return hashes


async def needed_by_all(log: Log) -> set[str]:
    """The same of every session there is."""
    hashes: set[str] = set()
    for session in await log.sessions():
        hashes |= needed(await log.read(session.id, 0, types=KEPT))
    return hashes


def patch(rows: Iterable[StatefulRow], contents: Contents) -> str:
    """Everything these `applied` events changed, as one patch that `git apply` takes; "" for nothing. Blocking.

    Of a path that was changed several times: from what it was before the first to what it was after the last.

    Raises:
        ReconveneError: `not_found` when a content is not kept any more.
    """
    first: dict[str, str | None] = {}
    last: dict[str, str | None] = {}
    for row in rows:
        for file in json.loads(row.content)["files"]:
            path = parse_path(file["path"])
            first.setdefault(path, file["base_hash"])
            last[path] = file["new_hash"]

    def content(name: str | None) -> bytes | None:
        found = contents.get(name) if name else None
        if name and found is None:
            raise ReconveneError("not_found", "The contents of files that this session changed are not kept any more.")
        return found

    changed = [(path, content(first[path]), content(last[path])) for path in sorted(first) if first[path] != last[path]]
    return as_patch((change_of(path, base, new), base, new) for path, base, new in changed)
