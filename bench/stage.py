"""The processes of one measurement: the real server, the floor beside it, and the clients of both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.control import Child
from bench.wire import hello

SOURCE = "class Hub:\n    def sweep(self, now):\n        return [s for s in self.sessions if s.idle(now)]\n"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two servers, and how a client says hello to it."""

    name: str
    child: Child
    port: int
    token: str

    def hellos(self, sessions: list[str], each: int) -> list[str]:
        """First frames of so many clients of each session, in turn."""
        if self.name == "floor":
            return [json.dumps({"group": session, "missed": 0}) for _ in range(each) for session in sessions]
        return [hello(f"c{n}-{i}", session) for n in range(each) for i, session in enumerate(sessions)]

    def cpu_us(self, during: Any) -> tuple[float, Any]:
        """CPU that the server uses while `during()` lasts, in µs, and what that returned."""
        before = self.child.call("cpu")
        returned = during()
        return (self.child.call("cpu") - before) / 1000, returned


class Stage:
    """Both servers and the clients, until the `with` ends. `folder` gets the server's data."""

    def __init__(self, folder: Path, padding: str) -> None:
        self.folder = folder
        self._padding = padding

    def __enter__(self) -> Self:
        self._children = [
            Child("bench.served", str(self.folder / "data"), str(source(self.folder)), self._padding),
            Child("bench.floor", self._padding),
            Child("bench.clients"),
        ]
        served, floor, self.clients = self._children
        self.ours = Place("ours", served, **served.call("ready"))
        self.floor = Place("floor", floor, **floor.call("ready"))
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            child.stop()

    @property
    def both(self) -> tuple[Place, Place]:
        return self.ours, self.floor

    def meet(self, place: Place) -> None:
        """Clients go to this server from now on."""
        self.clients.call("to", port=place.port, token=place.token)


def source(folder: Path) -> Path:
    """A small code base to be served; made when it is not there."""
    root = folder / "project"
    root.mkdir(parents=True, exist_ok=True)
    (root / "hub.py").write_text(SOURCE)
    return root
