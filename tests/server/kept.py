"""The small store of a server, in memory."""

from __future__ import annotations


class Store:
    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self.kept.get(name)

    async def put(self, name: str, value: str | None) -> None:
        if value is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = value

    async def scan(self, prefix: str) -> dict[str, str]:
        return {k: v for k, v in self.kept.items() if k.startswith(prefix)}
