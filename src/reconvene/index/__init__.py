"""What is known of a code base's content: one index per root, shared by every session, by search and by the repo map.

Kept in the data folder, keyed by content (git's blob id), built by worker processes that can be killed. The names are loaded when they
are first used: a worker imports this package too and needs neither numpy nor SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconvene.index.looks import Refresh
    from reconvene.index.registry import Indexes
    from reconvene.index.root import RootIndex

__all__ = ["Indexes", "Refresh", "RootIndex"]


def __getattr__(name: str) -> Any:
    if name == "Indexes":
        from reconvene.index.registry import Indexes

        return Indexes
    if name in ("Refresh", "RootIndex"):
        from reconvene.index import root

        return getattr(root, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
