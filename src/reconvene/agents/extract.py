"""Which places answer a question, where each begins and ends, and what its own comments say of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from reconvene.agents.evidence import Place, Turn
from reconvene.agents.question import Question, last_name, stems
from reconvene.index.roles import role_of
from reconvene.index.words import WORD

DEFINES = re.compile(
    r"^\s*(?:@|export\s+|default\s+|pub(?:\([^)]*\))?\s+|public\s+|private\s+|protected\s+|static\s+|async\s+|abstract\s+|final\s+|inline\s+)*"
    r"(?:def|class|function\*?|fn|func|struct|enum|trait|interface|type|const|let|var|module|impl|object|record|sub|macro)\s+\(?[^)]*?\b"
)
_CALLED = re.compile(r"\b([A-Za-z_]\w{3,})\s*\(")
_COMMENT = re.compile(
    r"\s*(?:#+!?|//+[/!]?|/\*\*?|\*(?!/)|--|;+|\"\"\"|'''|<!--)\s?(.*?)\s*(?:\*/|\"\"\"|'''|-->)?\s*$"
)
_WELL_KNOWN = frozenset(
    """append assert await bool callable catch close dict enumerate exit extend filter float format frozenset getattr hasattr insert
    isinstance issubclass items join keys lambda list open pass pop print property push range replace repr require reversed round self
    setattr slice sorted split startswith endswith staticmethod strip super switch throw tuple type update values while
    yield""".split()  # noqa: SIM905
)


def rank(question: Question, turn: Turn) -> list[Place]:
    """The places of a turn's searches, best first, those that overlap once.

    A place counts by its rank in each search, and by how many of the question's words its name, path and lines have.
    """
    points: dict[tuple[str, int, int], float] = {}
    found: dict[tuple[str, int, int], Place] = {}
    asked = [(query, hits) for query, hits in turn.searches if not query.startswith("def:")]
    for number, (_, hits) in enumerate(asked):
        for position, place in enumerate(hits):
            key = (place.path, place.start, place.end)
            found.setdefault(key, place)
            # The first search asked for the whole of it.
            points[key] = points.get(key, 0.0) + (1.0 if number == 0 else 0.6) / (position + 3)
    for key, place in found.items():
        points[key] *= 0.5 + covers(question, place) + 0.5 * _share(question.stems, stems([place.symbol or ""]))
        if defines(place, question.names):
            points[key] *= 2.5
    return distinct(found[k] for k in sorted(found, key=lambda k: (-points[k], k)))


def distinct(places: Iterable[Place]) -> list[Place]:
    """The places in order, without those that overlap an earlier one."""
    kept: list[Place] = []
    for place in places:
        if not any(place.overlaps(p) for p in kept):
            kept.append(place)
    return kept


def covers(question: Question, place: Place) -> float:
    """The part of the question's words, 0 to 1, that a place has in its lines, its name or its path."""
    return _share(question.stems, _stems_of(place))


def missing(question: Question, places: Iterable[Place]) -> list[str]:
    """The question's own words that no place has."""
    had = frozenset[str]().union(*(_stems_of(p) for p in places))
    return [w for w in question.words if not stems([w]) <= had]


def definition_line(place: Place) -> int:
    """The line that defines the place's symbol, else the first one that defines anything, else the first that says anything."""
    name = re.escape(last_name(place.symbol)) if place.symbol else None
    if name:
        for number, line in place.lines.items():
            if re.search(DEFINES.pattern + name + r"\b", line):
                return number
        for number, line in place.lines.items():
            if re.search(rf"\b{name}\b", line) and not _is_comment(line):
                return number
    for number, line in place.lines.items():
        if DEFINES.match(line):
            return number
    return next((n for n, line in place.lines.items() if line.strip()), place.start)


def described(place: Place) -> str:
    """The first sentence of the docstring or comment of the place's definition; "" when it has none."""
    at = definition_line(place)
    after = [line for number, line in place.lines.items() if at < number <= at + 12]
    head = "" if _ends(place.lines.get(at, "")) else " "
    inside = list(after)
    while head and inside and not _ends(inside[0]):  # the rest of a long signature
        inside.pop(0)
    if head and inside:
        inside.pop(0)
    text = _docstring(inside)
    if not text:
        above = []
        for number in range(at - 1, place.start - 1, -1):
            line = place.lines.get(number, "")
            if not _is_comment(line) or line.lstrip().startswith(("@", "#[", "#!")):
                if line.lstrip().startswith(("@", "#[")):
                    continue
                break
            above.append(_uncommented(line))
        text = " ".join(reversed([a for a in above if a]))
    return _first_sentence(text)


