"""A proposed change of one file: what differs, hunk by hunk, and what results when some of the hunks are accepted.

Pure: bytes in, bytes out. A hunk says which lines of the old content become which lines of the new one, so accepting
hunks is copying lines and never guessing where they belong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace.edits.lines import CONTEXT, changes, groups, split
from reconvene.workspace.edits.risk import risky
from reconvene.workspace.names import display_path, shown
from reconvene.workspace.reading import blob_id

Op = Literal["edit", "create", "delete", "rename"]


@dataclass(frozen=True, slots=True)
class Hunk:
    """One piece of a change that is accepted or rejected by itself.

    `kind`: `lines` are lines of a text; `whole` is all of the content at once (a created, deleted or binary file);
    `header` is the rename and the change of mode, which comes first where there is one.
    `old_start`, `old_lines`, `new_start`, `new_lines`: as in the unified format, from 1, context included (a range of
    no lines starts at the line before it); all 0 for a hunk that is not of lines.
    `unified`: for people, with its `@@` line; what is not UTF-8 shows as U+FFFD.
    """

    id: str
    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    unified: str
    kind: Literal["lines", "whole", "header"] = "lines"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A change of one file, as it is proposed.

    `path`: where the content is afterwards (before, for a deletion); `old_path`: where it was, for a rename.
    `mode`: permission bits the file is to have (0o755); None keeps them, and is 0o644 less the umask for a new file.
    `base_hash`, `new_hash`: git's blob ids; None when there is no file.
    `hunks`: at least one, unless nothing changes. `risky`: a sentence why a person should look twice.
    """

    path: str
    op: Op
    old_path: str | None
    mode: int | None
    base_hash: str | None
    new_hash: str | None
    hunks: tuple[Hunk, ...]
    risky: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """What one path is to turn from and into; None: no file. `mode`: see `FileChange`. `like`: the path of a file whose
    permission bits a new file gets when `mode` is None (where it is renamed from)."""

    path: str
    base: bytes | None
    new: bytes | None
    mode: int | None = None
    like: str | None = None


def change_of(
    path: str,
    base: bytes | None,
    new: bytes | None,
    *,
    old_path: str | None = None,
    mode: int | None = None,
    prefix: str = "",
) -> FileChange:
    """The change that turns `base` into `new`.

    Args:
        path: relative to the root, as `Workspace.listing` gives it.
        base: the content now; None for a file that is to be created.
        new: the content it is to have; None for a deletion.
        old_path: where `base` lies, when it is to be moved to `path`.
        mode: permission bits; give them only when they are to change.
        prefix: of the hunks' ids (`prefix + "h1"`), which are to differ within one diff of several files.

    Raises:
        ReconveneError: `invalid_field` when neither there is a file nor is there to be one.
    """
    if base is None and new is None:
        raise ReconveneError("invalid_field", f"{shown(path)} is neither there nor to be made; there is no change.")
    if old_path == path:
        old_path = None
    op: Op = "create" if base is None else "delete" if new is None else "rename" if old_path else "edit"
    if op in ("create", "delete"):
        old_path = None
    if op == "delete":
        mode = None
    pieces = _pieces(path, op, old_path, mode, base, new)
    hunks = tuple(Hunk(f"{prefix}h{n}", *rest) for n, rest in enumerate(pieces, 1))
    why = risky(path) or (risky(old_path) if old_path else None)
    if why is None and mode is not None and mode & 0o111:
        why = f"{shown(path)} becomes a program that can be run."
    hashes = [None if content is None else blob_id(content) for content in (base, new)]
    return FileChange(path, op, old_path, mode, hashes[0], hashes[1], hunks, why)


def chosen(change: FileChange, base: bytes | None, new: bytes | None, accepted: Collection[str]) -> bytes | None:
    """Exactly the content that results when the hunks with these ids are accepted: all of them give `new`, none `base`.

    Raises:
        ReconveneError: `invalid_field` for an id that no hunk has, `stale_diff` when these are not the contents that
            the change is of.
    """
    if unknown := sorted(set(accepted) - {h.id for h in change.hunks}):
        raise ReconveneError("invalid_field", f"No hunk of {shown(change.path)} is called {unknown[0][:40]}.")
    for content, expected in ((base, change.base_hash), (new, change.new_hash)):
        if (None if content is None else blob_id(content)) != expected:
            raise ReconveneError(
                "stale_diff", f"This is not the content of {shown(change.path)} that the diff was made of."
            )
    taken = [h for h in change.hunks if h.id in accepted and h.kind != "header"]
    if any(h.kind == "whole" for h in change.hunks):
        return new if taken else base
    if base is None or new is None:
        return new if any(h.id in accepted for h in change.hunks) else base
    old_lines, new_lines = split(base), split(new)
    result: list[bytes] = []
    at = 0
    for hunk in taken:
        start = hunk.old_start - (hunk.old_lines > 0)
        result += old_lines[at:start]
        first = hunk.new_start - (hunk.new_lines > 0)
        result += new_lines[first : first + hunk.new_lines]
        at = start + hunk.old_lines
    return b"".join([*result, *old_lines[at:]])


