"""Traces of a live gateway, as a collector gets them by OTLP: they are what OpenTelemetry's conventions say.

The tables below are those of the semantic conventions v1.37.0: docs/gen-ai/gen-ai-spans.md (inference),
docs/http/http-spans.md (HTTP server), docs/gen-ai/gen-ai-metrics.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
import rescue_rig
from gateway_rig import STREAM, WHOLE, FirstFreeEngine, Rig, RunRig, ScriptedBackend, error_response, post
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from rescue_rig import Broken, ScriptedModel, add_dialects, question, stream_of

from headrace.fleet import Fleet, TelemetrySettings
from headrace.policy import AnyAction, AnyEvent, Arrived, Cancel, Dispatch, DispatchReason, Finished
from headrace.wire.dialects import Continuation

SERVER, CLIENT, ERROR = 2, 3, 2  # opentelemetry/proto/trace/v1/trace.proto: SpanKind, Status.StatusCode
PROMPT, SECRET = "a prompt that is nobody else's business", "client-key-77"
PARENT = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-%b\r\ntracestate: vendor=1\r\n"

# Attribute: type, and when it must be there.
GEN_AI = {
    "gen_ai.operation.name": (str, "required"),
    "gen_ai.provider.name": (str, "required"),
    "error.type": (str, "if it ended in an error"),
    "gen_ai.request.model": (str, "if available"),
    "server.port": (int, "if server.address is set"),
    "gen_ai.request.max_tokens": (int, "recommended"),
    "gen_ai.response.finish_reasons": (list, "recommended"),
    "gen_ai.response.id": (str, "recommended"),
    "gen_ai.response.model": (str, "recommended"),
    "gen_ai.usage.input_tokens": (int, "recommended"),
    "gen_ai.usage.output_tokens": (int, "recommended"),
    "server.address": (str, "recommended"),
}
OPERATIONS = {
    "chat",
    "create_agent",
    "embeddings",
    "execute_tool",
    "generate_content",
    "invoke_agent",
    "text_completion",
}
HTTP_SERVER = {
    "http.request.method": (str, "required"),
    "url.path": (str, "required"),
    "url.scheme": (str, "required"),
    "error.type": (str, "if it ended in an error"),
    "http.response.status_code": (int, "if one was sent"),
    "http.route": (str, "if available"),
}
NEVER = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")
METRICS = {  # unit, required attributes
    "gen_ai.client.operation.duration": ("s", {"gen_ai.operation.name", "gen_ai.provider.name"}),
    "gen_ai.client.token.usage": ("{token}", {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.token.type"}),
    "gen_ai.server.request.duration": ("s", {"gen_ai.operation.name", "gen_ai.provider.name"}),
    "gen_ai.server.time_to_first_token": ("s", {"gen_ai.operation.name", "gen_ai.provider.name"}),
    "gen_ai.server.time_per_output_token": ("s", {"gen_ai.operation.name", "gen_ai.provider.name"}),
}


class Span(NamedTuple):
    """A span as it was received."""

    raw: Any
    attributes: dict[str, Any]

    @property
    def failed(self) -> bool:
        return bool(self.raw.status.code == ERROR)


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return [plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in pairs}


class Collector:
    """Speaks OTLP over HTTP, and keeps what comes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, Any]] = []
        self.bytes = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        self.bytes += body
        if path == "/v1/traces":
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(attributes(of.resource.attributes))
                spans = [span for scope in of.scope_spans for span in scope.spans]
                self.spans += [Span(span, attributes(span.attributes)) for span in spans]
        else:
            assert path == "/v1/metrics"
            for of in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name: metric for scope in of.scope_metrics for metric in scope.metrics}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def trace_of(collector: Collector) -> tuple[Span, list[Span]]:
    """The only request and its attempts in their order; all of them are as the conventions say."""
    (request,) = (span for span in collector.spans if span.raw.kind == SERVER)
    attempts = sorted((s for s in collector.spans if s.raw.kind == CLIENT), key=lambda s: s.raw.start_time_unix_nano)
    assert len(collector.spans) == 1 + len(attempts)
    check(request, HTTP_SERVER)
    assert request.raw.name == f"POST {request.attributes['http.route']}"
    for attempt in attempts:
        check(attempt, GEN_AI)
        said = attempt.attributes
        assert said["gen_ai.operation.name"] in OPERATIONS
        assert attempt.raw.name == f"{said['gen_ai.operation.name']} {said['gen_ai.request.model']}"
        assert "server.port" in said
        assert attempt.raw.parent_span_id == request.raw.span_id
        assert attempt.raw.trace_id == request.raw.trace_id
        assert request.raw.start_time_unix_nano <= attempt.raw.start_time_unix_nano
        assert attempt.raw.end_time_unix_nano <= request.raw.end_time_unix_nano
    assert len({span.raw.span_id for span in collector.spans}) == len(collector.spans)
    return request, attempts


