"""Paths as text: the checked form that the jail opens, and the form that is shown.

Inside, a path is relative to its root, parts joined by "/", bytes that are not UTF-8 as Python's surrogate escapes.
Shown, it is plain printable text that reads back to the same file, so it can stand in a log, in JSON and in a model's
answer.
"""

from __future__ import annotations

import re
import unicodedata

from reconvene.errors import ReconveneError

NAME_BYTES = 255
PATH_BYTES = 4096
"""Linux's NAME_MAX, and PATH_MAX with its closing NUL."""

# Not in the categories below, and yet drawn as nothing: joiners, fillers, variation selectors (they can smuggle text
# past a reader).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_PLAIN = re.compile(r"[ -\[\]-~]*")
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


_TEMPORARY = re.compile(r"\.reconvene-[0-9a-f]{16}-\d+(?:\.part|\.hold)?")


def is_temporary(name: str) -> bool:
    """Whether a file's name is one under which an accept lays a content beside its path (`edits.plan`)."""
    return name.startswith(".reconvene-") and _TEMPORARY.fullmatch(name) is not None


def parts(path: str) -> list[str]:
    """The names along a path that a client, a model or a link wrote, without empty ones and ".".

    Raises:
        ReconveneError: `invalid_path` (empty, NUL, lone surrogate), `path_outside_root` (absolute, ".."),
            `name_too_long`.
    """
    if not path:
        raise ReconveneError("invalid_path", "The path is empty. Name a file in the code base.", path=path)
    if "\0" in path:
        raise ReconveneError(
            "invalid_path", f"The path {shown(path)} holds a NUL character; no file name does.", path=shown(path)
        )
    try:
        size = len(encode(path))
    except UnicodeEncodeError:
        raise ReconveneError(
            "invalid_path", f"The path {shown(path)} holds a lone surrogate; no file name does.", path=shown(path)
        ) from None
    if path.startswith("/"):
        raise _outside(path, "absolute")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise _outside(path, "..")
    if size >= PATH_BYTES:
        raise too_long(path)
    for name in names:
        if len(name) * 4 > NAME_BYTES and len(encode(name)) > NAME_BYTES:
            raise too_long(path)
    return names


def encode(path: str) -> bytes:
    """The path's bytes for the operating system, whatever the locale says."""
    return path.encode("utf-8", "surrogateescape")


def decode(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def display_path(path: str) -> str:
    r"""The path as people and models see it: control, bidi, zero-width and non-UTF-8 parts are escaped. `parse_path`
    undoes it.

    `\xNN` is the byte NN, `\uNNNN` and `\UNNNNNNNN` a character, and `\\` a backslash.

    >>> print(display_path("src/über.py"), display_path("a\u202egnp.exe"), display_path("b\udcff\n"))
    src/über.py a\u202egnp.exe b\xff\x0a
    """
    if _PLAIN.fullmatch(path):
        return path
    return "".join(map(_escaped, path))


def parse_path(path: str) -> str:
    r"""The path that `display_path` shows as `path`; text that it would never show is a path already and comes back as
    it is.

    >>> parse_path(r"b\xff\x0a") == "b\udcff\n", parse_path(r"src\main.py") == r"src\main.py"
    (True, True)
    """
    if "\\" not in path:
        return path
    try:
        parsed = decode(encode(_ESCAPE.sub(_unescaped, path)))
    except (UnicodeEncodeError, ValueError, OverflowError):
        return path
    return parsed if display_path(parsed) == path else path


def shown(path: str) -> str:
    """The path for a sentence: displayed, and cut when it is very long."""
    text = display_path(path)
    return text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}"


def too_long(path: str) -> ReconveneError:
    sentence = f"The path {shown(path)} is too long: a name has at most {NAME_BYTES} bytes and a path {PATH_BYTES - 1}."
    return ReconveneError("name_too_long", sentence, path=shown(path))


def _outside(path: str, why: str) -> ReconveneError:
    sentence = (
        f"The path {shown(path)} leads outside of the code base. "
        "Write it from the code base's root, without a leading slash or `..`."
    )
    return ReconveneError("path_outside_root", sentence, path=shown(path), why=why)


def _escaped(char: str) -> str:
    if ("!" <= char <= "~" and char != "\\") or char == " ":
        return char
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(char)[0] in "CZ" or _UNSEEN.match(char):
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return char


def _unescaped(m: re.Match[str]) -> str:
    if m[1] is not None:
        code = int(m[1], 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    if digits := m[2] or m[3]:
        return chr(int(digits, 16))
    return "\\"
