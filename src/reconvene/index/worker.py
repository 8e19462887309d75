"""The process that analyses files: it reads one request after another from its standard input and answers each on its output.

A file may hang a pattern or eat the memory; then only this process dies. It opens no file, holds no lock, and ends with its input.
Started by `workers`, as `python -P -m reconvene.index.worker`.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import suppress
from struct import Struct
from typing import BinaryIO

from reconvene.index.analysis import Analysis, analyse
from reconvene.index.languages.registry import LANGUAGES, PLAIN

MEMORY = 1024**3
SECONDS = 5
"""Address space, and processor time of one file: over it, the kernel ends the process, even when nobody waits for it any more."""

_SELDOM = 20_000, 10, 10
"""Objects, and collections of younger ones, from which on garbage is collected."""

READY = b"ready\n"
"""Said once, when it can take requests."""
REQUEST = Struct("<I8s16s32s")
"""Bytes of content, task, codec, language."""
WORDS, SYNTAX, FAULTS = b"words", b"syntax", b"faults"
"""Tasks: `analysis.analyse`; `syntax.parsing.outline`, whose spans come where the postings would; `syntax.faults.faults`."""
ANSWER = Struct("<16sIIII")
"""State, lines, symbols, bytes of definitions, bytes of postings."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    answer(b"ready = 1\n", "utf-8", "python")  # loads what is loaded when first used: no file's time pays for it
    # What is loaded stays, and of what a file is taken apart into next to nothing are cycles.
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    answers.write(READY)
    answers.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        size, task, codec, language = REQUEST.unpack(head)
        data = requests.read(size)
        if len(data) < size:
            return
        _allow(SECONDS)
        found = _done(task.rstrip(b"\0"), data, text(codec), text(language))
        head = ANSWER.pack(
            found.state.encode(), found.lines, found.symbols, len(found.definitions), len(found.postings)
        )
        # In one piece: whoever waits is woken once.
        answers.write(b"".join((head, found.definitions, found.postings)))
        answers.flush()


def answer(data: bytes, codec: str, language: str) -> Analysis:
    return analyse(data, LANGUAGES.get(language, PLAIN), codec)


def structure(data: bytes, codec: str, language: str) -> Analysis:
    from reconvene.index.syntax.parsing import outline  # a worker that never parses loads no grammar

    return outline(data, LANGUAGES[language], codec)


def faults(data: bytes, codec: str, language: str) -> Analysis:
    from reconvene.index.syntax import faults as syntax

    return syntax.faults(data, LANGUAGES[language])


def _done(task: bytes, data: bytes, codec: str, language: str) -> Analysis:
    if task == SYNTAX:
        return structure(data, codec, language)
    return faults(data, codec, language) if task == FAULTS else answer(data, codec, language)


def text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode()


def _allow(seconds: int) -> None:
    """So much more processor time from now on. Not every system lets it be set."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + seconds + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _confine() -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(10)


if __name__ == "__main__":
    _confine()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
