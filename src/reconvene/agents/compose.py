"""An answer made of the code's own lines and comments: nothing here says what the code does not say itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from reconvene.agents.evidence import Place, Turn
from reconvene.agents.extract import covers, defines, missing, stems_of_line, uses
from reconvene.agents.passage import DEFINES, definition_line, described, enclosing, whole
from reconvene.agents.question import Question
from reconvene.index.languages.registry import language_of

HOW_TO_SET = (
    "*No language model is set: this is an extract of the code, not reasoning. Add one on the page (bottom left) or with "
    "`reconvene model` for answers in words.*"
)
CHANGING = re.compile(
    r"""\W*(?:please\W+|now\W+|(?:can|could|would)\s+you\W+(?:please\W+)?|I\s+want\s+you\s+to\W+|let's\W+)?
    (?:add|change|convert|correct|create|delete|drop|edit|extend|extract|fix|implement|improve|insert|introduce|make|migrate|move
      |optimi[sz]e|refactor|remove|rename|replace|rewrite|simplify|split|update|upgrade|write)\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""How a prompt begins that wants code changed."""
READS_ONLY = "I cannot change code: that takes a language model, and none is configured. Nothing was changed; this is what I found for it."
ABILITIES = (
    "I search this code base and show the places that answer a question, each as `path:line`. Ask for example:\n\n"
    "- *Where are idle sessions cleaned up?*\n- *Who calls `parse_frame`?*\n- *Show me src/app.py:40*\n- *Give me an overview*"
)
_MAP_LINES = 24
_EXCERPT = 28
"""Lines of the best place that are quoted."""
_ALSO = 5
_USES = 12


def answer(question: Question, best: Sequence[Place], reads: Sequence[Place], followed: Place | None) -> str:
    """The best place with its own words and lines, then the others."""
    first = whole(best[0], reads)
    at = definition_line(first)
    lines = [_lead(question, best[0], first, at), ""]
    if said := described(first):
        lines += [f"> {said}", ""]
    lines += [excerpt(question, first, at), ""]
    if followed is not None:
        target = whole(followed, reads)
        said = described(target)
        lines += [f"It calls {named(target)}{': ' + said if said else '.'}", ""]
    others = [p for p in best[1:] if not (followed and p.overlaps(followed)) and not p.overlaps(first)]
    # Beside a place that has every word of the question, one that has less than half of them is noise.
    enough = 0.5 if covers(question, best[0]) > 0.99 else 0.0
    others = [p for p in others if covers(question, p) >= enough][:_ALSO]
    if others:
        lines += ["Also relevant:", "", *(_bullet(whole(p, reads)) for p in others), ""]
    if lost := missing(question, best):
        lines += [f"No place that I found has {' or '.join(f'“{w}”' for w in lost[:4])}.", ""]
    return "\n".join(lines)


def plan(turn: Turn) -> str:
    """The plan that was shown, and what it is worth."""
    args = next((c.args for c in turn.calls if c.tool == "create_plan"), None)
    if args is None:
        return ""
    steps = args.get("steps")
    numbered = [f"{i}. {step}" for i, step in enumerate(steps if isinstance(steps, list) else [], 1)]
    caution = "It is made of what the search found; nobody has thought it through."
    return "\n".join([f"**{args.get('title')}**", "", *numbered, "", caution, "", ""])


def listing(name: str, places: Sequence[Place], best: Sequence[Place], reads: Sequence[Place]) -> str:
    """Where a name is used: its calls, else all lines that have it."""
    defined = next((p for p in best if defines(p, (name,))), None)
    calls, others = uses(name, places)
    found = calls or others
    lines = [f"`{name}` is defined at {cite(whole(defined, reads))}.", ""] if defined else []
    if found:
        verb = "is called" if calls else "stands"
        lines += [
            f"It {verb} in {_count(len(found), 'place')} that I found:"
            if defined
            else f"`{name}` {verb} in {_count(len(found), 'place')} that I found:",
            "",
        ]
        lines += [f"- `{p.path}:{n}`{_within(p, n)} — {_code(p.lines[n])}" for p, n in found[:_USES]]
        if len(found) > _USES:
            lines.append(f"- … and {len(found) - _USES} more")
        if calls and others:
            files = sorted({p.path for p, _ in others})
            lines += ["", f"It also stands, without being called, in {', '.join(f'`{f}`' for f in files[:6])}."]
    else:
        lines.append(f"I found no use of `{name}`" + (" beside its definition." if defined else "."))
    return "\n".join([*lines, ""])


def shown(place: Place) -> str:
    """A file's lines, when a question names the file."""
    outline = [(n, line) for n, line in place.lines.items() if DEFINES.match(line)]
    lines = [f"`{place.path}:{place.start}-{place.end}`:", "", fenced(place.path, list(place.lines.values())[:40]), ""]
    if len(place.lines) > 40 and outline:
        lines += ["It defines:", "", *(f"- `{place.path}:{n}` — {_code(line)}" for n, line in outline[:25]), ""]
    return "\n".join(lines)


def excerpt(question: Question, place: Place, at: int) -> str:
    """The definition, or its first lines and those that have most of the question's words."""
    numbers = [n for n in place.lines if n >= min(at, place.end)]
    numbers = [n for n in place.lines if at - 3 <= n < at and place.lines[n].lstrip().startswith("@")] + numbers
    if len(numbers) > _EXCERPT:
        head = numbers[:6]
        weights = {n: len(question.stems & stems_of_line(place.lines[n])) for n in numbers[6:]}
        size = _EXCERPT - len(head)
        starts = range(6, max(7, len(numbers) - size + 1))
        start = max(starts, key=lambda s: (sum(weights[n] for n in numbers[s : s + size]), -s))
        numbers = head + numbers[start : start + size]
    while numbers and not place.lines[numbers[-1]].strip():
        numbers.pop()
    lines: list[str] = []
    for before, n in zip([numbers[0] - 1, *numbers], numbers, strict=False):
        if n != before + 1:
            lines.append("…")
        lines.append(place.lines[n])
    return fenced(place.path, lines)


def fenced(path: str, lines: Sequence[str]) -> str:
    """A code block of its language; the fence is longer than any in the code."""
    code = textwrap.dedent("\n".join(line if line != "…" else "" for line in lines)).split("\n")
    code = [c if line != "…" else "…" for c, line in zip(code, lines, strict=True)]
    fence = "`" * max(3, 1 + max((len(m) for line in lines for m in re.findall(r"`{3,}", line)), default=0))
    language = language_of(path).name
    return "\n".join([fence + ("" if language == "other" else language), *code, fence])


def cite(place: Place) -> str:
    return f"`{place.path}:{definition_line(place)}`"


def _lead(question: Question, place: Place, shown_: Place, at: int) -> str:
    span = f"{place.path}:{at}-{shown_.end}" if shown_.end > at else f"{place.path}:{at}"
    what = f"**`{place.symbol}`** at `{span}`" if place.symbol else f"`{span}`"
    if covers(question, place) < 0.5:
        return f"Nothing here fits the whole question. The nearest is {what}:"
    if question.kind == "where":
        return f"In {what}:"
    return f"The code for this is {what}:" if covers(question, place) > 0.99 else f"The closest I found is {what}:"


def _bullet(place: Place) -> str:
    at = definition_line(place)
    said = described(place) or _code(_signature(place, at))
    return f"- `{place.path}:{at}`" + (f" `{name}`" if (name := place.symbol) else "") + (f" — {said}" if said else "")


def _signature(place: Place, at: int) -> str:
    """The definition line, with those that follow it when its parameters stand there."""
    text = place.lines.get(at, "").strip()
    for number in range(at + 1, at + 8):
        if not text.endswith(("(", ",", "[")):
            break
        following = place.lines.get(number, "").strip()
        text += f" {following}" if text.endswith(",") else following
    return text


def named(place: Place) -> str:
    """`Hub.publish` (`path:line`), or the place alone."""
    return f"`{place.symbol}` ({cite(place)})" if place.symbol else cite(place)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _within(place: Place, number: int) -> str:
    return f" in `{name}`" if (name := enclosing(place, number)) else ""


def _code(line: str) -> str:
    text = re.sub(r"\s+", " ", line).strip()
    text = text if len(text) <= 110 else f"{text[:109]}…"
    tick = "``" if "`" in text else "`"
    return f"{tick}{text}{tick}" if text else ""


def overview(turn: Turn, instructions: str) -> str:
    """What the code base says of itself: the first words of its README and the head of its map; "" when it has neither."""
    lines: list[str] = []
    readme = next((p for p in turn.reads if re.match(r"(?i)readme", p.path)), None)
    if readme and (said := _prose(readme)):
        lines += [*(f"> {s}" for s in said), "", f"(`{readme.path}:{readme.start}`)", ""]
    if m := re.search(r"<repo-map>\n(.*?)\n</repo-map>", instructions, re.S):
        head = [line for line in m[1].split("\n") if line.strip()][:_MAP_LINES]
        lines += ["Its most important definitions:", "", fenced("map", head), ""]
    entries = [p for _, found in turn.searches for p in found][:_ALSO]
    if entries:
        lines += ["Good places to begin:" if lines else "I found no README. Good places to begin:", ""]
        lines += [*(_bullet(p) for p in entries), ""]
    return "\n".join(lines)


def _prose(readme: Place) -> list[str]:
    """The title and the first paragraphs of text."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", readme.text):
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>|!?\[!\[.*?\)\]\(.*?\)|!\[.*?\]\(.*?\)", "", paragraph)).strip()
        if not text or text.startswith(("```", "|", "- ", "* ", "[")):
            continue
        if text.startswith("#"):
            if not found:
                found.append(f"**{text.lstrip('# ')}**")
            elif len(found) > 1:
                break
            continue
        found += ["", text if len(text) <= 500 else f"{text[:499]}…"] if found else [text]
        if len(found) >= 5:
            break
    return found
