"""What .gitignore files say, for a walk without git, in git's own terms: bytes, and each name on the way judged by itself.

The rules are those of gitignore(5) and of git's wildmatch. Matching takes linear time whatever the pattern: RE2 does it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import re2

from reconvene.workspace.names import encode

FILE_BYTES = 512 * 1024
_LINES = 2000
_LINE = 500
"""Bytes; a longer line is no pattern that anybody wrote."""

_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.log_errors = False

# No name holds a NUL, so it can mark a folder.
_FOLDER = rb"\x00"
_NAME = rb"[^/\x00]"
_ANYTHING = rb"[^\x00]*"

_PRINTED = (string.ascii_letters + string.digits + string.punctuation).encode()
_CLASSES = {
    b"alpha": string.ascii_letters.encode(),
    b"digit": string.digits.encode(),
    b"alnum": (string.ascii_letters + string.digits).encode(),
    b"upper": string.ascii_uppercase.encode(),
    b"lower": string.ascii_lowercase.encode(),
    b"punct": string.punctuation.encode(),
    b"xdigit": string.hexdigits.encode(),
    b"space": b" \t\n\r\f\v",
    b"blank": b" \t",
    b"cntrl": bytes([*range(32), 127]),
    b"graph": _PRINTED,
    b"print": _PRINTED + b" ",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: `regex` matches a path relative to the file's folder as a whole, a folder's with a NUL at its end."""

    regex: bytes
    negated: bool


def parse_pattern(line: bytes) -> Pattern | None:
    """None for a blank line, a comment, and what can match nothing.

    >>> parse_pattern(b"# comment"), parse_pattern(b"[a"), parse_pattern(b"!*.py").negated
    (None, None, True)
    """
    line = line.removesuffix(b"\r")
    if line.startswith(b"#"):
        return None
    while line.endswith(b" ") and not line.endswith(b"\\ "):
        line = line[:-1]
    if negated := line.startswith(b"!"):
        line = line[1:]
    if only_folders := line.endswith(b"/"):
        line = line[:-1]
    if not line:
        return None
    anywhere = b"/" not in line
    regex = _translated(line.removeprefix(b"/"))
    if regex is None:
        return None
    return Pattern(
        (b"(?:" + _ANYTHING + b"/)?" if anywhere else b"") + regex + (_FOLDER if only_folders else _FOLDER + b"?"),
        negated,
    )


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The .gitignore of the folder `at` ("" or ending with "/") and, behind it, those of the folders above."""

    at: bytes
    groups: tuple[_Group, ...]
    """Of later lines first."""
    above: IgnoreRules | None

    @classmethod
    def parse(cls, at: str, text: bytes, above: IgnoreRules | None) -> IgnoreRules:
        """Lines that are no pattern are left aside, as git does."""
        lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:_LINES]
        patterns = [p for line in lines if len(line) <= _LINE and (p := parse_pattern(line))]
        return cls(encode(at), tuple(reversed(_grouped(patterns))), above)

    def ignores(self, path: str, *, folder: bool = False) -> bool:
        """Whether a path below `at` is left out, when no folder above it is.

        The nearest file that says anything decides, and in it the last line.
        """
        raw = encode(path) + b"\0" * folder
        rules: IgnoreRules | None = self
        while rules is not None:
            for group in rules.groups:
                if matched := group.set.Match(raw[len(rules.at) :]):
                    return not group.patterns[max(matched)].negated
            rules = rules.above
        return False


@dataclass(frozen=True, slots=True)
class _Group:
    patterns: Sequence[Pattern]
    set: re2.Set


def _grouped(patterns: Sequence[Pattern]) -> list[_Group]:
    """In as few sets as RE2 takes them; one that it does not take by itself is left aside."""
    if not patterns:
        return []
    try:
        matcher = re2.Set.FullMatchSet(_OPTIONS)
        for pattern in patterns:
            matcher.Add(pattern.regex)
        matcher.Compile()
    except re2.error:
        half = len(patterns) // 2
        return _grouped(patterns[:half]) + _grouped(patterns[half:]) if half else []
    return [_Group(patterns, matcher)]


def _translated(glob: bytes) -> bytes | None:
    """A regular expression for what wildmatch (with WM_PATHNAME) matches; None when that is nothing."""
    out = bytearray()
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        if char == b"*":
            stop = at
            while glob[stop : stop + 1] == b"*":
                stop += 1
            between = (at == 0 or glob[at - 1 : at] == b"/") and glob[stop : stop + 1] in (b"", b"/")
            if stop - at < 2 or not between:
                out += _NAME + b"*"
            elif stop == len(glob):
                out += _ANYTHING
            else:
                out += b"(?:" + _ANYTHING + b"/)?"
                stop += 1
            at = stop
        elif char == b"?":
            out += _NAME
            at += 1
        elif char == b"[":
            members, at = _bracket(glob, at + 1)
            if members is None:
                return None
            out += members
        else:
            if char == b"\\":
                at += 1
                if at == len(glob):
                    return None
            out += re2.escape(glob[at : at + 1])
            at += 1
    return bytes(out)


def _bracket(glob: bytes, at: int) -> tuple[bytes | None, int]:
    """The class of bytes that starts behind "[", and where it ends. Never a slash."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    before: int | None = None
    first = True
    while first or glob[at : at + 1] != b"]":
        first = False
        if at >= len(glob):
            return None, at
        char: int | None = glob[at]
        following = glob[at + 1 : at + 2]
        if char == ord("-") and before is not None and following not in (b"", b"]"):
            at += 1
            if glob[at] == ord("\\"):
                at += 1
                if at >= len(glob):
                    return None, at
            members.update(range(before, glob[at] + 1))
            char = None
        elif (
            char == ord("[")
            and following == b":"
            and (end := glob.find(b"]", at + 2)) > 0
            and glob[end - 1] == ord(":")
        ):
            named = _CLASSES.get(glob[at + 2 : end - 1])
            if named is None:
                return None, at
            members.update(named)
            at, char = end, None
        else:
            if char == ord("\\"):
                at += 1
                if at >= len(glob):
                    return None, at
                char = glob[at]
            members.add(glob[at])
        before = char
        at += 1
    if negated:
        members = set(range(256)) - members
    members -= {0, ord("/")}
    # A class without members matches nothing.
    return (b"[" + b"".join(b"\\x%02x" % m for m in sorted(members)) + b"]" if members else None), at + 1
