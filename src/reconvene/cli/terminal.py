"""What goes to the terminal: text that cannot steer it, dim steps on stderr, JSON lines on stdout."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, TextIO

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""C0 but tab and newline, DEL, C1, bidi controls, zero-width, lone surrogates."""


_BAR = 30


def safe(text: str) -> str:
    r"""Text of others (a model, a file name) for a terminal: what could steer it is shown instead of sent.

    >>> safe("\x1b[2Jgone")
    '\\x1b[2Jgone'
    """
    text = text.replace("\r\n", "\n")
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text)


def json_line(value: Any) -> str:
    """One JSON object on one line, with what could steer a terminal escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def say(text: str = "") -> None:
    """A message for the person: stderr, never stdout."""
    print(text, file=sys.stderr, flush=True)


def dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if colours(sys.stderr) else text


def colours(stream: TextIO) -> bool:
    """Whether what is printed there may have colours: somebody sees it, and did not say otherwise (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def count(number: int, what: str) -> str:
    """
    >>> count(1, "run"), count(2000, "session")
    ('1 run', '2,000 sessions')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def size(number: float) -> str:
    """Of a file, for people.

    >>> size(13_783), size(0), size(2_400_000)
    ('13.8 kB', '0.0 kB', '2.4 MB')
    """
    return f"{number / 1000:,.1f} kB" if number < 1000**2 else f"{number / 1000**2:,.1f} MB"


def bar(done: int, of: int) -> str:
    """Of files that are read."""
    full = _BAR * done // max(of, 1)
    return f"indexing {'█' * full}{'░' * (_BAR - full)} {done:,} of {of:,} files"


def emit(value: Any) -> None:
    """One JSON object as a line on stdout."""
    print(json_line(value), flush=True)


def out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def interactive() -> bool:
    """Whether a person can be asked: they see stderr and stdin is theirs."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def quiet_logs() -> None:
    """What the rooms log is for the server's log; here only warnings are shown, on stderr. For commands that work in this process."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
