"""The definitions of a file: one linear pass of its language's pattern, and their nesting by indentation."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from reconvene.index.languages.language import HOLDERS, OUTLINE, Language
from reconvene.index.languages.strings import long_strings

SIGNATURE = 160
_HOLD_OTHERS = HOLDERS | OUTLINE | {"function", "method", "heading", "block"}
_CODE = re.compile(r"[ \t]*[\w@$]")


Rows = tuple[tuple[Any, ...], ...]


class Definition(NamedTuple):
    """`line` from 1. `indent`: columns, or a heading's level. `parent`: index of the definition around it in the file's list, -1 for none.

    `signature`: its line, trimmed and cut at 160 characters. `first`, `last`: its lines with the decorators and comments over it, when its
    grammar told them; 0 when nobody knows (see `index.syntax`).
    """

    name: str
    kind: str
    line: int
    indent: int
    parent: int
    signature: str
    first: int = 0
    last: int = 0


_FIELDS = len(Definition._fields)
_definition: Callable[[tuple[Any, ...]], Definition] = partial(tuple.__new__, Definition)


def find(data: bytes, language: Language) -> list[Definition]:
    """The definitions in the bytes (UTF-8 or near to it) of a file, in the order of their lines."""
    if not language.rules:
        return []
    language = language.of(data)
    kinds, refused, after = language.kinds, language.not_names, language.not_after
    found: list[Definition] = []
    around: list[int] = []
    depths: set[int] = set()
    strings = long_strings(data, language.strings) if language.strings else ()
    line, counted, passed, string, group = 1, 0, 0, 0, 1
    for match in language.regex.finditer(data) if kinds else ():
        at, until = match.span(group)
        if at < 0:  # by another rule than the one before, which takes three times as long to tell
            other = match.lastindex
            if not other:
                continue
            group = other
            at, until = match.span(group)
        while string < len(strings) and strings[string][1] <= at:
            string += 1
        if string < len(strings) and strings[string][0] < at:
            continue
        name = data[at:until].decode("utf-8", "replace")
        if name in refused:
            continue
        begin = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at)
        text = data[begin : end if end >= 0 else len(data)].decode("utf-8", "replace")
        signature = text.strip()
        if after and signature.partition(" ")[0] in after:
            continue
        line += data.count(b"\n", counted, at)
        counted = at
        if found and found[-1].line == line and found[-1].name == name:
            continue
        kind: str = kinds[group - 1]
        indent = (level(signature) or 1) if kind == "heading" else columns(text)
        if language.levels and indent not in depths:
            if len(depths) >= language.levels and indent > max(depths):
                continue
            depths.add(indent)
        while around and found[around[-1]].indent >= indent:
            around.pop()
        if around and found[around[-1]].kind in ("function", "method") and kind != "heading":
            # Further right than a function is not always in it: an `if` of the class may have come between.
            left = _leftmost(data[passed:begin])
            while around and found[around[-1]].indent >= left and found[around[-1]].kind in ("function", "method"):
                around.pop()
        passed = end if end >= 0 else len(data)
        parent = around[-1] if around and language.nested else -1
        if kind == "function" and parent >= 0 and found[parent].kind in HOLDERS:
            kind = "method"
        if kind in _HOLD_OTHERS:
            around.append(len(found))
        found.append(_definition((name, kind, line, indent, parent, signature[:SIGNATURE], 0, 0)))
        if len(found) >= language.most:
            break
    return found


def qualified(definitions: Sequence[Definition], i: int) -> str:
    """The name with those around it: `Session.close`; of a heading, a selector or an element, itself alone."""
    definition = definitions[i]
    if definition.kind in ("heading", "rule", "element"):
        return definition.name
    names = [definition.name]
    while definition.parent >= 0:
        definition = definitions[definition.parent]
        names.append(definition.name)
    return ".".join(reversed(names))


def last_name(name: str) -> str:
    """The part of a qualified name that is searched for: `b` of `A::b` and of `a.b`."""
    return name.rpartition("::")[2].rpartition(".")[2]


def pack(definitions: Sequence[Definition]) -> bytes:
    if not definitions:
        return b""
    rows = [
        (d.name, d.kind, d.line, d.indent, d.parent, d.signature, *((d.first, d.last) if d.last else ()))
        for d in definitions
    ]
    return zlib.compress(
        json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"), 1
    )


def unpack(packed: bytes) -> tuple[Definition, ...]:
    return made(rows(packed))


def rows(packed: bytes) -> Rows:
    """The fields of each. Kept like this, they are nothing that a garbage collection looks at (see `workspace.records`)."""
    if not packed:
        return ()
    found = json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    return tuple([(*row, 0, 0)[:_FIELDS] for row in found])


def made(rows: Rows) -> tuple[Definition, ...]:
    return tuple(map(_definition, rows))


def _leftmost(between: bytes) -> int:
    """The least indentation of the lines of code between two definitions; brackets, comments and strings do not count."""
    lines = (line.decode("utf-8", "replace") for line in between.split(b"\n")[1:])
    return min((columns(line) for line in lines if _CODE.match(line)), default=1 << 16)


def columns(line: str) -> int:
    """How far a line is indented; a tab counts four."""
    margin = len(line) - len(line.lstrip(" \t"))
    return margin + 3 * line.count("\t", 0, margin)


def level(heading: str) -> int:
    """Of a heading with number signs: how many."""
    return len(heading) - len(heading.lstrip("#"))
