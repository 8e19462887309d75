"""Which of two connections of one client stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from reconvene.config import Limits
from reconvene.protocol.frames import ServerInfo
from reconvene.server.capacity import Capacity
from reconvene.server.connection import Connection
from reconvene.server.connections import Connections
from reconvene.server.gate import Principal
from reconvene.server.metrics import Metrics


class Plain:
    """As much of a connection as the registry looks at."""

    session_id = client_id = None
    principal = Principal("owner", "bearer")

    def __init__(self) -> None:
        self.ended: int | None = None

    def end(self, code: int, reason: str) -> None:
        self.ended = code


def registry() -> Connections:
    limits = Limits()
    sessions: Any = SimpleNamespace(on_gone=[])
    return Connections(sessions, Capacity(limits), Metrics(), limits, ServerInfo(boot="b", version="0"))


def two(house: Connections) -> tuple[Plain, Plain]:
    first, second = Plain(), Plain()
    for connection in (first, second):
        house.add(cast(Connection, connection))
    return first, second


def test_who_comes_again_ends_the_older_connection() -> None:
    house = registry()
    first, second = two(house)
    house.supersede(cast(Connection, first), "page")
    house.supersede(cast(Connection, second), "page")
    assert (first.ended, second.ended) == (4410, None)


def test_an_older_connection_that_was_slower_to_attach_does_not_end_the_newer_one() -> None:
    """Found by schedule 1057: the client's live connection was ended for good by what was left of its dead one."""
    house = registry()
    first, second = two(house)
    house.supersede(cast(Connection, second), "page")
    house.supersede(cast(Connection, first), "page")
    assert (first.ended, second.ended) == (4410, None)
    third = Plain()
    house.add(cast(Connection, third))
    house.supersede(cast(Connection, third), "page")
    assert second.ended == 4410


def test_other_clients_stay() -> None:
    house = registry()
    first, second = two(house)
    house.supersede(cast(Connection, first), "page")
    house.supersede(cast(Connection, second), "editor")
    assert (first.ended, second.ended) == (None, None)
