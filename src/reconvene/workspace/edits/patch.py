"""Changes as one text that `git apply` takes, byte for byte: `git diff --binary` as git writes it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable

from reconvene.workspace.edits.change import FileChange, is_binary, text_hunks
from reconvene.workspace.names import encode

NO_BLOB = "0" * 40


def as_patch(changes: Iterable[tuple[FileChange, bytes | None, bytes | None]]) -> str:
    """One patch of several files.

    Args:
        changes: each with its content before and after; no two of one path.

    Content that is not UTF-8 text goes as git's binary format, so the patch is plain text and still exact.
    """
    return "".join(_file(change, base, new) for change, base, new in changes)


def _file(change: FileChange, base: bytes | None, new: bytes | None) -> str:
    old_path = change.old_path or change.path
    a, b = _name(f"a/{old_path}"), _name(f"b/{change.path}")
    old_id, new_id = change.base_hash or NO_BLOB, change.new_hash or NO_BLOB
    program = change.mode is not None and change.mode & 0o100
    lines = [f"diff --git {a} {b}"]
    if change.op == "create":
        lines.append(f"new file mode {'100755' if program else '100644'}")
    elif change.op == "delete":
        lines.append("deleted file mode 100644")
    elif change.mode is not None:
        lines += ["old mode 100644", "new mode 100755"] if program else ["old mode 100755", "new mode 100644"]
    if change.op == "rename":
        lines += [f"rename from {_name(old_path)}", f"rename to {_name(change.path)}"]
    if base == new:
        return "\n".join([*lines, ""])
    lines.append(f"index {old_id}..{new_id}")
    before, after = base or b"", new or b""
    if _binary(before) or _binary(after):
        return "\n".join([*lines, "GIT binary patch", _literal(after), _literal(before), ""])
    if before != after:
        lines.append("--- /dev/null" if base is None else f"--- {_tabbed(a)}")
        lines.append("+++ /dev/null" if new is None else f"+++ {_tabbed(b)}")
    return "\n".join([*lines, ""]) + "".join(piece[4] for piece in text_hunks(before, after))


def _binary(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return True
    return is_binary(content)


def _name(path: str) -> str:
    """As git quotes it: in C's way where it holds anything but plain characters."""
    data = encode(path)
    if all(0x20 <= c < 0x7F and c not in b'"\\' for c in data):
        return path
    special = {0x22: '\\"', 0x5C: "\\\\"}
    return '"' + "".join(special.get(c) or (chr(c) if 0x20 <= c < 0x7F else f"\\{c:03o}") for c in data) + '"'


def _tabbed(name: str) -> str:
    """A name with a blank needs an end that can be seen."""
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _literal(content: bytes) -> str:
    """The content, deflated, in lines of up to 52 bytes, each with its length before it."""
    data = zlib.compress(content)
    lines = [f"literal {len(content)}"]
    for at in range(0, len(data), 52):
        line = data[at : at + 52]
        length = chr(ord("A") + len(line) - 1) if len(line) <= 26 else chr(ord("a") + len(line) - 27)
        lines.append(length + base64.b85encode(line, pad=True).decode())
    return "\n".join([*lines, ""])
