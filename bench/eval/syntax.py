"""What a program knows of a code base for sure: its definitions with their descriptions, its calls by function, its texts.

Read from syntax trees, with rules of its own: nothing of the product's index, search or map is used, since those are what is examined.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tree_sitter import Language, Node, Parser


@dataclass(frozen=True, slots=True)
class Definition:
    """`about`: the first sentence of its description, "" without one."""

    name: str
    path: str
    line: int
    about: str


@dataclass(frozen=True, slots=True)
class Call:
    """`inside`: the function it stands in."""

    name: str
    path: str
    line: int
    inside: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    text: str
    path: str
    line: int


@dataclass(slots=True)
class Facts:
    definitions: list[Definition] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    words: dict[str, set[str]] = field(default_factory=dict)
    """Identifiers, and the files that have them."""


@dataclass(frozen=True, slots=True)
class _Rules:
    grammar: str
    maker: str
    functions: frozenset[str]
    others: frozenset[str]
    """Definitions that no call can stand in."""
    calls: dict[str, str]
    """Kinds of calls, and the field that says what is called."""
    strings: frozenset[str]


_SCRIPT_FUNCTIONS = frozenset({"function_declaration", "method_definition", "generator_function_declaration"})
_SCRIPT_CALLS = {"call_expression": "function", "new_expression": "constructor"}
_RULES = {
    ".py": _Rules(
        "tree_sitter_python",
        "language",
        frozenset({"function_definition"}),
        frozenset({"class_definition"}),
        {"call": "function"},
        frozenset({"string_content"}),
    ),
    ".js": _Rules(
        "tree_sitter_javascript",
        "language",
        _SCRIPT_FUNCTIONS,
        frozenset({"class_declaration"}),
        _SCRIPT_CALLS,
        frozenset({"string_fragment"}),
    ),
    ".ts": _Rules(
        "tree_sitter_typescript",
        "language_typescript",
        _SCRIPT_FUNCTIONS,
        frozenset(
            {
                "class_declaration",
                "abstract_class_declaration",
                "interface_declaration",
                "function_signature",
                "method_signature",
                "abstract_method_signature",
            }
        ),
        _SCRIPT_CALLS,
        frozenset({"string_fragment"}),
    ),
    ".java": _Rules(
        "tree_sitter_java",
        "language",
        frozenset({"method_declaration", "constructor_declaration"}),
        frozenset({"class_declaration", "interface_declaration"}),
        {"method_invocation": "name", "object_creation_expression": "type"},
        frozenset({"string_fragment"}),
    ),
    ".c": _Rules(
        "tree_sitter_c",
        "language",
        frozenset({"function_definition"}),
        frozenset(),
        {"call_expression": "function"},
        frozenset({"string_content"}),
    ),
}
_RULES[".h"] = _RULES[".c"]
_RULES[".cc"] = _Rules(
    "tree_sitter_cpp",
    "language",
    frozenset({"function_definition"}),
    frozenset(),
    {"call_expression": "function"},
    frozenset({"string_content"}),
)
_WORD = re.compile(rb"[A-Za-z_]\w{2,}")
_LAST_NAME = re.compile(r"([A-Za-z_]\w*)\W*$")
_MARKUP = re.compile(r"^[\s/*#!]+|\*/\s*$|<[^>]*>|\{@\w+ ([^}]*)\}", re.M)


def facts(root: Path) -> Facts:
    """Of all files whose language is known. Order is that of paths, then of lines."""
    known = Facts()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        source = path.read_bytes()
        name = path.relative_to(root).as_posix()
        for word in set(_WORD.findall(source)):
            known.words.setdefault(word.decode(), set()).add(name)
        if (rules := _RULES.get(path.suffix)) is not None:
            language = Language(getattr(importlib.import_module(rules.grammar), rules.maker)())
            _File(name, rules, known).take(Parser(language).parse(source).root_node)
    return known


class _File:
    def __init__(self, path: str, rules: _Rules, known: Facts) -> None:
        self.path, self.rules, self.known = path, rules, known

    def take(self, root: Node) -> None:
        """Every node once, with the function it stands in."""
        todo: list[tuple[Node, str]] = [(root, "")]
        while todo:
            node, inside = todo.pop()
            named = self._defined(node)
            if named is not None:
                line = named.start_point.row + 1
                name = _text(named)
                self.known.definitions.append(Definition(name, self.path, line, _about(node)))
                if node.type not in self.rules.others:
                    inside = name
            if (of := self.rules.calls.get(node.type)) and (called := node.child_by_field_name(of)):
                self._called(called, inside)
            if node.type in self.rules.strings:
                self.known.texts.append(Text(_text(node), self.path, node.start_point.row + 1))
            todo.extend((child, inside) for child in reversed(node.children))

    def _defined(self, node: Node) -> Node | None:
        """The name of what is defined here."""
        if node.type in self.rules.functions | self.rules.others:
            if (name := node.child_by_field_name("name")) is not None:
                return name
            return next(_declared(node.child_by_field_name("declarator")), None)
        if node.type == "variable_declarator":
            value = node.child_by_field_name("value")
            if value is not None and value.type in ("arrow_function", "function_expression"):
                return node.child_by_field_name("name")
        return None

    def _called(self, called: Node, inside: str) -> None:
        if inside and (m := _LAST_NAME.search(_text(called)[-200:])):
            self.known.calls.append(Call(m[1], self.path, called.end_point.row + 1, inside))


def _declared(node: Node | None) -> Iterator[Node]:
    """Of C: through pointers and parameters to the name."""
    while node is not None:
        if node.type in ("identifier", "field_identifier"):
            yield node
            return
        node = node.child_by_field_name("declarator")


def _about(node: Node) -> str:
    """The first sentence of the comment above, or of the text below."""
    body = node.child_by_field_name("body")
    if node.type in ("function_definition", "class_definition") and body is not None and body.type == "block":
        first = body.named_children[0] if body.named_children else None
        if first is not None and first.type == "expression_statement" and first.named_children[:1]:
            inner = first.named_children[0]
            if inner.type == "string":
                return _sentence("".join(_text(c) for c in inner.children if c.type == "string_content"))
        return ""
    above = node
    while above.parent is not None and above.parent.type in ("export_statement", "lexical_declaration"):
        above = above.parent
    before = above.prev_named_sibling
    if before is None or "comment" not in before.type or above.start_point.row - before.end_point.row > 1:
        return ""
    return _sentence(_text(before))


def _sentence(comment: str) -> str:
    plain = " ".join(_MARKUP.sub(r"\1", comment).split())
    return re.split(r"(?<=[.:!?])\s|\s@\w+", plain)[0].strip()


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
