"""A content's bytes to its structure, by its language's grammar.

Worker processes run it, the server never does: a parser holds the interpreter's lock, may hang, and may eat memory.
"""

from __future__ import annotations

import importlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from tree_sitter import Language as Parsed
from tree_sitter import Node, Parser, Query, QueryCursor, Range, Tree

from reconvene.index.analysis import MINIFIED, Analysis
from reconvene.index.definitions import SIGNATURE, Definition, columns, find, last_name, level, pack
from reconvene.index.languages.language import HOLDERS, Grammar, Language
from reconvene.index.syntax.outline import EXACT, Quoted, Span

DEPTH = 400
"""How far down a tree definitions are looked for: a query over a hundred thousand nested parentheses takes minutes."""
_ERRORS = "(ERROR) @error (MISSING) @error"
_NAME = 200
"""Of a name, at most."""
_MARKED = frozenset({"private_property_identifier", "simple_symbol"})
"""Names behind a sign that is not of them: `#secret`, `:items`."""


class _Found(NamedTuple):
    """`begin`, `end`, and `at`, where its name is: bytes. `first`, `line`, `last`: as `Definition` has them."""

    begin: int
    end: int
    at: int
    name: str
    kind: str
    first: int
    line: int
    last: int
    signature: str


class _Tools(NamedTuple):
    parser: Parser
    definitions: Query
    quoted: Query | None
    errors: Query


def outline(data: bytes, language: Language, codec: str = "utf-8") -> Analysis:
    """The structure of a text file: `definitions` as `definitions.pack` has them, `postings` as `Quoted.pack`.

    A definition of the linear tier that the grammar does not have is kept where the grammar could not look: in what has a syntax error,
    and in the arguments of macros.
    """
    if codec != "utf-8":
        data = data.decode(codec, "replace").encode("utf-8", "replace")
    lines = data.split(b"\n")
    count = len(lines) - (not lines[-1])
    if len(data) > MINIFIED * max(len(lines), 1):
        return Analysis("minified", count, 0)
    language = language.of(data)
    grammar, tree = _parsed(data, language)
    root, tools = tree.root_node, _tools(grammar)
    marks = _captures(tools.quoted, root) if tools.quoted else {}
    quoted = Quoted(_span(node) for kind in ("comment", "string") for node in marks.get(kind, ()))
    over = _over(lines, [*marks.get("comment", ()), *marks.get("over", ())])
    found = [_placed(*found, lines, over, grammar) for found in _definitions(tools, root)]
    # Around an error the grammar guesses, too: all that holds it is unsure.
    wrong = [node.parent or node for node in _captures(tools.errors, root).get("error", ())] if root.has_error else []
    unsure = Quoted(_span(node) for node in (*wrong, *marks.get("opaque", ())))
    if unsure.spans:
        known: defaultdict[int, list[str]] = defaultdict(list)
        for f in found:
            known[f.line].append(last_name(f.name))
        for f in _guessed(data, lines, language):
            place, name = _place(f, lines), last_name(f.name)
            # A name may have a letter that the grammar does not take for one: what is before it is the same definition.
            if unsure.holds(*place) and not quoted.holds(*place) and not any(map(name.startswith, known[f.line])):
                found.append(f)
    if grammar.until_next:
        found = _until_next(found, lines)
    made = _nested(found, lines, language.most)
    return Analysis(EXACT, count, len(made), pack(made), quoted.pack())


def errors_of(data: bytes, language: Language) -> list[int]:
    """The lines of a UTF-8 text at which its grammar finds an error, or something missing."""
    language = language.of(data)
    grammar, tree = _parsed(data, language)
    if not tree.root_node.has_error:
        return []
    found = _captures(_tools(grammar).errors, tree.root_node).get("error", ())
    return sorted(node.start_point[0] + 1 for node in found) or [1]


# -- the tree


@lru_cache(maxsize=64)
def _tools(grammar: Grammar) -> _Tools:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a package may hand out its grammar as a number still
        parsed = Parsed(getattr(importlib.import_module(grammar.module), grammar.function)())
    quoted = Query(parsed, grammar.quoted) if grammar.quoted else None
    return _Tools(Parser(parsed), Query(parsed, grammar.definitions), quoted, Query(parsed, _ERRORS))


