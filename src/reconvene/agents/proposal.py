"""A coder's answer as a proposal: files before and after, kept in the store of contents, and the diffs a person decides on.

A proposal is JSON in the log: once made it is what everybody sees, whatever happens to the files meanwhile.
"""

from __future__ import annotations

import ast
import json
import threading
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from reconvene.agents.edit_blocks import Changed, carry_out
from reconvene.agents.edit_format import Edit, Rename, Step, Unusable, parse
from reconvene.agents.redact import redact
from reconvene.agents.scrub import reveal, scrub
from reconvene.agents.secret_leave import named
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.protocol.events import Diff, FileDiff, Hunk
from reconvene.workspace import Workspace, display_path
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import FileChange, Transition, change_of, transitions
from reconvene.workspace.names import parse_path
from reconvene.workspace.secret_files import is_version_control

_OF_THE_PATH = frozenset(
    {
        "path_outside_root", "invalid_path", "name_too_long", "not_a_regular_file", "is_a_directory", "permission_denied",
        "secret_file", "too_large",
    }
)  # fmt: skip
"""What a path can be refused for: the model should name another one."""


class NeedsLeave(Exception):
    """A file that looks like a secret would have to be read."""

    def __init__(self, sentence: str, path: str) -> None:
        super().__init__(sentence)
        self.path = path


@dataclass(frozen=True, slots=True)
class Proposed:
    """One file of a proposal: the change, and its contents before and after."""

    change: FileChange
    base: bytes | None
    new: bytes | None

    @property
    def source(self) -> str:
        """Where its content is now."""
        return self.change.old_path or self.change.path

    def chosen(self, hunks: Collection[str] | None) -> tuple[Transition, ...]:
        """What is to be written when these hunks are accepted; None: all of them."""
        ids = {h.id for h in self.change.hunks}
        return transitions(self.change, self.base, self.new, ids if hunks is None else ids & set(hunks))


def propose(
    answer: str,
    workspace: Workspace,
    contents: Contents,
    limits: Limits,
    doubts: Callable[[str, bytes], int | None] = lambda _path, _content: None,
    allowed: Collection[str] = (),
) -> dict[str, JsonValue]:
    """A coder's answer as a proposal, or as what is wrong with it. Blocking.

    Args:
        doubts: the line at which a grammar finds a content at fault (`RootIndex.syntax_error`).
        allowed: files that look like secrets and may be read, in their display form.

    Returns:
        `{"prose", "files": [{"path", "old_path", "base", "new"}]}` with contents' hashes, or `{"unusable": sentence}`, with `"doubt":
        true` when it is only a grammar that finds a fault: it may be behind its language, so its word is not the last; with `"secret":
        path` when a person has to allow first that a file is read.

    Raises:
        ReconveneError: `workspace_gone`, `disk_full`: what is not the model's to mend.
    """
    bases: dict[str, bytes | None] = {}

    def read(path: str) -> bytes | None:
        if path not in bases:
            bases[path] = _read(workspace, path, limits.diff, allowed)
        return bases[path]

    try:
        written = parse(answer)
        steps = [_normal(step) for step in written.steps]
        changed = carry_out(steps, read)
        _within(changed, limits)
        if wrong := [message for c in changed if (message := syntax_error(c))]:
            raise Unusable("\n\n".join(wrong))
    except NeedsLeave as e:
        return {"unusable": scrub(redact(str(e))), "secret": e.path}
    except Unusable as e:
        return {"unusable": scrub(redact(str(e)))}
    if doubtful := [message for c in changed if (message := _doubt(c, doubts))]:
        return {"unusable": scrub("\n\n".join(doubtful)), "doubt": True}
    files: list[JsonValue] = [
        {
            "path": display_path(c.path),
            "old_path": display_path(c.old_path) if c.old_path else None,
            "base": None if c.base is None else contents.put(c.base),
            "new": None if c.new is None else contents.put(c.new),
        }
        for c in changed
    ]
    return {"prose": scrub(written.prose), "files": files}


def proposed(files: Sequence[dict[str, Any]], contents: Contents) -> list[Proposed]:
    """The files of a proposal, from what is kept. Blocking.

    Raises:
        ReconveneError: `store_error` when a content is not there any more.
    """
    made = []
    for number, file in enumerate(files, 1):
        base, new = (_kept(contents, file[key]) for key in ("base", "new"))
        old_path = parse_path(file["old_path"]) if file["old_path"] else None
        change = change_of(parse_path(file["path"]), base, new, old_path=old_path, prefix=f"f{number}-")
        made.append(Proposed(change, base, new))
    return made


def groups(files: Sequence[Proposed]) -> list[list[Proposed]]:
    """What is decided on together: all ordinary files, and then what can run something, one by one."""
    ordinary = [f for f in files if f.change.risky is None]
    return [*([ordinary] if ordinary else []), *([f] for f in files if f.change.risky is not None)]


