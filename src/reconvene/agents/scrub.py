"""Text from models and files, made fit for the log, the page and a provider: no lone surrogate, NUL, escape sequence.

HTML and Markdown stay as they are: they are text here, and whoever renders them is the one to be careful.
"""

from __future__ import annotations

import re
from typing import Any

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def scrub(text: str) -> str:
    r"""`text` without ANSI sequences and control characters (tab and newline stay); halves of a surrogate pair are joined,
    lone ones replaced.

    >>> scrub("a\x1b[31mred\x1b[0m\x00\r\n\ud83d\ude00\ud800")
    'ared\n😀�'
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if _CONTROL.search(text):
        text = _CONTROL.sub("", _ANSI.sub("", text.replace("\r\n", "\n")))
    return text


def reveal(diff: str) -> str:
    r"""A hunk as text in which nothing is hidden: control characters are shown by their pictures, not left out as `scrub` does.

    Line ends with a carriage return are an ending like another where the whole hunk has them; else they are a difference.

    >>> reveal("-a\r\n+a\x1b[8mrm -rf\x9b\n"), reveal("-a\r\n+b\r\n")
    ('-a␍\n+a␛[8mrm -rf\\x9b\n', '-a\n+b\n')
    """
    lines = diff.split("\n")
    if all(line.endswith("\r") for line in lines if line[:1] in ("+", "-", " ")):
        lines = [line.removesuffix("\r") for line in lines]
    return scrub(_CONTROL.sub(lambda m: _picture(ord(m[0])), "\n".join(lines)))


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"\\x{code:02x}"


def scrub_json(value: Any) -> Any:
    """`value` (JSON) with every string in it, keys too, scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [scrub_json(v) for v in value]
    if isinstance(value, dict):
        return {scrub(k): scrub_json(v) for k, v in value.items()}
    return value