def _parsed(data: bytes, language: Language) -> tuple[Grammar, Tree]:
    """By the first grammar that finds no error, else by the one that finds the least."""
    ranges = _ranges(data, language.embedded) if language.embedded and data.lstrip()[:1] == b"<" else None
    best: tuple[int, Grammar, Tree] | None = None
    for grammar in language.grammars:
        tools = _tools(grammar)
        if ranges is not None:
            tools.parser.included_ranges = ranges
        tree = tools.parser.parse(data)
        if ranges is not None:
            tools.parser.included_ranges = []
        if not tree.root_node.has_error:
            return grammar, tree
        errors = _captures(tools.errors, tree.root_node).get("error", [])
        wrong = sum(node.end_byte - node.start_byte + 1 for node in errors)
        if best is None or wrong < best[0]:
            best = wrong, grammar, tree
    assert best is not None, "only languages with a grammar are parsed"
    return best[1], best[2]


def _ranges(data: bytes, pattern: str) -> list[Range]:
    import re2

    found = []
    for match in re2.compile(pattern.encode()).finditer(data):
        begin, end = match.span(1)
        found.append(Range(_point(data, begin), _point(data, end), begin, end))
    return found or [Range((0, 0), (0, 0), 0, 0)]


def _point(data: bytes, at: int) -> tuple[int, int]:
    return data.count(b"\n", 0, at), at - data.rfind(b"\n", 0, at) - 1


def _captures(query: Query, root: Node) -> dict[str, list[Node]]:
    cursor = QueryCursor(query)
    cursor.set_max_start_depth(DEPTH)
    return cursor.captures(root)


def _definitions(tools: _Tools, root: Node) -> Iterable[tuple[Node, str, str, Node]]:
    """(node, kind, name, node of the name), each name once: the first pattern that has it counts."""
    cursor = QueryCursor(tools.definitions)
    cursor.set_max_start_depth(DEPTH)
    matches = sorted(cursor.matches(root), key=lambda match: match[0])
    seen: set[tuple[int, int]] = set()
    for _, captures in matches:
        named, owners = captures["name"][0], captures.get("of")
        kind, node = next((k, nodes[0]) for k, nodes in captures.items() if k not in ("name", "of") and k[0] != "_")
        name, key = _text(named), (named.start_byte, named.end_byte)
        if kind == "heading":
            name = name.rstrip("#").rstrip() or name
        if key in seen or not name:
            continue
        seen.add(key)
        yield node, kind, f"{_text(owners[0])}.{name}" if owners else name, named


def _text(node: Node) -> str:
    text = " ".join((node.text or b"").decode("utf-8", "replace").split())
    if node.type in _MARKED:
        text = text[1:]
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1]
    return text[:_NAME]


def _span(node: Node) -> Span:
    begin, end = node.start_point, node.end_point
    return begin[0] + 1, begin[1], end[0] + 1, end[1]


# -- lines


def _over(lines: Sequence[bytes], nodes: Iterable[Node]) -> dict[int, int]:
    """Last line to first line of each comment or attribute that has its lines for itself."""
    found: dict[int, int] = {}
    for node in nodes:
        first, last = _rows(node, lines)
        if not lines[first - 1][: node.start_point[1]].strip():
            found[last] = min(first, found.get(last, first))
    return found


def _rows(node: Node, lines: Sequence[bytes]) -> tuple[int, int]:
    """First and last line of a node, without blank lines at its end."""
    begin, end = node.start_point, node.end_point
    first, last = begin[0] + 1, end[0] + (end[1] > 0)
    last = min(last, len(lines))
    while last > first and not lines[last - 1].strip():
        last -= 1
    return first, max(first, last)


def _placed(
    node: Node, kind: str, name: str, named: Node, lines: Sequence[bytes], over: dict[int, int], grammar: Grammar
) -> _Found:
    (begin, last), line = _rows(node, lines), named.start_point[0] + 1
    outer = node
    while (parent := outer.parent) is not None and parent.type in grammar.wraps:
        outer = parent
    first = outer.start_point[0] + 1
    while (above := over.get(first - 1)) is not None and above < first:
        first = above
    signature = _signature(node, begin, line, lines, over)
    return _Found(node.start_byte, node.end_byte, named.start_byte, name, kind, first, line, last, signature)


