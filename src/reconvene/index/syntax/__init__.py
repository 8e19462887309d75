"""Where definitions begin and end, as the grammar of their language has it: for files that are shown or read, once per content.

The linear tier (`index.definitions`) names what is in all files at build time; this tier parses few of them, in worker processes that can
be killed, and keeps what it found with the index. The names below are loaded when they are first used: a worker that only runs the linear
tier loads no grammar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconvene.index.syntax.outline import Quoted, Syntax

__all__ = ["Quoted", "Syntax"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from reconvene.index.syntax import outline

        return getattr(outline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