def check(span: Span, table: dict[str, tuple[type, str]]) -> None:
    for name, (kind, when) in table.items():
        assert when != "required" or name in span.attributes, (name, span.attributes)
        assert name not in span.attributes or isinstance(span.attributes[name], kind), name
    foreign = {name for name in span.attributes if not name.startswith("headrace.")} - set(table)
    assert not foreign
    assert not set(NEVER) & set(span.attributes)
    assert span.failed == ("error.type" in span.attributes)
    assert 0 < span.raw.start_time_unix_nano <= span.raw.end_time_unix_nano


def traced(collector: Collector, ratio: float = 1.0) -> TelemetrySettings:
    return TelemetrySettings(otlp_endpoint=collector.url, sampling_ratio=ratio, service_name="shop")


def test_a_stream(run_rig: RunRig, collector: Collector) -> None:
    ids: list[str] = []

    async def scenario(rig: Rig) -> None:
        asked = {"messages": [{"role": "user", "content": PROMPT}]}
        key = b"authorization: Bearer %b\r\n" % SECRET.encode()
        _, headers, _, _ = await rig.ask(post(key, stream=True, max_tokens=9, **asked))
        ids.append(headers[b"x-headrace-request-id"].decode())

    run_rig(scenario, ScriptedBackend(STREAM), telemetry=traced(collector))
    request, (attempt,) = trace_of(collector)
    said = attempt.attributes
    assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"]) == ("chat", "openai-compatible")
    assert (said["gen_ai.request.model"], said["gen_ai.request.max_tokens"]) == ("m", 9)
    assert (said["gen_ai.response.model"], said["gen_ai.response.finish_reasons"]) == ("m", ["stop"])
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (12, 5)
    assert (said["server.address"], said["headrace.decision.reason"]) == ("127.0.0.1", "first")
    assert [event.name for event in attempt.raw.events] == ["headrace.first_token"]
    assert request.attributes["headrace.request.id"] == ids[0]
    assert request.attributes["http.response.status_code"] == 200
    assert request.raw.parent_span_id == b""
    (resource,) = collector.resources
    assert resource["service.name"] == "shop"
    assert {"service.version", "service.instance.id", "telemetry.sdk.name"} <= set(resource)
    for private in (PROMPT, SECRET, "backend-secret"):
        assert private.encode() not in collector.bytes


def test_a_retry_is_a_second_child(run_rig: RunRig, collector: Collector) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post())

    run_rig(scenario, ScriptedBackend(error_response(500)), ScriptedBackend(WHOLE), telemetry=traced(collector))
    request, (first, second) = trace_of(collector)
    assert (first.failed, first.attributes["error.type"]) == (True, "server_error")
    assert "gen_ai.usage.input_tokens" not in first.attributes
    assert (second.failed, second.attributes["gen_ai.response.finish_reasons"]) == (False, ["stop"])
    assert (request.failed, request.attributes["headrace.attempts"]) == (False, 2)


class HedgingEngine(FirstFreeEngine):
    """Asks both backends at once; the first to finish wins."""

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        if isinstance(event, Arrived):
            both = [DispatchReason.FIRST, DispatchReason.HEDGE]
            self.attempts = {1: event.request_id, 2: event.request_id}
            return [Dispatch(event.request_id, n + 1, f"b{n}", 0.0, 0.0, 9.0, reason=both[n]) for n in range(2)]
        if isinstance(event, Finished):
            (loser,) = set(self.attempts) - {event.attempt_id}
            del self.attempts[loser]
            return [Cancel(loser), *super().handle(now_s, event)]
        return super().handle(now_s, event)


def test_the_loser_of_a_hedge_is_no_error(run_rig: RunRig, collector: Collector) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()

    async def scenario(rig: Rig) -> None:
        await rig.ask(post())

    def engine_of(fleet: Fleet) -> HedgingEngine:
        return HedgingEngine(tuple(backend.name for backend in fleet.backends))

    backends = ScriptedBackend(silent), ScriptedBackend(WHOLE)
    run_rig(scenario, *backends, engine_for=engine_of, telemetry=traced(collector))
    _, attempts = trace_of(collector)
    late, hedge = sorted(attempts, key=lambda span: str(span.attributes["headrace.backend"]))
    assert (late.failed, late.attributes["headrace.outcome"]) == (False, "cancelled")
    assert (hedge.attributes["headrace.decision.reason"], hedge.attributes["headrace.outcome"]) == (
        "hedge",
        "completed",
    )


