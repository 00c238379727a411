"""A gateway between scripted backends and raw clients, all on loopback, driven by a small engine or by the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import uvloop

from headrace.fleet import (
    Backend,
    Deployment,
    Fleet,
    Limits,
    Model,
    OperatingPoint,
    PerToken,
    Pool,
    Route,
    TelemetrySettings,
)
from headrace.gateway import Entrance, Front, RunningGateway, start_gateway
from headrace.ledger import Terms
from headrace.policy import (
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    End,
    EngineView,
    Finished,
    Outcome,
    Reject,
    RejectReason,
)
from headrace.wire import DONE, chat_chunk, chat_completion, chat_usage_chunk
from headrace.workload import Match, WorkloadClass

JSON = b"content-type: application/json\r\n"
SSE = b"content-type: text/event-stream\r\n"
ROLE = chat_chunk("c", "m", 1, "", role=True)
TOKENS = [chat_chunk("c", "m", 1, f" t{i}") for i in range(5)]
FINISH = chat_chunk("c", "m", 1, None, finish_reason="stop")
USAGE = chat_usage_chunk("c", "m", 1, 12, 5, 3)
COMPLETION = chat_completion("c", "m", 1, "hi", finish_reason="stop", input_tokens=12, output_tokens=5)


def chunk(*events: bytes) -> bytes:
    """Each event in an HTTP chunk of its own."""
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


LAST = b"0\r\n\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\n" + SSE + b"transfer-encoding: chunked\r\n\r\n"
STREAM = SSE_HEAD + chunk(ROLE, *TOKENS, FINISH, USAGE, DONE) + LAST
WHOLE = b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: %d\r\n\r\n" % len(COMPLETION) + COMPLETION


def error_response(status: int, extra: bytes = b"") -> bytes:
    body = b'{"error":{"message":"theirs","type":"t","param":null,"code":null}}'
    return b"HTTP/1.1 %d X\r\n%b%bcontent-length: %d\r\n\r\n%b" % (status, JSON, extra, len(body), body)


class FirstFreeEngine:
    """Tries the backends in order: a failure moves to the next, and after the last the request is rejected."""

    def __init__(self, backends: tuple[str, ...]) -> None:
        self.backends = backends
        self.events: list[AnyEvent] = []
        self.tried: dict[int, int] = {}
        self.attempts: dict[int, int] = {}
        self.next_attempt_id = 1
        self.reject_with: RejectReason | None = None

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        self.events.append(event)
        match event:
            case Arrived():
                self.tried[event.request_id] = 0
                if self.reject_with is not None:
                    return self.reject(event.request_id, self.reject_with, Outcome.REJECTED)
                return self.dispatch(event.request_id)
            case Finished() if event.attempt_id in self.attempts:
                return [End(self.attempts.pop(event.attempt_id), Outcome.COMPLETED)]
            case AttemptFailed() if event.attempt_id in self.attempts:
                request_id = self.attempts.pop(event.attempt_id)
                return [End(request_id, Outcome.FAILED)] if event.committed else self.dispatch(request_id)
            case ClientGone():
                live = [a for a, request_id in self.attempts.items() if request_id == event.request_id]
                for attempt_id in live:
                    del self.attempts[attempt_id]
                return [*map(Cancel, live), End(event.request_id, Outcome.CANCELLED)]
        return []

    def dispatch(self, request_id: int) -> list[AnyAction]:
        index = self.tried[request_id]
        if index >= len(self.backends):
            return self.reject(request_id, RejectReason.NO_BACKEND, Outcome.FAILED)
        self.tried[request_id] = index + 1
        attempt_id, self.next_attempt_id = self.next_attempt_id, self.next_attempt_id + 1
        self.attempts[attempt_id] = request_id
        return [Dispatch(request_id, attempt_id, self.backends[index], 0.0, 0.0, 10.0)]

    def reject(self, request_id: int, reason: RejectReason, outcome: Outcome) -> list[AnyAction]:
        return [Reject(request_id, reason, 2.4), End(request_id, outcome)]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def view(self) -> EngineView:
        return EngineView(0.0, "first_free", len(self.attempts), 0, 0.0, [], [])


class ListLedger:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.open: dict[int, dict[str, Any]] = {}
        self.ended: list[dict[str, Any]] = []
        self.run_id = "a1b2"
        self.terms: list[Terms] = []
        self.waiting_bytes = self.unsynced_bytes = 0
        self.fault: OSError | None = None

    def defer(self, wake: Callable[[], None]) -> None:
        """Nothing waits here."""

    def flush(self) -> None:
        if self.fault is not None:
            raise self.fault

    def maintain(self) -> None:
        """Nothing is to be done."""

    def agree(self, terms: Iterable[Terms]) -> None:
        self.terms += terms

    def opened(
        self, attempt_id: int, request_id: int, backend: str, workload_class: str, at_s: float, **more: Any
    ) -> None:
        assert attempt_id not in self.open
        self.open[attempt_id] = {"backend": backend, "class": workload_class, **more}

    def closed(self, attempt_id: int, status: str, at_s: float, **more: Any) -> None:
        self.ended.append({**self.open.pop(attempt_id), "status": status, **more})


class ScriptedBackend:
    """Answers each request with the next step: bytes, a coroutine function, or None to close at once."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.heads: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                self.heads.append(head)
                step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
                if step is None:
                    break
                if callable(step):
                    await step(reader, writer)
                    break
                writer.write(step)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        writer.close()


