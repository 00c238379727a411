"""Telemetry: what the gateway says of its requests to those who watch it, one call at each turn of their lives.

Plain numbers where requests pass (`counters`); text for Prometheus when it asks (`families`). Where there is an access
log, or a request is traced, a `Trail` goes with it, and at its end to the thread that writes it down. Without one a
request pays a test for None at each turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from headrace.cost import spend_rate
from headrace.fleet import Fleet
from headrace.gateway.attempt import Attempt
from headrace.gateway.counters import FIRST, Counters, Series
from headrace.gateway.request import GatewayRequest
from headrace.http import Exchange
from headrace.metrics import Metric, WorkRate
from headrace.policy import Dispatch, Outcome, RejectReason
from headrace.telemetry import NONE, AttemptTrail, GenAiMetrics, Recorder, Sampler, Tokens, Trail, error_of
from headrace.wire import ApiName, Usage

COMPLETED = "completed"
ERRORS = (Outcome.FAILED, Outcome.REJECTED)


class Telemetry:
    """What is counted of requests and attempts.

    Attributes:
        sources: asked for further figures when somebody looks.
        loop_lag_s: how late the last sweep was.
        recorder: writes down requests that have ended; None: nobody wants to know of them.
        logs_all: all of them, and not only those that are traced; sampler: says which are; None: none.
        gen_ai: is told of the same for OpenTelemetry; None: it exports nothing.
    """

    __slots__ = ("_rates", "_run_id", "counters", "gen_ai", "logs_all", "loop_lag_s", "recorder", "sampler", "sources")

    def __init__(self, fleet: Fleet, run_id: str) -> None:
        """
        Args:
            run_id: first part of the ids of requests.
        """
        self._run_id = run_id
        self.recorder: Recorder | None = None
        self.logs_all = False
        self.sampler: Sampler | None = None
        self.gen_ai: GenAiMetrics | None = None
        self.counters = Counters(fleet.telemetry.max_series)
        self.sources: list[Callable[[], Iterable[Metric]]] = []
        self.loop_lag_s = 0.0
        self._rates: dict[str, WorkRate] = {}
        self.use(fleet)

    def use(self, fleet: Fleet) -> None:
        """Requests are of this fleet from now on."""
        self.counters.know_backends(backend.name for backend in fleet.backends)
        self._rates |= {name: spend_rate(pool) for name, pool in fleet.pools.items()}

    def refuse(self, label: str) -> None:
        """Count what was refused before it became a request."""
        self.counters.refused[label] += 1

    def arrived(self, request: GatewayRequest) -> None:
        """A request came, or comes again for another model, and there is a recorder."""
        request_id = f"{self._run_id}-{request.request_id}"
        if request.trail is not None:
            request.trail.request_id, request.trail.model = request_id, request.model
            return
        exchange = request.exchange
        context = None if self.sampler is None else self.sampler.context(exchange.headers)
        if self.logs_all or context is not None:
            request.trail = Trail(
                request_id,
                request.api,
                exchange.path,
                request.arrived_s,
                request.tenant,
                request.workload_class,
                request.model,
                request.max_output_tokens,
                context,
            )

    def never_arrived(self, exchange: Exchange, api: ApiName, now_s: float) -> None:
        """What came was no request, or none that can be taken on."""
        context = None if self.sampler is None else self.sampler.context(exchange.headers)
        if self.logs_all or context is not None:
            self.record(Trail("", api, exchange.path, now_s, context=context), exchange, "refused", now_s)

    def record(self, trail: Trail, exchange: Exchange, outcome: str, now_s: float) -> None:
        """A request has ended, and its client has been told."""
        trail.ended_s, trail.ended_unix_s = now_s, time.time()
        trail.status, trail.outcome = exchange.status, str(outcome)  # a plain one, if it is a member of an enumeration
        if self.recorder is not None:
            self.recorder.add(trail)

    def _trace(self, trail: Trail, attempt: Attempt, action: Dispatch, sampler: Sampler) -> None:
        link = attempt.link
        attempt.trail = AttemptTrail(
            link.name,
            link.backend.pool,
            link.dialect.name,
            link.address,
            link.port,
            action.reason.value,
            attempt.dispatched_s,
            action.score_usd,
            action.cost_usd,
            action.expected_output_tokens,
            action.outside_score_usd,
            sampler.span_id(),
        )
        trail.attempts += (attempt.trail,)

    def dispatched(self, request: GatewayRequest, attempt: Attempt, action: Dispatch) -> None:
        """An attempt is about to be sent."""
        counters, pool, reason = self.counters, attempt.link.backend.pool, action.reason
        key = request.workload_class, pool, request.tenant
        series = attempt.series = counters.series.get(key) or counters.of(*key)
        trail = request.trail
        if trail is not None:
            trail.backend = action.backend
            trail.dispatched += 1
            if trail.context is not None and self.sampler is not None:
                self._trace(trail, attempt, action, self.sampler)
        if reason is FIRST:
            series.queue.observe(attempt.dispatched_s - request.arrived_s)
            if action.outside_score_usd is not None:
                value_usd = action.outside_score_usd - action.score_usd
                if value_usd > 0.0:
                    counters.value_captured_usd[pool] += value_usd
                elif value_usd < 0.0:
                    counters.value_lost_usd[pool] -= value_usd
        else:
            counters.later_dispatches[pool, reason] += 1

    def first_token(self, request: GatewayRequest, attempt: Attempt, now_s: float) -> None:
        """The client has its first token."""
        request.first_token_s = now_s
        if request.trail is not None:
            request.trail.first_token_s = now_s
            if attempt.trail is not None:
                attempt.trail.first_token_s = now_s
        ttft_s = now_s - request.arrived_s
        attempt.series.ttft.observe(ttft_s)
        if self.gen_ai is not None:
            self.gen_ai.first_token(request.api, request.model, ttft_s)

    def attempt_ended(self, attempt: Attempt, outcome: str, now_s: float, usage: Usage | None, delivered: int) -> None:
        """An attempt has ended.

        Args:
            usage: as the backend counted it; None: it did not say, and what the client got is what is known.
        """
        request, series, backend = attempt.request, attempt.series, attempt.link.backend
        used = self.counters.used[backend.name]
        used.attempts[outcome] += 1
        tokens, spent_usd = None, 0.0
        if usage is not None:
            input_tokens, delivered, cached_input_tokens = tokens = usage[:3]
            used.input_tokens += input_tokens
            used.cached_input_tokens += cached_input_tokens
            used.output_tokens += delivered
            spent_usd = self._rates[backend.pool].work(input_tokens, delivered, cached_input_tokens)
        elif delivered:
            spent_usd = self._rates[backend.pool].work(request.input_tokens, delivered)
        series.spent_usd += spent_usd
        if outcome == COMPLETED:
            series.duration.observe(now_s - request.arrived_s)
            if request.first_token_s is not None:
                self._streamed(request, series, now_s - request.first_token_s, delivered)
        if self.gen_ai is not None:
            link = attempt.link
            where = request.api, request.model, link.dialect.name, link.address, link.port
            error = "" if outcome == COMPLETED else error_of(outcome)
            self.gen_ai.attempt(where, error, now_s - attempt.dispatched_s, tokens)
        trail = request.trail
        if trail is not None:
            trail.spent_usd += spent_usd
            if tokens is not None:
                trail.tokens = tokens if trail.tokens is NONE else _sum(trail.tokens, tokens)
            if attempt.trail is not None:
                _end(attempt.trail, attempt, outcome, now_s, tokens, spent_usd)

    def _streamed(self, request: GatewayRequest, series: Series, since_first_s: float, output_tokens: int) -> None:
        """An answer that came in pieces is complete."""
        if output_tokens > 1 and request.head.stream and request.rescue is None:
            tpot_s = since_first_s / (output_tokens - 1)
            series.tpot.observe(tpot_s)
            if self.gen_ai is not None:
                self.gen_ai.time_per_token(request.api, request.model, tpot_s)

    def rejected(self, request: GatewayRequest, reason: RejectReason) -> None:
        """A request was turned away."""
        self.counters.rejections[reason.value] += 1
        if request.trail is not None:
            request.trail.rejected = reason.value

    def request_ended(self, request: GatewayRequest, outcome: Outcome, now_s: float) -> None:
        """A request has ended."""
        self.counters.requests[request.workload_class, outcome] += 1
        if self.gen_ai is not None:
            error = outcome.value if outcome in ERRORS else ""
            self.gen_ai.request(request.api, request.model, error, now_s - request.arrived_s)

    def sweep(self) -> None:
        """About once a second: count what was observed, so that it does not pile up."""
        for series in self.counters.series.values():
            series.settle()
        if self.gen_ai is not None:
            self.gen_ai.settle()

    def rescued(self, outcome: str) -> None:
        """Count what became of an answer that broke off after its client had a part of it.

        Args:
            outcome: `completed` by another backend; `ended`: nothing but its last words was missing; `broken`: no
                backend went on to its end; `impossible`: none could.
        """
        self.counters.rescues[outcome] += 1


def _sum(some: Tokens, more: Tokens) -> Tokens:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2]


def _end(
    trail: AttemptTrail, attempt: Attempt, outcome: str, now_s: float, tokens: Tokens | None, spent_usd: float
) -> None:
    trail.outcome, trail.ended_s, trail.tokens, trail.spent_usd = outcome, now_s, tokens, spent_usd
    if attempt.answer is not None and outcome == COMPLETED:
        trail.ending = attempt.answer.ending()