def to_follow(question: Question, place: Place, known: Sequence[Place]) -> str | None:
    """A name that the place calls, whose definition may be worth a look: one of the question's words rather than others."""
    defined = {last_name(p.symbol) for p in known if p.symbol}
    candidates: dict[str, float] = {}
    at = definition_line(place)
    for number, line in place.lines.items():
        if number == at or _is_comment(line) or DEFINES.match(line):
            continue
        for name in _CALLED.findall(line):
            if name.lower() in _WELL_KNOWN or name in defined or name.startswith("__"):
                continue
            related = len(question.stems & stems([name]))
            candidates[name] = candidates.get(name, 0.0) + (1.0 + 2.0 * related) / (1 + candidates.get(name, 0.0))
    best = max(candidates, key=lambda n: (candidates[n], len(n), n), default=None)
    return best if best and candidates[best] > 1.5 else None


def uses(name: str, places: Iterable[Place]) -> list[tuple[Place, int]]:
    """Lines that have the name and do not define it, by path and number."""
    found: dict[tuple[str, int], tuple[Place, int]] = {}
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    for place in places:
        for number, line in place.lines.items():
            if (
                word.search(line)
                and not re.search(DEFINES.pattern + re.escape(name) + r"\b", line)
                and not _is_comment(line)
            ):
                found.setdefault((place.path, number), (place, number))
    return [found[k] for k in sorted(found, key=lambda k: (_role_order(k[0]), k))]


def whole(place: Place, reads: Sequence[Place]) -> Place:
    """The place with what was read of it, when that is more."""
    for read in reads:
        if read.path == place.path and read.start <= place.start <= read.end:
            end = min(read.end, max(place.end, _end_of(place, read)))
            lines = {n: line for n, line in read.lines.items() if place.start <= n <= end}
            if len(lines) > len(place.lines):
                return Place(place.path, place.start, end, place.symbol, lines)
    return place


def _end_of(place: Place, read: Place) -> int:
    """Where the definition ends that the place begins with, by its indentation, as far as it was read."""
    at = definition_line(place)
    if not DEFINES.match(place.lines.get(at, "")):
        return place.end
    indent = _indent(place.lines[at])
    last = at
    for number in range(at + 1, read.end + 1):
        line = read.lines.get(number)
        if line is None:
            break
        if not line.strip():
            continue
        if _indent(line) <= indent and not re.match(r"\s*[)\]}]", line):
            break
        last = number
        if _indent(line) == indent and re.match(r"\s*}", line):
            break
    return max(last, place.end)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def defines(place: Place, names: Sequence[str]) -> bool:
    wanted = {last_name(n) for n in names}
    return bool(place.symbol) and last_name(place.symbol or "") in wanted


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
    return " ".join(t for t in text if t)


def _first_sentence(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    if m := re.match(r"(.{15,}?[.!?])(?=\s+[A-Z`\"(*]|$)", text):
        text = m[1]
    return text if len(text) <= 240 else f"{text[:239]}…"


def _is_comment(line: str) -> bool:
    return bool(re.match(r"\s*(#|//|/\*|\*|--|;;|<!--|\"\"\"|''')", line))


def _uncommented(line: str) -> str:
    m = _COMMENT.match(line)
    return m[1].strip() if m else line.strip()


def _role_order(path: str) -> int:
    return {"source": 0, "types": 1}.get(role_of(path), 2)


def _share(wanted: frozenset[str], had: frozenset[str]) -> float:
    return len(wanted & had) / len(wanted) if wanted else 0.0


@lru_cache(maxsize=4096)
def stems_of_line(line: str) -> frozenset[str]:
    return stems(WORD.findall(line))


def _stems_of(place: Place) -> frozenset[str]:
    own = stems([place.symbol or "", *WORD.findall(place.path)])
    return own.union(*(stems_of_line(line) for line in place.lines.values()))


def is_test(place: Place) -> bool:
    return role_of(place.path) == "test"
