"""Export by OTLP over HTTP (extra `headrace[otel]`): spans of what was traced, and the metrics of the conventions.

Spans are made from trails when these have ended, in the recorder's thread, and exported by the SDK's batch processor in
its own. So the event loop never sees the SDK. Endpoint and sampling are in the fleet file; headers, which may hold a
secret, certificates, time limits and compression are read from the environment as the SDK documents it
(`OTEL_EXPORTER_OTLP_HEADERS` and so on).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from headrace import __version__
from headrace.telemetry.conventions import (
    SCHEMA_URL,
    attempt_attributes,
    attempt_name,
    error_of,
    request_attributes,
    request_error,
    request_name,
)
from headrace.telemetry.exposition import Histogram
from headrace.telemetry.gen_ai_metrics import INSTRUMENTS, GenAiMetrics
from headrace.telemetry.trace_context import TraceContext
from headrace.telemetry.trail import AttemptTrail, Trail

QUEUE_SPANS = 16_384
DELAY_MS = 1000.0
NS = 1_000_000_000
_SCOPE = InstrumentationScope("headrace", __version__, SCHEMA_URL)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def resource(service_name: str, instance: str) -> Resource:
    """Who speaks."""
    return Resource.create(
        {"service.name": service_name, "service.version": __version__, "service.instance.id": instance}, SCHEMA_URL
    )


class SpanWriter:
    """Makes spans of trails, and exports them."""

    def __init__(self, endpoint: str, whose: Resource) -> None:
        """
        Args:
            endpoint: base URL of a collector, e.g. `http://127.0.0.1:4318`.
        """
        self._resource = whose
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"), QUEUE_SPANS, DELAY_MS
        )

    def record(self, trails: list[Trail]) -> None:
        """Those of these requests that are traced."""
        for trail in trails:
            if trail.context is not None:
                for span in self.spans(trail, trail.context):
                    self._processor.on_end(span)

    def spans(self, trail: Trail, context: TraceContext) -> list[ReadableSpan]:
        """A request's span, and one for each attempt."""
        state = TraceState.from_header([context.state.decode("latin-1")]) if context.state else None
        own = _context(context.trace_id, context.span_id, state)
        parent = None if context.parent_id is None else _context(context.trace_id, context.parent_id, state, True)
        request = ReadableSpan(
            request_name(trail),
            own,
            parent,
            self._resource,
            request_attributes(trail),
            kind=SpanKind.SERVER,
            status=_status(request_error(trail)),
            start_time=_ns(trail, trail.arrived_s),
            end_time=_ns(trail, trail.ended_s),
            instrumentation_scope=_SCOPE,
        )
        return [request, *(self._attempt(trail, attempt, own) for attempt in trail.attempts)]

    def _attempt(self, trail: Trail, attempt: AttemptTrail, parent: SpanContext) -> ReadableSpan:
        first_s = attempt.first_token_s
        events = [] if first_s is None else [Event("headrace.first_token", timestamp=_ns(trail, first_s))]
        return ReadableSpan(
            attempt_name(trail),
            _context(parent.trace_id, attempt.span_id, parent.trace_state),
            parent,
            self._resource,
            attempt_attributes(trail, attempt),
            events,
            kind=SpanKind.CLIENT,
            status=_status(error_of(attempt.outcome) or None),
            start_time=_ns(trail, attempt.started_s),
            end_time=_ns(trail, attempt.ended_s or trail.ended_s),
            instrumentation_scope=_SCOPE,
        )

    def close(self) -> None:
        """Export what waits, and stop."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class MetricWriter:
    """Exports the metrics of the conventions, every so often."""

    def __init__(self, endpoint: str, whose: Resource, metrics: GenAiMetrics, interval_s: float) -> None:
        self._exporter = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics")
        self._resource = whose
        self._metrics = metrics
        self._interval_s = interval_s
        self._started_ns = time.time_ns()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def close(self, wait_s: float = 5.0) -> None:
        """Export once more, and stop."""
        self._stopped.set()
        self._thread.join(wait_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._exporter.export(self.data())
        self._exporter.export(self.data())

    def data(self) -> MetricsData:
        """All of it, since the start."""
        now_ns = time.time_ns()
        metrics = [
            Metric(name, INSTRUMENTS[name].text, INSTRUMENTS[name].unit, self._points(found, now_ns))
            for name, found in self._metrics.collected().items()
            if found
        ]
        scope = ScopeMetrics(_SCOPE, metrics, SCHEMA_URL)
        return MetricsData([ResourceMetrics(self._resource, [scope], SCHEMA_URL)])

    def _points(self, found: Sequence[tuple[dict[str, str | int], Histogram]], now_ns: int) -> HistogramData:
        points = []
        for attributes, histogram in found:
            counts = list(histogram.counts)  # once: the event loop goes on counting
            points.append(
                HistogramDataPoint(
                    attributes,
                    self._started_ns,
                    now_ns,
                    sum(counts),
                    histogram.total,
                    counts,
                    histogram.bounds,
                    min=None,  # type: ignore[arg-type]  # not kept; absent in the protocol
                    max=None,  # type: ignore[arg-type]
                )
            )
        return HistogramData(points, AggregationTemporality.CUMULATIVE)


def _context(trace_id: int, span_id: int, state: TraceState | None, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote, _SAMPLED, state)


def _status(error: str | None) -> Status:
    return Status() if error is None else Status(StatusCode.ERROR, error)


def _ns(trail: Trail, at_s: float) -> int:
    return int(trail.unix_s(at_s) * NS)
