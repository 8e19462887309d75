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


def scrub_json(value: Any) -> Any:
    """`value` (JSON) with every string in it, keys too, scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [scrub_json(v) for v in value]
    if isinstance(value, dict):
        return {scrub(k): scrub_json(v) for k, v in value.items()}
    return value
