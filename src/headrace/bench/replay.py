"""Replay: a live endpoint driven open loop, each request at its time, whatever became of the ones before.

Turns of sessions are the exception that their users make: a turn is due a pause after the one before was answered
(`workload.ClosedLoop`), and from then on it is sent like any other. Sessions start open loop.

A driver that waits for answers before it sends measures a system that is never overloaded. So arrivals follow an
absolute timeline, and what the driver itself adds is measured and reported: the *scheduling delay* of a request is its
real send time minus its due time. Latencies count from the real send.

Every request ends exactly once: completed; rejected (an HTTP error instead of an answer); failed (refused, broken,
truncated, or not done by its class's timeout); cancelled (the replay was stopped).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

from headrace.bench.flight import Flight
from headrace.bench.prompt import ExactWriter, RequestWriter
from headrace.bench.sizing import Sizing
from headrace.cost import marginal_cost, period_rates, request_cost_usd, share_rates
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.http import ClientExchange, ConnectionPool, PoolLimits
from headrace.metrics import AttemptRecord, QuantileSketch, Report, RequestRecord, RunFacts, RunMetrics
from headrace.perf import speed_curve
from headrace.workload import ClosedLoop, Request

ENDPOINT = b"/v1/chat/completions"

Cost = Callable[[str, int, int, int], float]


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How a replay behaves.

    Attributes:
        max_in_flight: safety limit: a request that is due beyond it is not sent and counts as failed.
        max_tokens: ceiling sent with requests that have none; far from their true lengths.
        model: asked for where a request names none; None: the fleet's first.
        api_key: bearer token; None: none is sent.
        progress_interval_s: between two calls of `on_progress`.
        warm_connections: opened before the first request is due.
        lead_s: from the start to second 0 of the workload, to open connections.
        sizing: for a real model: prompts of its own, sized by this, and answers of the trace's length (`ExactWriter`).
    """

    max_in_flight: int = 4096
    max_tokens: int = 20_000
    model: str | None = None
    api_key: str | None = None
    progress_interval_s: float = 0.5
    warm_connections: int = 8
    lead_s: float = 0.1
    sizing: Sizing | None = None


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """Where a replay is: seconds into the workload, requests sent and ended."""

    now_s: float
    sent: int
    ended: int


@dataclass(slots=True)
class ReplayResult:
    """What a replay measured.

    Attributes:
        metrics: every request and, where the gateway named its backend, every attempt.
        last_arrival_s: windows of the share are judged up to here; `end_s`: when the last request ended.
        lateness: scheduling delays in seconds; `worst_lateness_s` is exact.
        errors: requests that did not complete, by what went wrong.
        unattributed: answers without a known `x-headrace-backend`: they are in no pool and no share.
    """

    metrics: RunMetrics
    lateness: QuantileSketch = field(default_factory=QuantileSketch)
    worst_lateness_s: float | None = None
    sent: int = 0
    last_arrival_s: float = 0.0
    end_s: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    unattributed: int = 0

    def report(self, facts: RunFacts | None = None) -> Report:
        """The report of this run; call it once. `facts`: see `RunFacts`, by default `replay` up to the last arrival."""
        return self.metrics.finish(facts or RunFacts("replay", self.last_arrival_s))


