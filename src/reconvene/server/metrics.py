"""What is counted, and `/metrics` in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters live here; gauges are asked for when somebody reads."""

    def __init__(self) -> None:
        self.bad_inputs: Counter[str] = Counter()
        """Refused input by error code."""
        self.handshakes = 0
        """WebSocket connections that were accepted."""
        self.requests = 0
        """HTTP requests that passed the gate."""
        self.appends = 0
        """Durable events that were committed."""
        self.slow_clients = 0
        """Connections that were ended because they did not read."""
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._gauges[name] = (meaning, read)

    def text(self) -> str:
        lines: list[str] = []

        def put(name: str, kind: str, meaning: str, samples: list[tuple[str, float]]) -> None:
            lines.append(f"# HELP {name} {meaning}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(f"{name}{labels} {int(value) if value == int(value) else value}" for labels, value in samples)

        for name, (meaning, read) in sorted(self._gauges.items()):
            put(name, "gauge", meaning, [("", read())])
        bad = [(f'{{code="{code}"}}', float(n)) for code, n in sorted(self.bad_inputs.items())]
        put("reconvene_bad_inputs_total", "counter", "Refused input by error code.", bad)
        put(
            "reconvene_handshakes_total",
            "counter",
            "WebSocket connections that were accepted.",
            [("", self.handshakes)],
        )
        put("reconvene_requests_total", "counter", "HTTP requests that passed the gate.", [("", self.requests)])
        put("reconvene_appends_total", "counter", "Durable events that were committed.", [("", self.appends)])
        put(
            "reconvene_slow_clients_total",
            "counter",
            "Connections ended because the client did not read.",
            [("", self.slow_clients)],
        )
        return "\n".join(lines) + "\n"
