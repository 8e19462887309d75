"""Whether a decision fits its diff, and whether the diff still fits the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.sessions.state import Pending
from reconvene.workspace import Workspace
from reconvene.workspace.names import parse_path
from reconvene.workspace.reading import blob_id

FEEDBACK = 20_000
"""Characters of one feedback."""


def decision(
    pending: Pending,
    verdict: Literal["accept", "reject", "feedback"],
    hunks: Sequence[str] | None,
    feedback: str | None,
    by: str,
) -> ev.Decided:
    """The event of a decision on this diff. To accept none of the hunks is to reject the diff.

    Raises:
        ReconveneError: `invalid_field`.
    """
    if verdict == "feedback":
        if not feedback or not feedback.strip() or "\0" in feedback:
            raise ReconveneError("invalid_field", "Say what should be different.", path="content.feedback")
        if len(feedback) > FEEDBACK:
            raise ReconveneError("too_large", f"Feedback has at most {FEEDBACK:,} characters.", limit=FEEDBACK)
        return ev.Decided(id=pending.id, verdict="feedback", feedback=feedback, by=by)
    if verdict == "reject" or hunks is None:
        return ev.Decided(id=pending.id, verdict=verdict, feedback=feedback or None, by=by)
    known = [h for file in pending.files for h in file["hunks"]]
    if unknown := sorted(set(hunks) - set(known)):
        raise ReconveneError(
            "invalid_field", f"The diff has no hunk {unknown[0]}.", path="content.hunks", unknown=unknown[:10]
        )
    chosen = [h for h in known if h in set(hunks)]
    return ev.Decided(
        id=pending.id, verdict="accept" if chosen else "reject", hunks=chosen or None, feedback=feedback or None, by=by
    )


def changed_files(workspace: Workspace, pending: Pending, hunks: Sequence[str] | None) -> list[str]:
    """The files (in display form) with accepted hunks that are not what the diff was made from. Blocking.

    The writer compares once more when it writes; this is so that nobody accepts what they did not see.
    """
    changed = []
    for file in pending.files:
        if hunks is not None and not set(hunks) & set(file["hunks"]):
            continue
        source = file.get("old_path") or file["path"]
        if _hash(workspace, parse_path(source)) != file.get("base_hash"):
            changed.append(source)
    return changed


def _hash(workspace: Workspace, path: str) -> str | None:
    """Git's blob id of a file as it is; None: there is none; "?": it cannot be read, so it is not what anybody was shown."""
    try:
        return blob_id(workspace.read_bytes(path, max_bytes=2 * workspace.limits.diff, secret=True))
    except ReconveneError as e:
        if e.code == "workspace_gone":
            raise
        return None if e.code == "file_not_found" else "?"


def stale_diff(paths: Sequence[str]) -> ReconveneError:
    """The refusal of a decision whose diff no longer fits."""
    named = ", ".join(paths) or "A file"
    return ReconveneError(
        "stale_diff",
        f"{named} changed after this was proposed, so nothing was written. A new diff is on its way.",
        paths=list(paths),
    )
