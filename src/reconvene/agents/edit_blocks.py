"""Edits that a model wrote, carried out on the files' bytes in memory: what each file would become. Pure.

A block's lines must stand in the file exactly once. What comes near goes back to the model with the true text, never into the
file. Bytes that no block names stay as they are: line ends, byte order mark, a missing last newline, bytes that are no UTF-8.
"""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconvene.agents.edit_format import Create, Delete, Edit, Rename, Replace, Step, Unusable

BOM = b"\xef\xbb\xbf"
SHOWN_LINES = 60
"""Of the true text that goes back to the model."""
COMPARED = 4000
"""Lines that are compared by likeness when no line of a block is found as it is."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One file. `base`, `new`: its bytes before and after; None: there is no such file. `old_path`: of a renamed one."""

    path: str
    base: bytes | None
    new: bytes | None
    old_path: str | None = None


def carry_out(steps: Sequence[Step], read: Callable[[str], bytes | None]) -> list[Changed]:
    """What the files become, each file once, in the order in which the model first named them.

    Args:
        read: the bytes of a file, None when there is none. What it raises goes through.

    Raises:
        Unusable: a step does not fit the files; the message tells the model why, all that is wrong at once.
    """
    files: dict[str, _File] = {}
    wrong: list[str] = []
    for step in steps:
        try:
            _carry_out(step, files, read)
        except Unusable as e:
            wrong.append(str(e))
    if wrong:
        raise Unusable("\n\n".join(wrong))
    changed = [
        Changed(path, file.base, file.new, file.old_path)
        for path, file in files.items()
        if (file.new != file.base or file.old_path is not None) and not file.moved
    ]
    if not changed:
        raise Unusable("The answer changes nothing: write the edits in the format described.")
    return changed


@dataclass(slots=True)
class _File:
    base: bytes | None
    new: bytes | None
    old_path: str | None = None
    moved: bool = False
    """It was renamed away: the entry of its new path tells of it."""
    edited: bool = False


def _carry_out(step: Step, files: dict[str, _File], read: Callable[[str], bytes | None]) -> None:
    def file(path: str) -> _File:
        if path not in files:
            content = read(path)
            files[path] = _File(content, content)
        return files[path]

    match step:
        case Edit(path, blocks):
            known = file(path)
            if known.new is None:
                raise Unusable(f"{path} cannot be edited: there is no such file. To make it, use `*** create {path}`.")
            if known.edited:
                raise Unusable(f"{path} has two `*** edit` lines. Put all its blocks under one.")
            known.new, known.edited = edited(path, known.new, blocks), True
        case Create(path, lines, newline):
            known = file(path)
            if known.new is not None:
                raise Unusable(
                    f"{path} exists already. To change it, use `*** edit {path}`; it has {_size(known.new)}."
                )
            known.new = ("\n".join(lines) + ("\n" if newline and lines else "")).encode("utf-8", "surrogateescape")
        case Delete(path):
            known = file(path)
            if known.new is None:
                raise Unusable(f"{path} cannot be deleted: there is no such file.")
            known.new = None
        case Rename(path, new_path):
            known, target = file(path), file(new_path)
            if known.new is None:
                raise Unusable(f"{path} cannot be renamed: there is no such file.")
            if target.new is not None or target.base is not None:
                raise Unusable(f"{path} cannot be renamed to {new_path}: a file of this name exists.")
            if known.base is None or known.edited:
                raise Unusable(f"Rename {path} first and edit it then, as {new_path}.")
            files[new_path] = _File(known.base, known.new, known.old_path or path)
            known.moved = True


