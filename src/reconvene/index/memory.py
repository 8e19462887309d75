"""Memory that was freed, given back to the operating system: the C library keeps it for itself otherwise, a fifth after a build."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim  # glibc has it; others give back by themselves, or cannot
    except (OSError, AttributeError, TypeError):
        return None


def give_back() -> None:
    """Takes milliseconds, in which other threads go on."""
    if (trim := _trim()) is not None:
        trim(0)