def _signature(node: Node, begin: int, line: int, lines: Sequence[bytes], over: dict[int, int]) -> str:
    """From where it begins, below its decorators, to its body, as one line."""
    start = begin
    while start < line and lines[start - 1].lstrip()[:1] in (b"@", b"#", b"[", b"/", b"*", b""):
        start += 1
    body = node.child_by_field_name("body")
    end = line
    column = len(lines[line - 1])
    if body is not None and body.start_point[0] + 1 >= line:
        end = min(body.start_point[0] + 1, line + 12)
        column = len(lines[end - 1]) if end < body.start_point[0] + 1 or end == line else body.start_point[1]
    whole = [lines[n - 1] for n in range(start, end) if n not in over]  # comments and attributes are not of it
    text = b" ".join([*whole, lines[end - 1][:column]]).decode("utf-8", "replace")
    return " ".join(text.split())[:SIGNATURE].strip()


# -- both tiers


def _guessed(data: bytes, lines: Sequence[bytes], language: Language) -> list[_Found]:
    """What the linear tier finds, each up to the next that is not further right."""
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    definitions = find(data, language)
    found: list[_Found] = []
    for i, d in enumerate(definitions):
        begin = end = starts[d.line - 1]
        if d.kind in HOLDERS:
            following = next((x for x in islice(definitions, i + 1, None) if x.indent <= d.indent), None)
            end = starts[following.line - 1] if following else starts[-1]
        found.append(_Found(begin, end, begin, d.name, d.kind, 0, d.line, 0, d.signature))
    return found


def _until_next(found: Iterable[_Found], lines: Sequence[bytes]) -> list[_Found]:
    made: list[_Found] = []
    following = len(lines) + 1
    for f in sorted(found, key=lambda f: -f.line):
        last = following - 1
        while last > f.line and not lines[last - 1].strip():
            last -= 1
        made.append(f._replace(first=f.first or f.line, last=last))
        following = made[-1].first
    return made


def _place(found: _Found, lines: Sequence[bytes]) -> tuple[int, int]:
    return found.line, max(0, lines[found.line - 1].find(last_name(found.name).encode()))


def _nested(found: Iterable[_Found], lines: Sequence[bytes], most: int) -> list[Definition]:
    """In the order of their lines, each with the one around it."""
    ordered = sorted(found, key=lambda f: (f.begin, -f.end, f.line))[:most]
    parents: list[int] = []
    around: list[int] = []
    for i, f in enumerate(ordered):
        while around and ordered[around[-1]].end <= f.begin:
            around.pop()
        # What is named after it does not hold it: `typedef struct node { … } node_t;`
        parents.append(next((n for n in reversed(around) if ordered[n].at < f.at), -1))
        if f.end > f.begin:
            around.append(i)
    # A function begins with its return type, which may define another: what is named first comes first.
    order = sorted(range(len(ordered)), key=lambda i: ordered[i].line)
    number = {i: n for n, i in enumerate(order)} | {-1: -1}
    made: list[Definition] = []
    for i in order:
        f, parent = ordered[i], parents[i]
        kind = "method" if f.kind == "function" and parent >= 0 and ordered[parent].kind in HOLDERS else f.kind
        text = lines[f.line - 1].decode("utf-8", "replace")
        underlined = 1 if lines[f.line : f.line + 1] and lines[f.line].startswith(b"=") else 2
        indent = columns(text) if kind != "heading" else level(f.signature) or underlined
        made.append(Definition(f.name, kind, f.line, indent, number[parent], f.signature, f.first, f.last))
    return _sections(made, lines) if any(d.kind == "heading" for d in made) else made


def _sections(headings: Sequence[Definition], lines: Sequence[bytes]) -> list[Definition]:
    """Each up to the next of its level, in the one before that is above it."""
    made: list[Definition] = []
    around: list[int] = []
    for i, heading in enumerate(headings):
        while around and headings[around[-1]].indent >= heading.indent:
            around.pop()
        last = next((h.line - 1 for h in islice(headings, i + 1, None) if h.indent <= heading.indent), len(lines))
        while last > heading.line and not lines[last - 1].strip():
            last -= 1
        parent = around[-1] if around else -1
        made.append(heading._replace(first=heading.first or heading.line, last=last, parent=parent))
        around.append(i)
    return made
