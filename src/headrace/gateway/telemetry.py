"""Telemetry: what the gateway says of its requests to those who watch it, one call at each turn of their lives.

Plain numbers where requests pass (`counters`); text for Prometheus when it asks (`families`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headrace.cost import spend_rate
from headrace.fleet import Fleet
from headrace.gateway.attempt import Attempt, GatewayRequest
from headrace.gateway.counters import Counters
from headrace.metrics import Metric, WorkRate
from headrace.policy import Dispatch, DispatchReason, Outcome, RejectReason
from headrace.wire import Usage

COMPLETED = "completed"


class Telemetry:
    """What is counted of requests and attempts.

    Attributes:
        sources: asked for further figures when somebody looks.
        loop_lag_s: how late the last sweep was.
    """

    __slots__ = ("_rates", "counters", "loop_lag_s", "sources")

    def __init__(self, fleet: Fleet) -> None:
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
        _count(self.counters.refused, label)

    def dispatched(self, request: GatewayRequest, attempt: Attempt, action: Dispatch) -> None:
        """An attempt is about to be sent."""
        counters, pool = self.counters, attempt.link.backend.pool
        key = pool, action.reason.value
        counters.dispatches[key] = counters.dispatches.get(key, 0) + 1
        if action.reason is DispatchReason.FIRST:
            waited_s = attempt.dispatched_s - request.arrived_s
            counters.of(request.workload_class, pool, request.tenant).queue.observe(waited_s)
            if action.outside_score_usd is not None:
                self._value(pool, action.outside_score_usd - action.score_usd)

    def _value(self, pool: str, value_usd: float) -> None:
        if value_usd > 0.0:
            _count(self.counters.value_captured_usd, pool, value_usd)
        elif value_usd < 0.0:
            _count(self.counters.value_lost_usd, pool, -value_usd)

    def first_token(self, request: GatewayRequest, attempt: Attempt, now_s: float) -> None:
        """The client has its first token."""
        request.first_token_s = now_s
        pool = attempt.link.backend.pool
        self.counters.of(request.workload_class, pool, request.tenant).ttft.observe(now_s - request.arrived_s)

    def attempt_ended(self, attempt: Attempt, outcome: str, now_s: float, usage: Usage | None, delivered: int) -> None:
        """An attempt has ended.

        Args:
            usage: as the backend counted it; None: it did not say, and what the client got is what is known.
        """
        request, backend = attempt.request, attempt.link.backend
        counters, key = self.counters, (backend.name, outcome)
        counters.attempts[key] = counters.attempts.get(key, 0) + 1
        if outcome == COMPLETED:
            self._answered(request, backend.pool, now_s, delivered if usage is None else usage.output_tokens)
        if usage is not None:
            counters.used(backend.name, usage[0], usage[1], usage[2])
            spent_usd = self._rates[backend.pool].work(usage[0], usage[1], usage[2])
        elif delivered:
            spent_usd = self._rates[backend.pool].work(request.input_tokens, delivered)
        else:
            return
        counters.of(request.workload_class, backend.pool, request.tenant).spent_usd += spent_usd

    def _answered(self, request: GatewayRequest, pool: str, now_s: float, output_tokens: int) -> None:
        """A request's answer is complete."""
        series, first_s = self.counters.of(request.workload_class, pool, request.tenant), request.first_token_s
        series.duration.observe(now_s - request.arrived_s)
        if first_s is not None and output_tokens > 1 and request.head.stream and request.rescue is None:
            series.tpot.observe((now_s - first_s) / (output_tokens - 1))

    def rejected(self, reason: RejectReason) -> None:
        """A request was turned away."""
        _count(self.counters.rejections, reason.value)

    def request_ended(self, request: GatewayRequest, outcome: Outcome) -> None:
        """A request has ended."""
        counters, key = self.counters, (request.workload_class, outcome.value)
        counters.requests[key] = counters.requests.get(key, 0) + 1

    def rescued(self, outcome: str) -> None:
        """Count what became of an answer that broke off after its client had a part of it.

        Args:
            outcome: `completed` by another backend; `ended`: nothing but its last words was missing; `broken`: no
                backend went on to its end; `impossible`: none could.
        """
        _count(self.counters.rescues, outcome)


def _count(counts: dict[str, float], label: str, amount: float = 1) -> None:
    counts[label] = counts.get(label, 0) + amount