def diff_of(id: str, files: Sequence[Proposed]) -> Diff:
    """The event. Secrets that stand in the lines are hidden; what is written is the content itself."""
    shown = [
        FileDiff(
            path=display_path(f.change.path),
            op=f.change.op,
            old_path=display_path(f.change.old_path) if f.change.old_path else None,
            mode=f.change.mode,
            base_hash=f.change.base_hash,
            new_hash=f.change.new_hash,
            hunks=[Hunk(id=h.id, unified=redact(reveal(h.unified))) for h in f.change.hunks],
            risk=f.change.risky,
        )
        for f in files
    ]
    return Diff(id=id, files=shown, risky=any(f.change.risky for f in files))


def unified(files: Sequence[Proposed], hunks: Collection[str] | None = None) -> str:
    """The change (or some of its hunks) as text for a model."""
    parts: list[str] = []
    for f in files:
        taken = [h for h in f.change.hunks if hunks is None or h.id in hunks]
        if taken:
            old = f" (was {display_path(f.change.old_path)})" if f.change.old_path else ""
            parts.append(f"### {f.change.op} {display_path(f.change.path)}{old}")
            parts += [redact(scrub(h.unified)).rstrip("\n") for h in taken]
    return "\n".join(parts)


def syntax_error(changed: Changed) -> str | None:
    """Why a file's new content cannot be right, where it was right before; None: nothing is known against it."""
    if changed.new is None or (error := _error(changed.path, changed.new)) is None:
        return None
    if changed.base is not None and _error(changed.old_path or changed.path, changed.base) is not None:
        return None
    return f"{changed.path} would have a syntax error: {error}. Write the edit again."


def _doubt(changed: Changed, doubts: Callable[[str, bytes], int | None]) -> str | None:
    if changed.new is None or (line := doubts(changed.path, changed.new)) is None:
        return None
    if changed.base is not None and doubts(changed.old_path or changed.path, changed.base) is not None:
        return None
    text = changed.new.split(b"\n")[line - 1].decode("utf-8", "replace")[:200] if line > 0 else ""
    said = f"{changed.path} seems to have a syntax error at line {line}: {redact(text)}"
    return f"{said}\nIf it is right as it is, give the same answer again."


_PARSING = threading.Lock()
"""CPython 3.11 counts the depth of a syntax tree for all threads at once, and two that make one at the same time break each other's count
(SystemError: AST constructor recursion depth mismatch; github.com/python/cpython/issues/106905)."""


def _error(path: str, content: bytes) -> str | None:
    ending = path.rsplit(".", 1)[-1].lower()
    try:
        match ending:
            case "py" | "pyi":
                with _PARSING:
                    ast.parse(content, filename=path.rsplit("/", 1)[-1])
            case "json":
                json.loads(content)
            case "toml":
                tomllib.loads(content.decode())
    except SyntaxError as e:
        return f"{e.msg} (line {e.lineno})"
    except SystemError:  # the interpreter's own fault: nothing is known against the file
        return None
    except (ValueError, RecursionError, MemoryError) as e:
        return str(e) or type(e).__name__
    return None


def _normal(step: Step) -> Step:
    """The step with its paths as the workspace lists them."""
    match step:
        case Edit(path, blocks):
            return Edit(_normal_path(path), blocks)
        case Rename(path, new_path):
            return Rename(_normal_path(path), _normal_path(new_path))
    from dataclasses import replace

    return replace(step, path=_normal_path(step.path))


def _normal_path(written: str) -> str:
    if written.startswith("/"):
        raise Unusable(f"{written} is not a path of the code base: paths begin at its root, without a slash.")
    try:
        path = "/".join(name for name in parse_path(written).split("/") if name not in ("", "."))
    except ReconveneError as e:
        raise Unusable(e.message) from e
    if not path:
        raise Unusable("A step names no file.")
    return path


def _read(workspace: Workspace, path: str, most: int, allowed: Collection[str]) -> bytes | None:
    if is_version_control(path):
        raise Unusable(f"{path} belongs to version control. It is neither read nor changed by agents.")
    try:
        return workspace.read_bytes(path, max_bytes=most, secret=named(path) in allowed)
    except ReconveneError as e:
        if e.code == "file_not_found":
            return None
        if e.code == "secret_file" and not e.details.get("never"):
            raise NeedsLeave(e.message, named(path)) from e
        if e.code in _OF_THE_PATH:
            raise Unusable(e.message) from e
        raise


def _within(changed: Sequence[Changed], limits: Limits) -> None:
    size = sum(len(c.new or b"") if c.base is None else len(c.base) if c.new is None else 0 for c in changed)
    size += sum(abs(len(c.new) - len(c.base)) for c in changed if c.new is not None and c.base is not None)
    if len(changed) > limits.diff_files:
        raise Unusable(
            f"The change has {len(changed)} files; the limit is {limits.diff_files}. Propose it in parts, the first part now."
        )
    if size > limits.diff:
        raise Unusable(
            f"The change has {size:,} bytes; the limit is {limits.diff:,}. Propose it in parts, the first part now."
        )


def _kept(contents: Contents, name: str | None) -> bytes | None:
    if name is None:
        return None
    content = contents.get(name)
    if content is None:
        raise ReconveneError(
            "store_error",
            "The content of a proposed file is not in the data folder any more. Ask for the change again.",
        )
    return content