async def replay(
    base_url: str,
    requests: Iterable[Request],
    metrics: RunMetrics,
    settings: ReplaySettings | None = None,
    *,
    cost_usd: Cost | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> ReplayResult:
    """Send every request at its time, and return when all have ended.

    Args:
        base_url: of the gateway or any OpenAI-compatible server, without `/v1`.
        requests: in order of arrival; read as they become due.
        metrics: counts what happens; may be read while the replay goes on.
        cost_usd: of (backend, input tokens, output tokens, cached input tokens); None: see `marginal_costs`.
        stop: once set, nothing more is sent and what is on its way is cancelled.

    Raises:
        ConfigError: `base_url` is not a URL, or a request has a class that the fleet does not know.
    """
    driver = _Driver(base_url, metrics, settings or ReplaySettings(), cost_usd or marginal_costs(metrics.fleet))
    progress = asyncio.create_task(driver.tell(on_progress)) if on_progress is not None else None
    stopping = asyncio.create_task(stop.wait()) if stop is not None else None
    running = asyncio.create_task(driver.run(iter(requests)))
    try:
        await asyncio.wait([task for task in (running, stopping) if task], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        await _cancel(running, progress, stopping)
        await driver.close()
    if on_progress is not None:
        on_progress(driver.progress())
    return driver.result


def live_metrics(fleet: Fleet) -> RunMetrics:
    """Metrics for a live run over `fleet`. Raises as `cost.share_rates` does."""
    rates = {share.name: share_rates(fleet, share) for share in fleet.shares.values()}
    return RunMetrics(fleet, rates, period_rates=period_rates(fleet))


def marginal_costs(fleet: Fleet) -> Cost:
    """What a request adds on each backend by its pool's terms (see `cost.marginal_cost`). Raises as that does."""
    of_pool = {name: marginal_cost(pool, speed_curve(pool.deployment)) for name, pool in fleet.pools.items()}
    of_backend = {backend.name: of_pool[backend.pool] for backend in fleet.backends}

    def cost_usd(backend: str, input_tokens: int, output_tokens: int, cached_input_tokens: int) -> float:
        return request_cost_usd(of_backend[backend], input_tokens, output_tokens, cached_input_tokens)

    return cost_usd


class _Driver:
    """Sends on an absolute timeline and books what ends."""

    def __init__(self, base_url: str, metrics: RunMetrics, settings: ReplaySettings, cost_usd: Cost) -> None:
        fleet = metrics.fleet
        self.result = ReplayResult(metrics)
        self._settings = settings
        self._cost_usd = cost_usd
        self._pool = _connections(base_url, settings)
        model = settings.model or next(iter(fleet.models), "default")
        path, host = self._pool.prefix + ENDPOINT, self._pool.host_header
        if settings.sizing is None:
            self._write = RequestWriter(path, host, model, settings.max_tokens, settings.api_key).write
        else:
            self._write = ExactWriter(path, host, model, settings.sizing, settings.api_key).write
        self._timeouts_s = {name: one.timeout_s for name, one in fleet.classes.items()}
        self._pool_of = {backend.name: backend.pool for backend in fleet.backends}
        self._eligible = {name: _eligible_pools(fleet, name) for name in fleet.classes}
        self._flights: dict[Flight, tuple[ClientExchange, asyncio.TimerHandle]] = {}
        self._idle = asyncio.Event()
        self._start_s = perf_counter() + settings.lead_s
        self._sessions = ClosedLoop(self._at, self._send, metrics.task)
        self._closed = False

    def progress(self) -> ReplayProgress:
        """Where the replay is."""
        now_s = max(perf_counter() - self._start_s, 0.0)
        return ReplayProgress(now_s, self.result.sent, self.result.sent - len(self._flights))

    async def tell(self, on_progress: Callable[[ReplayProgress], None]) -> None:
        """Report progress until cancelled."""
        while True:
            await asyncio.sleep(self._settings.progress_interval_s)
            on_progress(self.progress())

    async def run(self, requests: Iterator[Request]) -> None:
        """Send everything when it is due, then wait for the last end."""
        self._pool.warm_up()
        for request in requests:
            due_s = self._start_s + request.arrival_s
            while (wait_s := due_s - perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            self._known(request.workload_class)
            if request.turn is None:
                self._send(request)
            else:
                self._sessions.offer(request)
            if not self.result.sent % 64:
                await asyncio.sleep(0)  # a burst must not keep answers waiting
        while self._flights or self._sessions.scheduled:
            self._idle.clear()
            await self._idle.wait()
        self._sessions.check_ended()

    async def close(self) -> None:
        """Cancel what is still on its way, and close the connections."""
        self._closed = True
        for flight in list(self._flights):
            self._give_up(flight, "cancelled", "replay stopped")
        await self._pool.close()

    def _known(self, workload_class: str) -> None:
        if workload_class not in self._timeouts_s:
            known = ", ".join(self._timeouts_s)
            raise ConfigError("replay", [Fault(workload_class, f"no such class in the fleet; it has {known}")])

    def _at(self, at_s: float, callback: Callable[[float], None]) -> None:
        """Call back at a time of the workload: a turn of a session is due."""
        wait_s = self._start_s + at_s - perf_counter()
        asyncio.get_running_loop().call_later(max(wait_s, 0.0), callback, at_s)

    def _send(self, request: Request) -> None:
        if self._closed:
            return
        head, body = self._write(request)
        flight = Flight(request, perf_counter(), self._ended)
        self._late(flight.sent_s - self._start_s - request.arrival_s)
        self.result.sent += 1
        self.result.last_arrival_s = max(self.result.last_arrival_s, request.arrival_s)
        if len(self._flights) >= self._settings.max_in_flight:
            flight.end("failed", "driver's max_in_flight reached")
            return
        exchange = self._pool.send(head, body, flight)
        timer = asyncio.get_running_loop().call_later(
            self._timeouts_s[request.workload_class], self._give_up, flight, "failed", "timeout"
        )
        self._flights[flight] = exchange, timer

    def _late(self, delay_s: float) -> None:
        delay_s = max(delay_s, 0.0)
        self.result.lateness.add(delay_s)
        self.result.worst_lateness_s = max(self.result.worst_lateness_s or 0.0, delay_s)

    def _give_up(self, flight: Flight, outcome: str, error: str) -> None:
        self._flights[flight][0].cancel()
        flight.end(outcome, error)

    def _ended(self, flight: Flight) -> None:
        _, timer = self._flights.pop(flight, (None, None))
        if timer is not None:
            timer.cancel()
        if flight.error is not None:
            self.result.errors[flight.error] = self.result.errors.get(flight.error, 0) + 1
        self.result.end_s = max(perf_counter() - self._start_s, 0.0)
        self._book(flight)
        if flight.request.turn is not None:
            self._sessions.ended(flight.request, self.result.end_s, flight.outcome == "completed")
        if not self._flights:
            self._idle.set()

    def _book(self, flight: Flight) -> None:
        request, metrics = flight.request, self.result.metrics
        input_tokens = request.input_tokens if flight.usage is None else flight.usage.input_tokens
        cost_usd = 0.0
        pool = self._pool_of.get(flight.backend or "")
        if pool is not None and flight.backend is not None and flight.outcome != "rejected":
            cached = 0 if flight.usage is None else flight.usage.cached_input_tokens
            cost_usd = self._cost_usd(flight.backend, input_tokens, flight.output_tokens, cached)
            dispatch_s, end_s = flight.sent_s - self._start_s, self.result.end_s
            eligible = self._eligible[request.workload_class]
            sizes, name = (input_tokens, flight.output_tokens), request.workload_class
            metrics.attempt(AttemptRecord(pool, max(dispatch_s, 0.0), end_s, *sizes, cost_usd, eligible, cached, name))
        elif flight.outcome == "completed":
            self.result.unattributed += 1
        metrics.request(_record(flight, input_tokens, cost_usd))


def _record(flight: Flight, input_tokens: int, cost_usd: float) -> RequestRecord:
    request = flight.request
    e2e_s = None if flight.outcome == "rejected" or flight.ended_s is None else flight.ended_s - flight.sent_s
    return RequestRecord(
        workload_class=request.workload_class,
        outcome=flight.outcome or "failed",
        arrival_s=request.arrival_s,
        input_tokens=input_tokens,
        output_tokens=flight.output_tokens,
        ttft_s=flight.ttft_s,
        tpot_s=flight.tpot_s,
        e2e_s=e2e_s,
        cost_usd=cost_usd,
    )


def _connections(base_url: str, settings: ReplaySettings) -> ConnectionPool:
    limits = PoolLimits(warm=settings.warm_connections, max_connections=settings.max_in_flight)
    try:
        return ConnectionPool(base_url, limits)
    except ValueError as fault:
        raise ConfigError("replay", [Fault("base_url", str(fault))]) from fault


def _eligible_pools(fleet: Fleet, workload_class: str) -> tuple[str, ...]:
    """Pools that the routes allow for a class; what was up or full, a client cannot see."""
    for route in fleet.routes:
        if route.workload_class in (None, workload_class) and route.tenant in (None, "default"):
            return route.pools
    return tuple(fleet.pools)


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool] | None) -> None:
    """Cancel what still runs and wait until it has stopped."""
    for task in tasks:
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