def transitions(
    change: FileChange, base: bytes | None, new: bytes | None, accepted: Collection[str]
) -> tuple[Transition, ...]:
    """What is to happen on disk when these hunks are accepted; empty when nothing is. A rename is two transitions.

    A rename whose header is rejected changes the lines where the file is; a change of mode whose header is rejected
    leaves the mode.

    Raises:
        ReconveneError: as `chosen`.
    """
    content = chosen(change, base, new, accepted)
    header = next((h for h in change.hunks if h.kind == "header"), None)
    heading = header is not None and header.id in accepted
    mode = change.mode if heading or change.op == "create" else None
    if change.op == "rename" and heading and change.old_path:
        return Transition(change.old_path, base, None), Transition(
            change.path, None, content, mode, like=change.old_path
        )
    if content == base and mode is None:
        return ()
    return (Transition(change.old_path or change.path, base, content, mode),)


def check_size(changes: Collection[FileChange], limits: Limits) -> None:
    """
    Raises:
        ReconveneError: `too_large`: more files, or more text to read, than a person is asked to decide on at once.
    """
    if len(changes) > limits.diff_files:
        sentence = f"The change has {len(changes):,} files; the limit is {limits.diff_files:,}. Split it."
        raise ReconveneError("too_large", sentence, files=len(changes), limit=limits.diff_files)
    size = sum(len(hunk.unified.encode()) for change in changes for hunk in change.hunks)
    if size > limits.diff:
        sentence = f"The change has {size:,} bytes as a diff; the limit is {limits.diff:,}. Split it."
        raise ReconveneError("too_large", sentence, size=size, limit=limits.diff)


def is_binary(content: bytes) -> bool:
    """Whether a content has no lines to show: git's own rule, a NUL in its first 8,000 bytes."""
    return b"\0" in content[:8000]


_Piece = tuple[int, int, int, int, str, Literal["lines", "whole", "header"]]


def _pieces(
    path: str, op: Op, old_path: str | None, mode: int | None, base: bytes | None, new: bytes | None
) -> list[_Piece]:
    old, after = base or b"", new or b""
    pieces: list[_Piece] = []
    header = ""
    if op == "rename":
        header = f"rename from {display_path(old_path or '')}\nrename to {display_path(path)}\n"
    if op in ("edit", "rename") and mode is not None:
        header += f"new mode {mode:04o}\n"
    if header:
        pieces.append((0, 0, 0, 0, header, "header"))
    if is_binary(old) or is_binary(after):
        if base != new:
            sizes = " → ".join(f"{len(c):,} bytes" if c is not None else "none" for c in (base, new))
            pieces.append((0, 0, 0, 0, f"Binary file: {sizes}\n", "whole"))
        return pieces
    pieces += text_hunks(old, after, "whole" if op in ("create", "delete") else "lines")
    if not pieces and op in ("create", "delete"):
        pieces.append((0, 0, 0, 0, "", "whole"))
    return pieces


def text_hunks(old: bytes, new: bytes, kind: Literal["lines", "whole"] = "lines") -> list[_Piece]:
    """The hunks between two texts, context included."""
    a, b = split(old), split(new)
    found: list[_Piece] = []
    for group in groups(changes(a, b)):
        i1 = max(0, group[0][0] - CONTEXT)
        i2 = min(len(a), group[-1][1] + CONTEXT)
        j1, j2 = group[0][2] - (group[0][0] - i1), group[-1][3] + (i2 - group[-1][1])
        text = [f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@\n"]
        at = i1
        for s1, s2, t1, t2 in group:
            text += [_shown(b" ", line) for line in a[at:s1]]
            text += [_shown(b"-", line) for line in a[s1:s2]]
            text += [_shown(b"+", line) for line in b[t1:t2]]
            at = s2
        text += [_shown(b" ", line) for line in a[at:i2]]
        found.append((i1 + (i2 > i1), i2 - i1, j1 + (j2 > j1), j2 - j1, "".join(text), kind))
    return found


def _range(start: int, end: int) -> str:
    """A range of the unified format; one that is empty begins at the line before it."""
    length = end - start
    return f"{start + 1}" if length == 1 else f"{start + (length > 0)},{length}"


def _shown(sign: bytes, line: bytes) -> str:
    text = (sign + line).decode("utf-8", "replace")
    return text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n"