def edited(path: str, content: bytes, blocks: Sequence[Replace]) -> bytes:
    """The file with the blocks' lines replaced. Every block is looked for in the file as it was.

    Raises:
        Unusable: a block's lines are not there, there more than once, or two blocks overlap.
    """
    mark, body = (BOM, content[len(BOM) :]) if content.startswith(BOM) else (b"", content)
    if b"\0" in body:
        raise Unusable(f"{path} is binary; it cannot be edited.")
    *ended, last = body.decode("utf-8", "surrogateescape").split("\n")
    whole = [f"{line}\n" for line in ended] + ([last] if last else [])
    plain = [line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line for line in whole]
    windows = sum(line.endswith("\r") for line in ended) * 2 > len(ended)
    found: list[tuple[int, int, Replace]] = []
    wrong: list[str] = []
    for number, block in enumerate(blocks, 1):
        try:
            start = _place(path, plain, block, number)
            found.append((start, start + len(block.search), block))
        except Unusable as e:
            wrong.append(str(e))
    if wrong:
        raise Unusable("\n\n".join(wrong))
    found.sort(key=lambda f: (f[0], f[1]))
    for (_, end, _), (start, _, _) in itertools.pairwise(found):
        if start < end or start == 0 == end:
            raise Unusable(f"Two SEARCH blocks of {path} overlap at line {start + 1}. Make one of them.")
    count = len(whole)
    for start, end, block in reversed(found):
        new = _replaced(whole[start:end], block, windows)
        if new and end == count and last:  # the last line had no newline: the new last line has none either
            new[-1] = new[-1].removesuffix("\n").removesuffix("\r")
        whole[start:end] = new
    return mark + "".join(whole).encode("utf-8", "surrogateescape")


def _replaced(old: Sequence[str], block: Replace, windows: bool) -> list[str]:
    """The new lines with their ends. Lines that a block only repeats keep the bytes they have."""
    matcher = difflib.SequenceMatcher(None, block.search, block.replace, autojunk=False)
    new: list[str] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            kept = list(old[i1:i2])
            if kept and not kept[-1].endswith("\n"):
                kept[-1] += "\r\n" if windows else "\n"
            new += kept
        else:
            new += [line + ("\r\n" if windows else "\n") for line in block.replace[j1:j2]]
    return new


def _place(path: str, lines: Sequence[str], block: Replace, number: int) -> int:
    """Where the block's lines stand, as an index from 0."""
    which = f"SEARCH block {number} of {path}"
    if not block.search:
        if not lines:
            return 0
        raise Unusable(f"{which} is empty. Give the lines after or before which the new ones go, and repeat them.")
    if block.search == block.replace:
        raise Unusable(f"{which} replaces lines by the same lines.")
    places = _places(lines, block.search)
    if len(places) == 1:
        return places[0]
    if places:
        where = ", ".join(str(p + 1) for p in places[:10])
        raise Unusable(
            f"{which} stands there {len(places)} times (at lines {where}). Add lines around it that tell them apart."
        )
    raise Unusable(f"{which} is not in the file as it is written. {_nearest(path, lines, block.search)}")


def _places(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    first, n = wanted[0], len(wanted)
    return [i for i in range(len(lines) - n + 1) if lines[i] == first and tuple(lines[i : i + n]) == tuple(wanted)]


def _nearest(path: str, lines: Sequence[str], wanted: Sequence[str]) -> str:
    """The true text of the place that is most like what was looked for."""
    if not lines:
        return f"{path} is empty."
    votes: Counter[int] = Counter()
    where: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        if line.strip():
            where.setdefault(line.strip(), []).append(i)
    for i, line in enumerate(wanted):
        for at in where.get(line.strip(), ())[:50]:
            votes[max(0, at - i)] += 1
    if votes:
        start = max(votes.items(), key=lambda v: (v[1], -v[0]))[0]
    else:
        longest = max(wanted, key=len)
        matcher = difflib.SequenceMatcher(autojunk=False)
        matcher.set_seq2(longest[:200])
        best, start = 0.0, 0
        for i, line in enumerate(lines[:COMPARED]):
            matcher.set_seq1(line[:200])
            if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and (r := matcher.ratio()) > best:
                best, start = r, i
        start = max(0, start - list(wanted).index(longest))
    first = max(0, start - 2)
    last = min(len(lines), start + min(len(wanted), SHOWN_LINES) + 2)
    text = "\n".join(lines[first:last])
    return f"The nearest place, lines {first + 1} to {last} as they are now:\n{text}"


def _size(content: bytes) -> str:
    return f"{content.count(bytes([10])) + (not content.endswith(bytes([10])) and bool(content)):,} lines"
