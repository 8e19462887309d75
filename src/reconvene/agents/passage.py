"""What a passage of code is: the definition it is of, where that begins and ends, and what its own comments say of it.

Told by the look of the lines alone, whatever the language: definitions by their keyword, their end by indentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from reconvene.agents.evidence import Place
from reconvene.agents.question import last_name, stems
from reconvene.index.languages.registry import language_of
from reconvene.index.words import WORD

_BEFORE = r"(?:export|default|pub(?:\([^)]*\))?|public|private|protected|static|async|abstract|final|inline|declare|unsafe|extern)\s+"
_KEYWORD = r"(?:def|class|function\*?|fn|func|struct|enum|trait|interface|type|const|let|var|val|module|impl|object|record|sub|macro)\s+"
DEFINES = re.compile(rf"^\s*(?:{_BEFORE})*{_KEYWORD}(?:\([^)]*\)\s*)?")
"""Matches the line that begins a definition, up to the name."""
_STATEMENT = r"(?:if|for|while|switch|return|else|await|throw|new|case|do|try|catch)\b"
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_COMMENT = re.compile(
    r"\s*(?:#+!?|//+[/!]?|/\*\*?|\*(?!/)|--|;+|\"\"\"|'''|<!--)\s?(.*?)\s*(?:\*/|\"\"\"|'''|-->)?\s*$"
)
_CLOSES = re.compile(r"\s*(?:[)\]}]|end\b)")


def defines(line: str, name: str) -> bool:
    """Whether a line begins the definition of a name: by its keyword, by giving it a value, or as methods of braced languages begin."""
    named = re.escape(name)
    if m := DEFINES.match(line):
        return bool(re.match(rf"{named}(?![\w$])", line[m.end() :]))
    if re.match(rf"\s*(?:self\.|this\.)?{named}\s*(?::[^=]{{1,60}})?:?=(?!=)", line):
        return True
    return bool(re.match(rf"\s*(?!{_STATEMENT})[\w\s<>\[\],.?*&:@]*(?<![\w$.]){named}\s*\([^;]*\{{\s*$", line))


def definition_line(place: Place) -> int:
    """The line that defines the place's symbol, or has it as a heading, else the first line that says anything."""
    if place.symbol:
        name = last_name(place.symbol)
        found = next((n for n, line in place.lines.items() if defines(line, name)), None)
        if found is None and not is_code(place):
            found = next((n for n, line in place.lines.items() if place.symbol in line), None)
        if found is not None:
            return found
    return next((n for n, line in place.lines.items() if line.strip()), place.start)


def end_line(lines: dict[int, str], at: int, last: int) -> int:
    """Where the definition that begins on line `at` ends: at the latest on `last`, or where the lines do."""
    indent = _indent(lines.get(at, ""))
    end = at
    for number in range(at + 1, last + 1):
        line = lines.get(number)
        if line is None:
            break
        if not line.strip():
            continue
        if _indent(line) <= indent:
            if not _CLOSES.match(line):
                break
            end = number
            if line.strip()[0] in "}e":
                break
            continue
        end = number
    return end


def whole(place: Place, reads: Sequence[Place]) -> Place:
    """The place's definition, as far as it was shown or read, with the comments above it; the place as it is when it has none."""
    at = definition_line(place)
    if not place.symbol or not defines(place.lines.get(at, ""), last_name(place.symbol)):
        return place
    lines = dict(place.lines)
    for read in reads:
        if read.path == place.path and read.start <= place.end + 1 and place.start <= read.end:
            lines |= read.lines
    lines = dict(sorted(lines.items()))
    end = end_line(lines, at, max(lines))
    start = at
    while (
        (above := lines.get(start - 1, ""))
        and start > place.start
        and (is_comment(above) or above.lstrip().startswith("@"))
    ):
        start -= 1
    return Place(place.path, start, end, place.symbol, {n: line for n, line in lines.items() if start <= n <= end})


