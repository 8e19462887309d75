"""How a model writes edits: read from its answer, and written for its instructions and for tests. Pure.

Between the prose stand header lines, `*** edit path`, `*** create path`, `*** delete path`, `*** rename old -> new`, and under
edit and create the text itself between marks of seven or more signs. The closing marks are as long as the opening one, so that
any text can be quoted: whoever writes takes a longer mark than any in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHORTEST = 7
"""Signs of a mark, at least."""


class Unusable(ValueError):
    """What a model wrote cannot be used. The message goes back to it."""


@dataclass(frozen=True, slots=True)
class Replace:
    """These lines of the file, wherever they stand, become those. Lines have no line ends."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    path: str
    blocks: tuple[Replace, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """A new file. `newline`: whether its last line ends with one."""

    path: str
    lines: tuple[str, ...]
    newline: bool = True


@dataclass(frozen=True, slots=True)
class Delete:
    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    path: str
    new_path: str


Step = Edit | Create | Delete | Rename


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, read: its steps in order, and what was said around them."""

    steps: tuple[Step, ...]
    prose: str


_HEADER = re.compile(r"\*\*\* ?(edit|create|delete|rename):? +(\S.*?)\s*$", re.IGNORECASE)
_OPEN = re.compile(r"(<{7,}) ?(SEARCH|CONTENT)\s*$")
_FENCE = re.compile(r"\s*(?:```|~~~)[\w.+-]*\s*$")

FORMAT = """\
*** edit path/of/file.py
<<<<<<< SEARCH
whole lines exactly as they stand in the file now
=======
the lines that replace them
>>>>>>> REPLACE
*** create path/of/new_file.py
<<<<<<< CONTENT
all lines of the new file
>>>>>>> END
*** delete path/of/file.py
*** rename old/path.py -> new/path.py"""
"""The format by example, for a model's instructions."""


def parse(text: str) -> Written:
    """Read a model's answer.

    Raises:
        Unusable: a header or block that cannot be read; the message says which, and what is expected.
    """
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    steps: list[Step] = []
    prose: list[str] = []
    blocks: dict[int, list[Replace]] = {}
    n = 0
    while n < len(lines):
        line = lines[n]
        n += 1
        if header := _HEADER.match(line):
            steps.append(_begun(header[1].lower(), _path(header[2])))
        elif opened := _OPEN.match(line):
            number = n
            if opened[2] == "SEARCH":
                search, n = _until(lines, n, "=" * len(opened[1]), number)
                replace, n = _until(lines, n, ">" * len(opened[1]) + " REPLACE", number)
                if not steps or not isinstance(steps[-1], Edit):
                    raise Unusable(f"The SEARCH block in line {number} has no `*** edit path` line before it.")
                blocks.setdefault(len(steps) - 1, []).append(Replace(search, replace))
            else:
                content, n = _until(lines, n, ">" * len(opened[1]) + " END", number)
                newline = not lines[n - 1].rstrip().endswith("(no newline)")
                last = steps[-1] if steps else None
                if not isinstance(last, Create) or last.lines:
                    raise Unusable(f"The CONTENT block in line {number} has no `*** create path` line of its own.")
                steps[-1] = Create(last.path, content, newline)
                blocks[len(steps) - 1] = []
        else:
            prose.append(line)
    for place, step in enumerate(steps):
        if isinstance(step, Edit):
            if place not in blocks:
                raise Unusable(f"`*** edit {step.path}` has no SEARCH block under it.")
            steps[place] = Edit(step.path, tuple(blocks[place]))
        elif isinstance(step, Create) and place not in blocks:
            raise Unusable(f"`*** create {step.path}` has no CONTENT block under it.")
    return Written(tuple(steps), "\n".join(line for line in prose if not _FENCE.match(line)).strip())


def render(steps: Iterable[Step]) -> str:
    """The steps as a model would write them: `parse` reads them back.

    >>> render([Delete("a.py")])
    '*** delete a.py'
    """
    out: list[str] = []
    for step in steps:
        match step:
            case Edit(path, blocks):
                out.append(f"*** edit {path}")
                for block in blocks:
                    width = _width((*block.search, *block.replace))
                    out += [
                        f"{'<' * width} SEARCH",
                        *block.search,
                        "=" * width,
                        *block.replace,
                        f"{'>' * width} REPLACE",
                    ]
            case Create(path, lines, newline):
                width = _width(lines)
                ending = "" if newline else " (no newline)"
                out += [f"*** create {path}", f"{'<' * width} CONTENT", *lines, f"{'>' * width} END{ending}"]
            case Delete(path):
                out.append(f"*** delete {path}")
            case Rename(path, new_path):
                out.append(f"*** rename {path} -> {new_path}")
    return "\n".join(out)


def _begun(kind: str, rest: str) -> Step:
    match kind:
        case "edit":
            return Edit(rest, ())
        case "create":
            return Create(rest, ())
        case "delete":
            return Delete(rest)
    old, arrow, new = rest.partition(" -> ")
    if not arrow or not new.strip():
        raise Unusable(f"`*** rename {rest}` names one path; write `*** rename old/path -> new/path`.")
    return Rename(_path(old), _path(new))


def _path(written: str) -> str:
    """Without the quotes that models like to put around a path."""
    written = written.strip()
    for quote in ("`", '"', "'"):
        if len(written) > 1 and written[0] == written[-1] == quote:
            written = written[1:-1]
    return written


def _until(lines: list[str], n: int, mark: str, number: int) -> tuple[tuple[str, ...], int]:
    """The lines before the closing mark, and where to go on after it."""
    bare, word = [*mark.split(" "), ""][:2]
    closing = re.compile(rf"{re.escape(bare)}{rf' ?{word}' if word else ''}(?: \(no newline\))?\s*$")
    for end in range(n, len(lines)):
        if closing.match(lines[end]):
            return tuple(lines[n:end]), end + 1
    raise Unusable(f"The block that begins in line {number} is never closed: a line `{mark}` is missing.")


def _width(lines: Iterable[str]) -> int:
    longest = (len(m[0]) for line in lines for m in re.finditer(r"[<=>]{7,}", line))
    return max([SHORTEST, *(n + 1 for n in longest)])
