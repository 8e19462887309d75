"""What is counted: for `/metrics` (Prometheus) and, when somebody wants it, for OpenTelemetry.

The library that writes the text is imported by the first who reads it, so that it costs a start nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.log.port import Row


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples by their labels. The name of a counter is without `_total`."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    samples: Sequence[tuple[Mapping[str, str], float]]


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
        self.runs: Counter[str] = Counter()
        """Runs that ended, by outcome."""
        self.recoveries = 0
        """Runs that a restart of the server had interrupted, and that went on."""
        self.model_requests: Counter[str] = Counter()
        """Model responses by model."""
        self.tokens: Counter[tuple[str, str]] = Counter()
        """Tokens by model and direction (`input`, `output`)."""
        self.cost = 0.0
        """US dollars, where the model's prices are known."""
        self.telemetry_lost = 0
        """Spans that no collector took."""
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._gauges[name] = (meaning, read)

    def committed(self, _session_id: str, rows: Sequence[Row]) -> None:
        """Count what was committed: a listener of the sessions."""
        self.appends += len(rows)
        for row in rows:
            match row.type:
                case "completed":
                    self.runs[json.loads(row.content)["outcome"]] += 1
                case "run":
                    content = json.loads(row.content)
                    self.recoveries += content["status"] == "recovering" and content.get("reason") == "restart"
                case "usage":
                    self._used(json.loads(row.content))

    def _used(self, usage: Mapping[str, Any]) -> None:
        if (step := usage.get("step")) is None:
            return
        model = usage.get("model") or "unknown"
        self.model_requests[model] += 1
        self.tokens[model, "input"] += step["input_tokens"]
        self.tokens[model, "output"] += step["output_tokens"]
        self.cost += step.get("cost") or 0.0

    def families(self) -> list[Family]:
        """Everything, as it is now."""
        made = [
            Family(name, "gauge", meaning, [({}, read())]) for name, (meaning, read) in sorted(self._gauges.items())
        ]

        def counter(name: str, meaning: str, samples: float | Iterable[tuple[Mapping[str, str], float]]) -> None:
            plain = [({}, samples)] if isinstance(samples, int | float) else list(samples)
            made.append(Family(f"reconvene_{name}", "counter", meaning, plain))

        codes = [({"code": code}, n) for code, n in sorted(self.bad_inputs.items())]
        counter("bad_inputs", "Refused input by error code.", codes)
        counter("handshakes", "WebSocket connections that were accepted.", self.handshakes)
        counter("requests", "HTTP requests that passed the gate.", self.requests)
        counter("appends", "Durable events that were committed.", self.appends)
        counter("slow_clients", "Connections ended because the client did not read.", self.slow_clients)
        outcomes = [({"outcome": o}, self.runs[o]) for o in ("success", "failed", "cancelled")]
        counter("runs_ended", "Runs that ended, by outcome.", outcomes)
        counter("recoveries", "Runs that a restart had interrupted and that went on.", self.recoveries)
        requests = [({"model": m}, n) for m, n in sorted(self.model_requests.items())]
        counter("model_responses", "Model responses by model.", requests)
        tokens = [({"model": m, "direction": d}, n) for (m, d), n in sorted(self.tokens.items())]
        counter("tokens", "Tokens by model and direction.", tokens)
        counter("cost_usd", "US dollars that models cost, where their prices are known.", self.cost)
        counter("telemetry_lost", "Spans that the OpenTelemetry collector did not take.", self.telemetry_lost)
        return made

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The text for Prometheus and its content type, as the scraper's `Accept` wants it. Blocking: milliseconds."""
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry(auto_describe=False)
        for collector in (
            _Families(self.families()),
            ProcessCollector(registry=None),
            PlatformCollector(registry=None),
        ):
            registry.register(collector)
        try:
            encode, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(registry), content_type


class _Families:
    """The library's view of ours."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for family in self._families:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            labels = tuple(family.samples[0][0]) if family.samples else ()
            made = kind(family.name, family.meaning, labels=labels)
            for values, number in family.samples:
                made.add_metric([values[name] for name in labels], number)
            yield made
