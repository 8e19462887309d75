"""For programs: sessions of a server, followed through every cut, in async and in plain Python.

`docs/how-to/python-client.md` shows how. What is named here stays as it is; the modules below may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconvene.client.asynchronous import AsyncReconvene, AsyncSession
    from reconvene.client.blocking import Reconvene, Session
    from reconvene.client.link import Receipt
    from reconvene.client.told import SNAPSHOT, Answer, Event, Hit, Me, Pending, Root, SessionInfo
    from reconvene.errors import ReconveneError

_WHERE = {
    "asynchronous": ("AsyncReconvene", "AsyncSession"),
    "blocking": ("Reconvene", "Session"),
    "link": ("Receipt",),
    "told": ("SNAPSHOT", "Answer", "Event", "Hit", "Me", "Pending", "Root", "SessionInfo"),
}

__all__ = [
    "SNAPSHOT",
    "Answer",
    "AsyncReconvene",
    "AsyncSession",
    "Event",
    "Hit",
    "Me",
    "Pending",
    "Receipt",
    "Reconvene",
    "ReconveneError",
    "Root",
    "Session",
    "SessionInfo",
]


def __getattr__(name: str) -> Any:
    """Imported when it is used: commands need one small module of this package and start often."""
    import importlib

    if name == "ReconveneError":
        return importlib.import_module("reconvene.errors").ReconveneError
    for module, names in _WHERE.items():
        if name in names:
            return getattr(importlib.import_module(f"reconvene.client.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
