"""Words that a file must have for a regular expression to match one of its lines, as far as that can be proved from the pattern.

The index knows words, a pattern knows characters: `get_user` may match inside of `target_users`, which the index knows under other terms.
So a word counts only where the pattern itself says where it begins and ends: by a character that is in no word, by `_` between parts, or by
an end of the line. `\\b` says too little: to RE2 a letter outside of ASCII ends a word. Whatever is not understood proves nothing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from typing import Literal

from reconvene.index.words import counts_as_term, stem, term, terms

Alternatives = tuple[frozenset[int], ...]
"""Of each way to match, the terms it needs."""

_MOST_BRANCHES = 8
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) | {"\t"}
_SPECIAL = frozenset("\\^$.|?*+()[]{}")
_REPEAT = re.compile(r"\*\??|\+\??|\?\??|\{(\d+)(?:,\d*)?\}\??")
_GROUP = re.compile(r"\((?:\?:|\?P?<\w+>)?(?!\?)")
_SEPARATORS = re.compile(r"\[(?:[ !-,./:-@`{-~]|\\[stfr!-/:-@\[-^`{-~])+\]")
"""A class of nothing but characters of ASCII that are in no word."""
_CLASS = re.compile(r"\[\^?\]?(?:[^\\\]\[]|\\.)*\]")

_Mark = Literal["apart", "maybe apart", "end", "anything"]
_Piece = str | _Mark
"""One character as it is, or a mark: some characters that are in no word; such, or none; an end of the line; any text."""
_PART = re.compile(r"[a-z]+|[A-Z]+")


def required(pattern: str) -> Alternatives:
    """What each alternative of the pattern needs; empty when a match may do without any word that is known.

    >>> [len(needs) for needs in required(r"^def\\s+close\\(|import os$")], required(r"\\bclose\\b")
    ([2, 1], ())
    """
    try:
        branches, at = _alternatives(pattern, 0)
    except (_Unclear, RecursionError):
        return ()
    if at != len(pattern) or len(branches) > _MOST_BRANCHES:
        return ()
    found = tuple(frozenset(_terms(pieces)) for pieces in branches)
    return found if all(found) else ()


class _Unclear(Exception):
    """Something in a pattern that this does not understand."""


def _alternatives(pattern: str, at: int) -> tuple[list[list[_Piece]], int]:
    """The alternatives from a place on, up to the bracket that ends them, and where that is."""
    branches: list[list[_Piece]] = [[]]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            branches.append([])
            at += 1
            continue
        pieces, at = _atom(pattern, at)
        if found := _REPEAT.match(pattern, at):
            pieces, at = _repeated(pieces, found), found.end()
            if _REPEAT.match(pattern, at):
                raise _Unclear
        branches[-1] += pieces
    return branches, at


def _atom(pattern: str, at: int) -> tuple[list[_Piece], int]:
    char = pattern[at]
    if char == "(":
        if (opening := _GROUP.match(pattern, at)) is None:
            raise _Unclear  # flags
        inner, at = _alternatives(pattern, opening.end())
        if at >= len(pattern):
            raise _Unclear
        return (inner[0] if len(inner) == 1 else ["anything"]), at + 1
    if char == "[":
        if found := _SEPARATORS.match(pattern, at):
            return ["apart"], found.end()
        if pattern.startswith("[[:", at) or (found := _CLASS.match(pattern, at)) is None:
            raise _Unclear
        return ["anything"], found.end()
    if char == "\\":
        return _escaped(pattern[at + 1 : at + 2]), at + 2
    if char in "^$":
        return ["end"], at + 1
    if char == ".":
        return ["anything"], at + 1
    if char in _SPECIAL:
        raise _Unclear
    return [char if char in _PLAIN else "anything"], at + 1


def _escaped(char: str) -> list[_Piece]:
    if char == "s":
        return ["apart"]
    if char and char in "AzZ":
        return ["end"]
    if char and char in "dDwWSbB":
        return ["anything"]
    if char in _PLAIN and char not in _WORD:
        return [char]
    raise _Unclear


def _repeated(pieces: list[_Piece], found: re.Match[str]) -> list[_Piece]:
    least = int(found[1]) if found[1] else 1 if found[0][0] == "+" else 0
    apart = all(_apart(p) for p in pieces)
    if least == 0:
        return ["maybe apart"] if apart else ["anything"]
    return pieces if apart else [*pieces, "anything"]


def _apart(piece: _Piece) -> bool:
    return piece in ("apart", "maybe apart") or (len(piece) == 1 and piece not in _WORD)


def _terms(pieces: Sequence[_Piece]) -> list[int]:
    found: list[int] = []
    run = ""
    for i, piece in enumerate([*pieces, "anything"]):
        if len(piece) == 1 and piece in _WORD:
            run += piece
            continue
        if run:
            begins = _bounded(reversed(pieces[: i - len(run)]))
            ends = _bounded(pieces[i:])
            found += _of_run(run, begins=begins, ends=ends)
        run = ""
    return found


def _bounded(beyond: Iterable[_Piece]) -> bool:
    """Whether a word surely ends before what lies beyond it."""
    for piece in beyond:
        if piece == "maybe apart":
            continue  # where it is nothing, what follows decides
        return piece == "end" or _apart(piece)
    return False


def _of_run(run: str, *, begins: bool, ends: bool) -> list[int]:
    if begins and ends and not run[0].isdigit():
        return list(terms(run))
    parts = run.split("_")
    inner = parts[0 if begins else 1 : len(parts) if ends else -1]
    # In a word with letters outside of ASCII, parts are told apart by "_" alone: getName is one there.
    return [term(stem(p.lower())) for p in inner if _PART.fullmatch(p) and counts_as_term(p)]