class Rig:
    """Everything that a test looks at."""

    def __init__(self, fleet: Fleet, gateway: RunningGateway, engine: Any, ledger: ListLedger) -> None:
        self.fleet = fleet
        self.gateway = gateway
        self.engine = engine
        self.ledger = ledger
        self.journal: list[tuple[float, AnyEvent, list[AnyAction]]] = []

    async def send(self, data: bytes, port: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.gateway.port)
        writer.write(data)
        return reader, writer

    async def ask(self, data: bytes, port: int | None = None) -> tuple[int, dict[bytes, bytes], bytes, bool]:
        """Status, headers, body (unchunked), and whether the body came to a proper end."""
        reader, writer = await self.send(data, port)
        answer = await read_answer(reader)
        writer.close()
        return answer

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0.001)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in head[1:-2])
    status = int(head[0].split(b" ")[1])
    if b"content-length" in headers:
        return status, headers, await reader.readexactly(int(headers[b"content-length"])), True
    body = b""
    try:
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    except asyncio.IncompleteReadError as error:
        return status, headers, body + error.partial, False
    return status, headers, body, True


def post(headers: bytes = b"", **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [], **fields}).encode()
    return raw_post(body, headers)


def raw_post(body: bytes, headers: bytes = b"") -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n%bcontent-length: %d\r\n\r\n" % (headers, len(body))
    return head + body


def small_fleet(ports: list[int], limits: Limits, settings: Sequence[Mapping[str, Any]] = ()) -> Fleet:
    """A pool for each port; `settings` change the backends in their order."""
    model = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
    point = OperatingPoint(ttft_s=0.1, input_tokens_per_s=1e4, tpot_s=0.01)
    deployments = {f"d{i}": Deployment(f"d{i}", model, observed=point) for i in range(len(ports))}
    pools = {
        f"p{i}": Pool(
            f"p{i}",
            deployments[f"d{i}"],
            PerToken(0.1, 0.4),
            (
                replace(
                    Backend(f"b{i}", f"p{i}", f"http://127.0.0.1:{port}/base", api_key_env="HEADRACE_TEST_KEY"),
                    **(settings[i] if i < len(settings) else {}),
                ),
            ),
        )
        for i, port in enumerate(ports)
    }
    classes = {
        "chat": WorkloadClass("chat", 0.0003),
        "coding": WorkloadClass(
            "coding",
            0.002,
            match=Match(headers=(("x-app", "ide"),), api_key_envs=("HEADRACE_TEST_CODER",), model_aliases=("fast-m",)),
        ),
    }
    return Fleet(
        models={"m": model},
        deployments=deployments,
        pools=pools,
        classes=classes,
        shares={},
        routes=(Route(pools=tuple(pools)),),
        limits=limits,
        default_class="chat",
    )


Scenario = Callable[[Rig], Awaitable[None]]
RunRig = Callable[..., None]


def run_rig(
    scenario: Scenario,
    *backends: ScriptedBackend | int,
    limits: Limits | None = None,
    engine_for: Callable[[Fleet], Any] | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
    fleet_with: Callable[[Fleet], Fleet] = lambda fleet: fleet,
    entrance: Entrance | None = None,
    telemetry: TelemetrySettings | None = None,
    front: Front | None = None,
    seconds: float = 60,  # of a machine that has much else to do
) -> None:
    async def main() -> None:
        servers = []
        ports = []
        for backend in backends:
            if isinstance(backend, int):
                ports.append(backend)
                continue
            server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
            servers.append(server)
            backend.port = server.sockets[0].getsockname()[1]
            ports.append(backend.port)
        fleet = fleet_with(small_fleet(ports, limits or Limits(), settings))
        fleet = replace(fleet, telemetry=telemetry or TelemetrySettings())
        names = tuple(backend.name for backend in fleet.backends)
        engine = FirstFreeEngine(names) if engine_for is None else engine_for(fleet)
        ledger = ListLedger()
        journal: list[tuple[float, AnyEvent, list[AnyAction]]] = []
        gateway = await start_gateway(
            fleet,
            engine,
            ledger,
            port=0,
            admin_port=0,
            journal=lambda *entry: journal.append(entry),
            entrance=entrance,
            front=front,
        )
        rig = Rig(fleet, gateway, engine, ledger)
        rig.journal = journal
        try:
            await asyncio.wait_for(scenario(rig), seconds)
            await asyncio.wait_for(rig.until(lambda: not gateway.gateway.requests_live), 10)
            assert not gateway.gateway.attempts_live
            assert not ledger.open
        finally:
            await gateway.close(0.0)
            for server in servers:
                server.close()

    uvloop.run(main())
