"""The score: what a request would cost on a backend, in USD, everything included.

    score(r, b) = marginal cost + value of time * latency + risk            (this module)
                + sum over shares of price_k * use_k(r, b)                  (prices.py, added by the engine)

    latency = wait + TTFT + (output tokens - 1) * TPOT
    risk    = chance of failure * (marginal cost of the retry + value of time * the time lost until the failure shows)

Latency comes from the backend's speed curve, evaluated at the load that *we* have put on it (attempts dispatched and
not ended, known without a signal), times two factors learnt from finished attempts: observed over predicted, for TTFT
and for TPOT. So a wrong curve is corrected by what is seen, and an unseen backend still has a sensible price.
"""

from __future__ import annotations

from headrace.cost import MarginalCost, marginal_cost
from headrace.fleet import Backend, Fleet, Limits
from headrace.perf import Serving, SpeedCurve, speed_curve
from headrace.policy.breaker import Breaker

LEARNING_RATE = 0.05
FACTOR_RANGE = (0.1, 10.0)
FAILURE_RATE_PRIOR = 0.001
MIN_TOKENS_FOR_TPOT = 8


class BackendState:
    """What the engine knows of one backend: its prices, its speed as corrected, and its load.

    Attributes:
        in_flight: attempts dispatched and not ended.
        prefill_backlog_s: uncontended prefill seconds of the attempts that have no first token yet.
        kv_tokens: context tokens that its attempts are expected to hold.
        ttft_factor, tpot_factor: observed over predicted, smoothed.
        failure_rate: smoothed chance that an attempt fails by the backend's fault.
        inside: for each share, by index, whether this backend's pool belongs to it.
    """

    __slots__ = (
        "_batching",
        "_prefill_s_per_token",
        "_prefill_s_per_token_squared",
        "_step_s",
        "_ttft_overhead_s",
        "breaker",
        "cost",
        "curve",
        "drained",
        "failure_rate",
        "in_flight",
        "index",
        "inside",
        "kv_tokens",
        "limit",
        "name",
        "pool",
        "prefill_backlog_s",
        "signals",
        "tpot_factor",
        "ttft_factor",
    )

    def __init__(
        self,
        index: int,
        backend: Backend,
        curve: SpeedCurve,
        cost: MarginalCost,
        inside: tuple[bool, ...],
        limits: Limits,
    ) -> None:
        self.index = index
        self.name = backend.name
        self.pool = backend.pool
        self.limit = backend.max_in_flight
        self.curve = curve
        self.cost = cost
        self.inside = inside
        self.breaker = Breaker(limits.breaker_failures, limits.breaker_cooldown_s, limits.breaker_cooldown_max_s)
        self.drained = False
        self.in_flight = 0
        self.kv_tokens = 0.0
        self.prefill_backlog_s = 0.0
        self.ttft_factor = 1.0
        self.tpot_factor = 1.0
        self.failure_rate = FAILURE_RATE_PRIOR
        self.signals: dict[str, tuple[float, float]] = {}
        self._batching = curve.serving is not Serving.HOSTED
        self._ttft_overhead_s = curve.ttft_overhead_s
        self._prefill_s_per_token = curve.prefill_s_per_token
        self._prefill_s_per_token_squared = curve.prefill_s_per_token_squared
        self._step_s = curve.step_s

    def free(self, now_s: float) -> bool:
        """Whether this backend may be picked now: not drained, not full, breaker not open."""
        return not self.drained and self.in_flight < self.limit and self.breaker.allows(now_s)

    def up(self, now_s: float) -> bool:
        """Whether it could be picked if it had room."""
        return not self.drained and self.breaker.allows(now_s)

    def prefill_s(self, input_tokens: float) -> float:
        """Uncontended prefill seconds."""
        return input_tokens * (self._prefill_s_per_token + self._prefill_s_per_token_squared * input_tokens)

    def latency(self, input_tokens: float, output_tokens: float) -> tuple[float, float]:
        """(TTFT, TPOT) in seconds expected now, as corrected by what was observed."""
        ttft_s = self._ttft_overhead_s + self.prefill_s(input_tokens)
        if not self._batching:
            return ttft_s * self.ttft_factor, self._step_s[1] * self.tpot_factor
        curve = self.curve
        batch = self.in_flight + 1
        held = batch if batch <= curve.max_batch else curve.max_batch
        tpot_s = self._step_s[held] + curve.kv_s_per_token * (self.kv_tokens + input_tokens)
        if batch > curve.depth:
            tpot_s *= held / min(curve.depth, held)
        ttft_s += self.prefill_backlog_s
        waiting = batch - held
        capacity = curve.kv_capacity_tokens
        if capacity is not None and self.kv_tokens + input_tokens + output_tokens > capacity:
            waiting = max(waiting, 1)
        if waiting:  # a slot frees every (lifetime / held) seconds
            ttft_s += waiting * output_tokens * tpot_s / held
        return ttft_s * self.ttft_factor, tpot_s * self.tpot_factor

    def score(
        self, input_tokens: float, output_tokens: float, value_of_time_usd_per_s: float
    ) -> tuple[float, float, float, float]:
        """(score, marginal cost, TTFT, TPOT) of a request here, shares aside."""
        ttft_s, tpot_s = self.latency(input_tokens, output_tokens)
        cost = self.cost
        cost_usd = input_tokens * cost.usd_per_input_token + output_tokens * cost.usd_per_output_token
        lost_usd = cost_usd + value_of_time_usd_per_s * ttft_s
        latency_s = ttft_s + (output_tokens - 1.0) * tpot_s
        score_usd = cost_usd + value_of_time_usd_per_s * latency_s + self.failure_rate * lost_usd
        return score_usd, cost_usd, ttft_s, tpot_s

    def observe_ttft(self, predicted_s: float, observed_s: float) -> None:
        """Correct the TTFT factor by one attempt; `predicted_s` was made with the factor of its time."""
        if predicted_s > 0.0:
            self.ttft_factor = _corrected(self.ttft_factor, observed_s / predicted_s)

    def observe_tpot(self, predicted_s: float, observed_s: float) -> None:
        """Correct the TPOT factor by one attempt."""
        if predicted_s > 0.0:
            self.tpot_factor = _corrected(self.tpot_factor, observed_s / predicted_s)

    def observe_outcome(self, failed: bool) -> None:
        """Learn whether an attempt failed by this backend's fault."""
        self.failure_rate += LEARNING_RATE * ((1.0 if failed else FAILURE_RATE_PRIOR) - self.failure_rate)


def _corrected(factor: float, ratio: float) -> float:
    low, high = FACTOR_RANGE
    moved = factor * (1.0 + LEARNING_RATE * (min(max(ratio, low), high) - 1.0))
    return min(max(moved, low), high)


def backend_states(fleet: Fleet) -> tuple[BackendState, ...]:
    """A state for every backend, in the order of the fleet file, with its pool's speed and cost."""
    states: list[BackendState] = []
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        cost = marginal_cost(pool, curve)
        inside = tuple(pool.name in share.pools for share in fleet.shares.values())
        for backend in pool.backends:
            states.append(BackendState(len(states), backend, curve, cost, inside, fleet.limits))
    return tuple(states)
