"""The part of the log that is not about sessions: names and values, for who may come in."""

from __future__ import annotations

from typing import Protocol


class SmallStore(Protocol):
    async def get(self, name: str) -> str | None: ...

    async def put(self, name: str, value: str | None) -> None: ...

    async def scan(self, prefix: str) -> dict[str, str]: ...