def focused(place: Place, wanted: frozenset[str]) -> Place:
    """The place narrowed to what in it has the wanted stems: a definition, else the lines from the most telling one on.

    A place that is a whole definition stays so, unless one within it has all of the wanted stems that it has.
    """
    if not is_code(place):
        return place
    name = last_name(place.symbol) if place.symbol else None
    own = next((n for n, line in place.lines.items() if name and defines(line, name)), None)
    had = wanted & stems(WORD.findall(place.text))
    best: tuple[int, int, str] | None = None
    for number, line in place.lines.items():
        if number == own or not (m := DEFINES.match(line)) or not (named := _NAME.match(line, m.end())):
            continue
        end = end_line(place.lines, number, place.end)
        text = [place.lines.get(n, "") for n in range(number, end + 1)]
        if own is not None and (not had or wanted & stems(WORD.findall(" ".join(text))) != had):
            continue
        weight = (
            2 * len(wanted & stems([named[0]]))
            + len(wanted & stems(WORD.findall(" ".join(text[:13]))))
            - 3 * (end == number)
        )
        if weight > 0 and (best is None or weight > best[0]):
            best = weight, number, named[0]
    if best:
        return replace(place, symbol=_named(place, best[1], best[2]))
    if own is not None:
        return place
    start = max(place.lines, key=lambda n: (len(wanted & stems(WORD.findall(place.lines[n]))), -n), default=place.start)
    return replace(place, start=start, lines={n: line for n, line in place.lines.items() if n >= start})


def enclosing(place: Place, number: int) -> str | None:
    """The name of the definition that a line of the place is in, as far as the place shows it."""
    indent = _indent(place.lines.get(number, ""))
    for above in range(number - 1, place.start - 1, -1):
        line = place.lines.get(above, "")
        if line.strip() and _indent(line) < indent:
            indent = _indent(line)
            if (m := DEFINES.match(line)) and (named := _NAME.match(line, m.end())):
                return _named(place, above, named[0])
    return place.symbol


def _named(place: Place, number: int, name: str) -> str:
    """The whole name of a definition in the place: within the place's symbol, around it or beside it, as far as the place shows."""
    symbol, indent = place.symbol or "", _indent(place.lines[number])
    if last_name(symbol) == name or not indent:
        return symbol if last_name(symbol) == name else name
    own = next((n for n, line in place.lines.items() if symbol and defines(line, last_name(symbol))), None)
    if own is not None:
        within = indent > _indent(place.lines[own])
    else:  # the place begins somewhere within it
        within = indent >= next((_indent(line) for line in place.lines.values() if line.strip()), 0)
    names = symbol.split(".") if symbol else []
    outer = names if within else names[: names.index(name)] if name in names else names[:-1]
    return ".".join([*outer, name])


def described(place: Place) -> str:
    """The first sentence of the docstring or comment of the place's definition; "" when it has none."""
    at = definition_line(place)
    inside = [line for number, line in place.lines.items() if at < number <= at + 14]
    if not _ends(place.lines.get(at, "")):  # the rest of a long signature
        while inside and not _ends(inside[0]):
            inside.pop(0)
        inside = inside[1:]
    return _first_sentence(_docstring(inside) or _above(place, at))


def is_code(place: Place) -> bool:
    return language_of(place.path).name not in ("markdown", "other", "text", "rst", "json", "yaml", "toml")


def is_comment(line: str) -> bool:
    return bool(re.match(r"\s*(#|//|/\*|\*|--|;;|<!--|>>>|\"\"\"|''')", line))


def _above(place: Place, at: int) -> str:
    found: list[str] = []
    for number in range(at - 1, place.start - 1, -1):
        line = place.lines.get(number, "")
        if line.lstrip().startswith(("@", "#[", "#!")):
            continue
        if not is_comment(line):
            break
        if text := _uncommented(line):
            found.append(text)
    return " ".join(reversed(found))


def _ends(line: str) -> bool:
    """Whether a definition's signature ends on this line."""
    return line.rstrip().endswith((":", "{", ";", "=>", "=")) or bool(re.search(r"[:{]\s*(#|//).*$", line))


def _docstring(lines: Sequence[str]) -> str:
    text: list[str] = []
    for i, line in enumerate(lines[:6]):
        stripped = line.strip()
        if i == 0 and not re.match(r"[rRbBuU]?(\"\"\"|''')", stripped):
            return ""
        body = re.sub(r"^[rRbBuU]?(\"\"\"|''')", "", stripped) if i == 0 else stripped
        closed = re.search(r"(\"\"\"|''')", body)
        text.append(body[: closed.start()] if closed else body)
        if closed or (not stripped and any(text)):
            break
    return " ".join(t for t in text if t).partition(">>>")[0].strip()


def _first_sentence(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    if m := re.match(r"(.{15,}?[.!?])(?=\s+[A-Z`\"(*]|$)", text):
        text = m[1]
    return text if len(text) <= 240 else f"{text[:239]}…"


def _uncommented(line: str) -> str:
    m = _COMMENT.match(line)
    return m[1].strip() if m else line.strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