def test_a_rescue_is_a_child_that_ends_well(
    run_rig: RunRig, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_dialects(monkeypatch)
    model = ScriptedModel()

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of("chat").index(b"rivers"), [100]))
        status, _, _, complete = await rig.ask(question("chat"))
        assert (status, complete) == (200, True)

    both = rescue_rig.backends(("chat",), Continuation.TRAILING_ASSISTANT)
    more = {"limits": rescue_rig.PATIENT, "engine_for": rescue_rig.real_engine, "telemetry": traced(collector)}
    run_rig(scenario, model, model, settings=both, **more)
    request, (broken, rescue) = trace_of(collector)
    assert (broken.failed, broken.attributes["error.type"]) == (True, "reset")
    assert (rescue.failed, rescue.attributes["headrace.decision.reason"]) == (False, "rescue")
    assert rescue.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert not request.failed


def test_an_error_is_one_on_both(run_rig: RunRig, collector: Collector) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[0] == 503

    run_rig(scenario, ScriptedBackend(error_response(500)), telemetry=traced(collector))
    request, (attempt,) = trace_of(collector)
    assert (request.failed, request.attributes["error.type"]) == (True, "503")
    assert request.attributes["headrace.rejected"] == "no_backend"
    assert attempt.attributes["error.type"] == "server_error"


def test_what_the_client_did_wrong_is_no_error_of_the_server(run_rig: RunRig, collector: Collector) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(model="nobody")))[0] == 404

    run_rig(scenario, ScriptedBackend(WHOLE), telemetry=traced(collector))
    request, attempts = trace_of(collector)
    assert (request.failed, request.attributes["http.response.status_code"], attempts) == (False, 404, [])


def test_the_parent_decides_and_the_backend_is_a_child(run_rig: RunRig, collector: Collector) -> None:
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(PARENT % b"00"))
        await rig.ask(post(PARENT % b"01"))
        await rig.ask(post())

    run_rig(scenario, backend, telemetry=traced(collector, ratio=0.0))
    request, (attempt,) = trace_of(collector)
    assert request.raw.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request.raw.parent_span_id.hex() == "00f067aa0ba902b7"
    assert request.raw.trace_state == attempt.raw.trace_state == "vendor=1"
    untraced, sent, alone = backend.heads
    assert b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n" in untraced
    assert b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-%b-01\r\n" % attempt.raw.span_id.hex().encode() in sent
    assert b"tracestate: vendor=1\r\n" in sent
    assert b"traceparent" not in alone


def test_metrics_are_of_all_requests_whatever_is_traced(run_rig: RunRig, collector: Collector) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            await rig.ask(post(stream=True))

    backends = ScriptedBackend(error_response(500)), ScriptedBackend(STREAM)
    run_rig(scenario, *backends, telemetry=traced(collector, ratio=0.0))
    assert not collector.spans
    assert set(collector.metrics) == set(METRICS)
    counts: dict[tuple[str, str], int] = {}
    for name, metric in collector.metrics.items():
        unit, required = METRICS[name]
        assert metric.unit == unit
        assert metric.histogram.aggregation_temporality == 2, "cumulative"
        for point in metric.histogram.data_points:
            said = attributes(point.attributes)
            assert required <= set(said)
            assert said["gen_ai.request.model"] == "m"
            assert sum(point.bucket_counts) == point.count
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
            assert not point.HasField("min")
            of = said.get("gen_ai.token.type", said.get("error.type", ""))
            counts[name, of] = counts.get((name, of), 0) + point.count
    assert counts == {
        ("gen_ai.client.operation.duration", "server_error"): 3,
        ("gen_ai.client.operation.duration", ""): 3,
        ("gen_ai.client.token.usage", "input"): 3,
        ("gen_ai.client.token.usage", "output"): 3,
        ("gen_ai.server.request.duration", ""): 3,
        ("gen_ai.server.time_to_first_token", ""): 3,
        ("gen_ai.server.time_per_output_token", ""): 3,
    }
    (usage,) = (p for p in collector.metrics["gen_ai.client.token.usage"].histogram.data_points if p.sum == 36)
    assert list(usage.explicit_bounds) == [4.0**power for power in range(14)]
