"""Many small records by their paths, kept so that garbage collections need not look at each of them.

A full collection stops everybody and goes through all that could be part of a cycle. An instance of any class of ours is counted among
that, and be it a named tuple of numbers; a plain tuple of numbers is left out from the first time on that it is met.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, MutableMapping
from typing import Any, Generic, TypeVar, overload

R = TypeVar("R", bound=tuple[Any, ...])
D = TypeVar("D")


class Records(MutableMapping[str, R], Generic[R]):
    """A dictionary of named tuples of one kind, each made anew when it is asked for. As thread-safe as a dictionary.

    Args:
        kind: the named tuple.
        rows: what is in it from the beginning, as plain tuples of the same fields; it is kept, not copied.
    """

    __slots__ = ("_kind", "_rows")

    def __init__(self, kind: type[R], rows: dict[str, tuple[Any, ...]] | None = None) -> None:
        self._kind = kind
        self._rows = {} if rows is None else rows

    def __getitem__(self, path: str) -> R:
        return tuple.__new__(self._kind, self._rows[path])

    @overload
    def get(self, path: str, default: None = None, /) -> R | None: ...

    @overload
    def get(self, path: str, default: R | D, /) -> R | D: ...

    def get(self, path: str, default: Any = None, /) -> Any:
        row = self._rows.get(path)
        return default if row is None else tuple.__new__(self._kind, row)

    def __setitem__(self, path: str, record: R) -> None:
        self._rows[path] = (*record,)

    def __delitem__(self, path: str) -> None:
        del self._rows[path]

    def __contains__(self, path: object) -> bool:
        return path in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def keys(self) -> KeysView[str]:
        return self._rows.keys()
