"""OpenTelemetry: traces and metrics to a collector, off unless somebody set where it is.

Only then is the SDK imported. What is sent waits in a queue of bounded length and is sent by threads of its own: a collector that is
slow, wrong or gone costs spans, and never a run, a start or more than a moment of a stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from reconvene.config import Settings
from reconvene.server.metrics import Family, Metrics

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from reconvene.runs.tracing import Tracing

_log = structlog.get_logger("reconvene.telemetry")
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OFF = ("none",)
PATIENCE = 2.0
"""Seconds that the end of the server waits for the last spans to be taken."""


def signals(settings: Settings, environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """What is wanted: `traces`, `metrics`, both or, without an endpoint, nothing. OpenTelemetry's own variables count, too.

    >>> from pathlib import Path
    >>> sorted(signals(Settings(data_dir=Path()), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}))
    ['metrics', 'traces']
    >>> sorted(signals(Settings(data_dir=Path()), {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318/v1/metrics"}))
    ['metrics']
    >>> sorted(signals(Settings(data_dir=Path()), {}))
    []
    """
    environ = os.environ if environ is None else environ
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return frozenset()
    both = settings.otlp_endpoint or environ.get(_ENDPOINT)
    return frozenset(
        name
        for name in ("traces", "metrics")
        if (both or environ.get(f"OTEL_EXPORTER_OTLP_{name.upper()}_ENDPOINT"))
        and environ.get(f"OTEL_{name.upper()}_EXPORTER", "").strip().lower() not in _OFF
    )


class Telemetry:
    """One server's. `close` it at the end."""

    def __init__(
        self, tracing: Tracing, tracers: TracerProvider, meters: MeterProvider, exporters: Sequence[Any]
    ) -> None:
        self.tracing = tracing
        self._tracers, self._meters, self._exporters = tracers, meters, exporters

    @classmethod
    def open(cls, settings: Settings, metrics: Metrics, *, version: str, instance: str) -> Telemetry | None:
        """Imports the SDK and begins; None when nothing is wanted, or when it cannot be had, which the log says. Blocking: 0.1 s.

        Args:
            instance: tells this process from others of the same service.
        """
        if not (wanted := signals(settings)):
            return None
        try:
            opened = cls._open(settings, metrics, wanted, version, instance)
        except ImportError as error:
            _log.warning(
                "OpenTelemetry is not installed, so nothing is sent",
                missing=error.name,
                fix="pip install reconvene[otel]",
            )
            return None
        except Exception as error:  # whatever a variable of OpenTelemetry's is set to, the server works
            _log.warning("nothing is sent to OpenTelemetry", error=f"{type(error).__name__}: {error}")
            return None
        where = settings.otlp_endpoint or os.environ.get(_ENDPOINT, "")
        _log.info(
            "telemetry is sent", to=urlsplit(where).hostname, signals=sorted(wanted), content=settings.otlp_content
        )
        return opened

    @classmethod
    def _open(
        cls, settings: Settings, metrics: Metrics, wanted: frozenset[str], version: str, instance: str
    ) -> Telemetry:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

        from reconvene.runs.tracing import Tracing

        ours = {"service.name": "reconvene", "service.version": version, "service.instance.id": instance}
        resource = Resource.create(
            {**ours, **OTELResourceDetector().detect().attributes}
        )  # what people set counts more
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        readers: list[Any] = []
        exporters: list[Any] = []
        told = _Told(metrics)
        if "traces" in wanted:
            spans = OTLPSpanExporter(endpoint=_address(settings, "traces"))
            told.of(spans, SpanExportResult.SUCCESS, SpanExportResult.FAILURE, count=len)
            tracers.add_span_processor(BatchSpanProcessor(spans))
            exporters.append(spans)
        if "metrics" in wanted:
            measured = OTLPMetricExporter(endpoint=_address(settings, "metrics"))
            told.of(measured, MetricExportResult.SUCCESS, MetricExportResult.FAILURE)
            readers.append(PeriodicExportingMetricReader(measured))
            exporters.append(measured)
        meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        _observe(meters, metrics)
        # What the SDK says of each failing try is said once, by `_Told`.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        return cls(Tracing(tracers, meters, content=settings.otlp_content), tracers, meters, exporters)

    async def close(self) -> None:
        """Send what is waiting, for at most `PATIENCE`; a collector that does not answer is not waited for."""
        ending = threading.Thread(target=self._end, name="telemetry ends", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, PATIENCE)
        if ending.is_alive():
            for exporter in self._exporters:  # they try no more
                exporter.shutdown()

    def _end(self) -> None:
        for provider in (self._tracers, self._meters):
            try:
                provider.shutdown()
            except Exception as error:
                _log.info("telemetry did not end well", error=f"{type(error).__name__}: {error}")


class _Told:
    """Says once that a collector takes nothing, and once that it does again; counts the spans that were lost."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def of(self, exporter: Any, success: Any, failure: Any, *, count: Callable[[Any], int] = lambda _batch: 0) -> None:
        export, failing = exporter.export, False

        def exporting(batch: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal failing
            result, error = failure, None
            try:
                result = export(batch, *args, **kwargs)
            except Exception as e:
                error = type(e).__name__
            if result is not success:
                self._metrics.telemetry_lost += count(batch)
                if not failing:
                    _log.warning("the OpenTelemetry collector takes nothing; runs go on without it", error=error)
            elif failing:
                _log.info("the OpenTelemetry collector takes what is sent again")
            failing = result is not success
            return result

        exporter.export = exporting


def _address(settings: Settings, signal: str) -> str | None:
    """None: the exporter looks into the environment itself."""
    return f"{settings.otlp_endpoint.rstrip('/')}/v1/{signal}" if settings.otlp_endpoint else None


def _observe(meters: MeterProvider, metrics: Metrics) -> None:
    """The server's own figures, read whenever they are sent: `reconvene_runs_ended_total` is `reconvene.runs_ended` here."""
    from opentelemetry.metrics import Observation

    meter = meters.get_meter("reconvene")

    def reading(name: str) -> Callable[[Any], Sequence[Observation]]:
        def read(_options: Any) -> Sequence[Observation]:
            (family,) = [f for f in metrics.families() if f.name == name]
            return [Observation(number, dict(labels)) for labels, number in family.samples]

        return read

    for family in metrics.families():
        _instrument(meter, family)(callbacks=[reading(family.name)])


def _instrument(meter: Any, family: Family) -> Callable[..., Any]:
    name = family.name.replace("_", ".", 1)
    make = meter.create_observable_counter if family.kind == "counter" else meter.create_observable_gauge
    return lambda callbacks: make(name, callbacks=callbacks, description=family.meaning)
