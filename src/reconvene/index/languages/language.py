"""What a language is to the index: which files are of it, and which lines define a name.

Patterns are RE2's (linear time, no look-around), matched line-wise over the bytes of a file. What look-ahead would exclude is excluded
afterwards, by the name (`not_names`) or by the first word of the line (`not_after`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Kind = Literal[
    "class",
    "interface",
    "struct",
    "enum",
    "type",
    "module",
    "impl",
    "function",
    "method",
    "constant",
    "macro",
    "heading",
    "key",
    "rule",
    "element",
    "stage",
    "table",
    "block",
]

HOLDERS: frozenset[str] = frozenset({"class", "interface", "struct", "enum", "type", "module", "impl"})
"""Kinds that hold others: a function in one of them is a method, and a name they give weighs more in a search for it."""

OUTLINE: frozenset[str] = frozenset({"key", "rule", "element", "stage"})
"""Kinds that give a file an outline and are no names of the code base: nobody looks for `def:version`, and every file has one."""

OUTLINED = 200
"""Of a file that has nothing but an outline, the most that is kept of it."""

NAME = r"[A-Za-z_\x80-\xff][\w\x80-\xff]*"
"""An identifier; bytes beyond ASCII are taken for letters."""


def words(text: str) -> frozenset[str]:
    """A set of words, written as they are read."""
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` has one group, the name. Without a group, what it matches is stepped over (a block of another language)."""

    kind: Kind | None
    pattern: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a tree-sitter grammar has the definitions of a language (py-tree-sitter's query syntax).

    Args:
        module: the package that carries it; `function` of it returns the grammar.
        definitions: a query. Each pattern captures a definition under its `Kind` and its name as `@name`; `@of` is what it belongs to
            when that is not around it (`Server` of Go's `func (s *Server) Close()`). Captures that begin with "_" are for predicates.
            Of two patterns that have the same name, the first counts.
        quoted: a query for comments (`@comment`), what strings say (`@string`), what stands over a definition and belongs to it
            (`@over`), and code that the grammar does not look into (`@opaque`), where the linear tier is believed.
        wraps: nodes that begin what they hold: its decorators, `export`, the parameters of a template.
    """

    module: str
    definitions: str
    quoted: str = ""
    wraps: frozenset[str] = frozenset()
    function: str = "language"
    until_next: bool = False
    """A definition lasts until the next one begins: the stages of a Dockerfile."""


@dataclass(frozen=True)
class Language:
    """`globs`: `*.suffix` or a whole file name. `aliases`: what a person may write in `lang:` besides the name and the suffixes."""

    name: str
    globs: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    aliases: tuple[str, ...] = ()
    not_names: frozenset[str] = frozenset()
    not_after: frozenset[str] = frozenset()
    nested: bool = True
    """A definition further right than the one before may be in it."""
    strings: re.Pattern[bytes] | None = None
    """Finds strings over several lines, in which nothing is defined (see `languages.strings`)."""
    levels: int = 0
    """Only so many depths of indentation are kept of it, counted in each file; 0 for all."""
    most: int = 20_000
    """Definitions kept of one file; more is generated code or data."""
    instead: tuple[tuple[bytes, ...], Language] | None = None
    """What has one of these in it has the definitions of that language: a header may be C++."""
    grammars: tuple[Grammar, ...] = ()
    """Tried in this order until one has no error, else the one that has the least: TypeScript may have JSX in it, a header C++."""
    embedded: str | None = None
    """In a file that begins with a tag, only what this pattern's group matches is of this language (the script of a page)."""

    @cached_property
    def regex(self) -> Any:
        """All rules as one compiled pattern, one group a rule that names something."""
        import re2

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        pattern = "(?m)" + "|".join(f"(?:{rule.pattern})" for rule in self.rules)
        return re2.compile(pattern.encode("latin-1"), options)

    def of(self, data: bytes) -> Language:
        """The language whose rules a content of this one is read by."""
        if self.instead is not None and any(sign in data for sign in self.instead[0]):
            return self.instead[1]
        return self

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of each group, in order."""
        return tuple(rule.kind for rule in self.rules if rule.kind is not None)
