"""The score: what a request would cost on a backend, in USD, everything included.

    score(r, b) = marginal cost + value of time * latency + risk + delay    (this module)
                + sum over shares of price_k * use_k(r, b)                  (prices.py, added by the engine)

    latency = wait + TTFT + (output tokens - 1) * TPOT
    risk    = chance of failure * (marginal cost of the retry + value of time * the time lost until the failure shows)
    delay   = value of the time that others on the backend lose by it: while its prompt is computed they wait, and each
              of its tokens makes their steps longer

Latency comes from the backend's speed curve, evaluated at the load that *we* have put on it (attempts dispatched and
not ended, known without a signal), times two factors learnt from finished attempts: observed over predicted, for TTFT
and for TPOT. So a wrong curve is corrected by what is seen, and an unseen backend still has a sensible price.

Without `delay` each request would take what is best for itself: one that leaves its cached prefix for an emptier
backend gains a little, and holds up everybody there while its prompt is computed anew; a fleet that is nearly full
collapses. It is the marginal-cost price of congestion (Pigou, "The Economics of Welfare", 1920). Services that are
known by their speed only see to their own load: no delay there.

Every arrival scores every backend, but an event changes one backend's load. So each keeps its score at its present load
as a few coefficients of the request's size, and works them out again only after something happened to it. With r = 1 +
failure rate and v = value of time,

    score = input * (usd_in + usd_in2 * input) + output * (usd_out + usd_io * input) + v * (ttft + (output - 1) * tpot)
    ttft  = t0 + t1 * input + t2 * input**2      (times r)        usd_*: marginal cost (times r) and delay
    tpot  = p0 + p1 * input

of which a predicted prefix hit of c tokens (`prefix.py`) saves c * (input price - cached price) and the prefill of its
first c tokens, c * t1 + c**2 * t2, for itself and for others: what comes after them still attends to them. This holds
while input + output fits into the room. Beyond it (every slot is held, or the KV cache would not hold the request) the
wait for a slot is added.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from headrace.cost import MarginalCost
from headrace.errors import InvariantError
from headrace.fleet import Backend, Limits
from headrace.perf import Serving, SpeedCurve
from headrace.policy.breaker import Breaker, Probe
from headrace.policy.tpot_limit import TpotLimit
from headrace.workload import WorkloadClass

LEARNING_RATE: Final = 0.05
LOWEST_FACTOR, HIGHEST_FACTOR = 0.1, 10.0
FAILURE_RATE_PRIOR: Final = 0.001
MIN_TOKENS_FOR_TPOT: Final = 8

Side = tuple[bool, ...]  # for each share of the fleet, by index: inside its pools; False for one that is only reported
Row = tuple[float, float, float, float, float, float, float, float, float, float]


class Elsewhere(NamedTuple):
    """Load that others put on a backend, as its signals say: requests, their context tokens, prefill still to do."""

    in_flight: int
    kv_tokens: float
    prefill_s: float


class BackendState:
    """What the engine knows of one backend: its prices, its speed as corrected, and its load.

    Attributes:
        in_flight: attempts dispatched and not ended. `limit`: as many as there may be; `allowed`: without `tpot_limit`.
        tpot_limit: what holds them to an SLO on TPOT; None: they do not slow each other down.
        prefill_backlog_s: uncontended prefill seconds of the attempts that have no first token yet.
        kv_tokens: context tokens that its attempts are expected to hold.
        waiting_usd_per_s: value of time of all its attempts together.
        ttft_factor, tpot_factor: observed over predicted, smoothed.
        failure_rate: smoothed chance that an attempt fails by the backend's fault.
        hit_factor: cached input tokens as reported over those predicted (`prefix.py`), smoothed, 0 to 1.
        inside: for each share, by index, whether this backend's pool belongs to it.
        side: the same for steered shares only.
        stale: shared by all backends, a byte for each by index: set when something happened to it.
        drained: it finishes what it has and takes no more.
        elsewhere: what others put on it (`signals.py`): priced, and in no limit of ours; None: nothing is known.
        ready: it may be picked, and the coefficients are those of its present load; else ask `priced`.
        room_tokens, usd_in, usd_in2, usd_out, usd_io, t0, t1, t2, p0, p1: the coefficients (see the module).
        held, queued: slots held with one attempt more, and those before it that wait for one; of its present load too.
    """

    __slots__ = (
        "_curve",
        "_hosted",
        "_kv_room_tokens",
        "_kv_s_per_token",
        "_max_batch",
        "_prefill_s_per_token",
        "_prefill_s_per_token_alone",
        "_prefill_s_per_token_squared",
        "_slots",
        "_starts_s",
        "_step_s",
        "_usd_per_cached_input_token",
        "_usd_per_input_token",
        "_usd_per_output_token",
        "allowed",
        "breaker",
        "drained",
        "elsewhere",
        "failure_rate",
        "held",
        "hit_factor",
        "in_flight",
        "index",
        "inside",
        "kv_tokens",
        "limit",
        "name",
        "p0",
        "p1",
        "pool",
        "prefill_backlog_s",
        "queued",
        "ready",
        "room_tokens",
        "side",
        "signals",
        "stale",
        "t0",
        "t1",
        "t2",
        "tpot_factor",
        "tpot_limit",
        "ttft_factor",
        "usd_in",
        "usd_in2",
        "usd_io",
        "usd_out",
        "waiting_usd_per_s",
    )

    def __init__(
        self,
        index: int,
        backend: Backend,
        curve: SpeedCurve,
        cost: MarginalCost,
        starts_s: tuple[float, ...],
        *,
        inside: tuple[bool, ...],
        side: Side,
        limits: Limits,
        stale: bytearray,
    ) -> None:
        """
        Args:
            starts_s: `first_step_s` by attempts in flight, as far as it was worked out ahead.
        """
        self.index = index
        self.name = backend.name
        self.pool = backend.pool
        self.limit = self.allowed = backend.max_in_flight
        self.inside = inside
        self.side = side
        self.breaker = Breaker(limits.breaker_failures, limits.breaker_cooldown_s, limits.breaker_cooldown_max_s)
        self.drained = False
        self.in_flight = 0
        self.kv_tokens = 0.0
        self.prefill_backlog_s = 0.0
        self.waiting_usd_per_s = 0.0
        self.ttft_factor = 1.0
        self.tpot_factor = 1.0
        self.failure_rate = FAILURE_RATE_PRIOR
        self.signals: dict[str, tuple[float, float]] = {}
        self.elsewhere: Elsewhere | None = None
        self.hit_factor = 1.0
        hosted = curve.serving is Serving.HOSTED
        self.tpot_limit = None if hosted else TpotLimit(min(curve.max_batch, backend.max_in_flight))
        self.ready = False
        self.stale = stale
        self._usd_per_cached_input_token = cost.usd_per_cached_input_token
        self._usd_per_input_token = cost.usd_per_input_token
        self._usd_per_output_token = cost.usd_per_output_token
        self._curve = curve
        self._hosted = curve.serving is Serving.HOSTED
        unlimited = self._hosted or curve.kv_capacity_tokens is None
        self._kv_room_tokens = inf if unlimited else float(curve.kv_capacity_tokens or 0)
        self._slots = inf if self._hosted else curve.max_batch
        self._max_batch = curve.max_batch
        self._step_s = curve.step_s
        self._kv_s_per_token = curve.kv_s_per_token
        self._starts_s = starts_s
        self._prefill_s_per_token = curve.prefill_s_per_token + curve.ttft_overhead_s_per_token
        self._prefill_s_per_token_alone = curve.prefill_s_per_token
        self._prefill_s_per_token_squared = curve.prefill_s_per_token_squared
        self.room_tokens = self.usd_in = self.usd_in2 = self.usd_out = self.usd_io = 0.0
        self.t0 = self.t1 = self.t2 = self.p0 = self.p1 = 0.0
        self.held = self.queued = 1
        self._work_out()

    # -- load --------------------------------------------------------------------------------------------------------

    def took(self, prefill_s: float, kv_tokens: float, value_of_time_usd_per_s: float) -> Probe:
        """An attempt was dispatched here; returns what its answer decides of the breaker."""
        self.in_flight += 1
        self.waiting_usd_per_s += value_of_time_usd_per_s
        self.kv_tokens += kv_tokens
        self.prefill_backlog_s += prefill_s
        self.ready = False
        self.stale[self.index] = True
        return self.breaker.dispatched()

    def gave_back(self, prefill_s: float, kv_tokens: float, value_of_time_usd_per_s: float) -> None:
        """An attempt ended; `prefill_s` is 0 if it had its first token. Raises InvariantError: there was none."""
        self.in_flight -= 1
        if self.in_flight < 0:
            raise InvariantError(f"backend {self.name!r} has {self.in_flight} attempts in flight")
        self.waiting_usd_per_s = self.waiting_usd_per_s - value_of_time_usd_per_s if self.in_flight else 0.0
        self.kv_tokens = self.kv_tokens - kv_tokens if self.in_flight else 0.0
        self.prefill_backlog_s = self.prefill_backlog_s - prefill_s if self.in_flight else 0.0
        self.ready = False
        self.stale[self.index] = True

    def drain(self, drained: bool) -> None:
        """Take no more attempts, or take them again."""
        self.drained = drained
        self.touched()

    def load_elsewhere(self, elsewhere: Elsewhere | None) -> None:
        """Something else is known of what others put on it."""
        self.elsewhere = elsewhere
        self.touched()

    def touched(self) -> None:
        """Something happened to it: its coefficients, and whether it may be picked, are to be worked out again."""
        self.ready = False
        self.stale[self.index] = True

    def inherit(self, before: BackendState, limits: Limits) -> None:
        """Take over what was learnt of the same backend, and its breaker, which both use from now on."""
        self.breaker = before.breaker
        self.breaker.adjust(limits.breaker_failures, limits.breaker_cooldown_s, limits.breaker_cooldown_max_s)
        self.ttft_factor = before.ttft_factor
        self.tpot_factor = before.tpot_factor
        self.failure_rate = before.failure_rate
        self.hit_factor = before.hit_factor
        self.signals = dict(before.signals)
        if self.tpot_limit is not None and before.tpot_limit is not None:
            self.tpot_limit.inherit(before.tpot_limit)
            self.limit_to(self.allowed)
        self.touched()

    def answered(self, now_s: float, dispatched_s: float, tpot_s: float, workload_class: WorkloadClass) -> None:
        """An answer is complete: see whether fewer attempts would keep its class's SLO; `gave_back` follows."""
        held = self.tpot_limit
        if held is not None and (held.learns or tpot_s > (workload_class.slo.tpot_s or inf)):
            held.answered(now_s, workload_class, dispatched_s, tpot_s, self.in_flight)
            self.limit = int(min(self.allowed, held.in_flight))

    def limit_to(self, limit: int) -> None:
        """It may have so many attempts of ours in flight."""
        self.allowed = limit
        self.limit = limit if self.tpot_limit is None else int(min(limit, self.tpot_limit.in_flight))
        self.touched()

    def be_careful(self) -> None:
        """Another engine has trouble with it."""
        self.breaker.be_careful()
        self.touched()

    def up(self, now_s: float) -> bool:
        """Whether it could be picked if it had room."""
        return not self.drained and self.breaker.allows(now_s)

    # -- price -------------------------------------------------------------------------------------------------------

    def priced(self, now_s: float) -> bool:
        """Work out the coefficients at the present load, kept until something happens; False: it may not be picked."""
        if self.drained or self.in_flight >= self.limit or self.breaker.allows_from_s > now_s:
            return False
        self._work_out()
        self.ready = True
        return True

    def _work_out(self) -> None:
        """Set the coefficients, whether it may be picked or not."""
        in_flight, kv_s, tpot = self.in_flight, self._kv_s_per_token, self.tpot_factor
        kv_tokens, backlog_s = self.kv_tokens, self.prefill_backlog_s
        if self.elsewhere is not None:
            others, tokens, prefill_s = self.elsewhere
            in_flight, kv_tokens, backlog_s = in_flight + others, kv_tokens + tokens, backlog_s + prefill_s
        held = in_flight + 1
        start_s = self._starts_s[in_flight] if in_flight < len(self._starts_s) else first_step_s(self._curve, in_flight)
        r = 1.0 + self.failure_rate
        ttft = self.ttft_factor * r
        self.room_tokens = 0.0 if in_flight >= self._slots else self._kv_room_tokens - kv_tokens
        others_usd_per_s = 0.0 if self._hosted else self.waiting_usd_per_s
        self.usd_in = self._usd_per_input_token * r + others_usd_per_s * self._prefill_s_per_token_alone * ttft
        self.usd_in2 = others_usd_per_s * self._prefill_s_per_token_squared * ttft
        self.t0 = (start_s if self._hosted else start_s + backlog_s) * ttft
        self.t1 = self._prefill_s_per_token * ttft
        self.t2 = self._prefill_s_per_token_squared * ttft
        queued = held - self._max_batch
        if queued > 0:
            held = self._max_batch
        self.held, self.queued = held, queued if queued > 0 else 1
        step_s = self._step_s[held]
        longer_s = step_s - self._step_s[in_flight if in_flight < self._max_batch else self._max_batch]
        self.usd_out = self._usd_per_output_token * r + others_usd_per_s * longer_s * tpot
        self.usd_io = others_usd_per_s * kv_s * tpot
        self.p0 = (step_s + kv_s * kv_tokens) * tpot
        self.p1 = kv_s * tpot

    def row(self) -> Row:
        """The coefficients, as they are."""
        usd = self.usd_in, self.usd_in2, self.usd_out, self.usd_io
        return self.room_tokens, *usd, self.t0, self.t1, self.t2, self.p0, self.p1

    @property
    def kv_capacity_tokens(self) -> float:
        """Context tokens that it can hold; infinite where nobody knows."""
        capacity = self._curve.kv_capacity_tokens
        return inf if capacity is None else float(capacity)

    def prefill_s(self, input_tokens: float, cached_tokens: float = 0.0) -> float:
        """Uncontended prefill seconds, of what is not cached."""
        seconds = self._curve.prefill_s(input_tokens)
        return seconds - self._hit_s(cached_tokens) if cached_tokens else seconds

    def _hit_s(self, cached_tokens: float) -> float:
        """Prefill seconds that a hit saves, uncorrected; what a first token takes besides prefill stays."""
        curve = self._curve
        return cached_tokens * (curve.prefill_s_per_token + curve.prefill_s_per_token_squared * cached_tokens)

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """Marginal cost of a request here."""
        usd = input_tokens * self._usd_per_input_token + output_tokens * self._usd_per_output_token
        if cached_tokens:
            usd -= cached_tokens * (self._usd_per_input_token - self._usd_per_cached_input_token)
        return usd

    def delay_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """Value of the time that others here lose by a request, as it stands in its score."""
        if self._hosted or not self.waiting_usd_per_s:
            return 0.0
        r = 1.0 + self.failure_rate
        usd = input_tokens * (self.usd_in - self._usd_per_input_token * r + self.usd_in2 * input_tokens)
        usd += output_tokens * (self.usd_out - self._usd_per_output_token * r + self.usd_io * input_tokens)
        return usd - self.waiting_usd_per_s * self._hit_s(cached_tokens) * self.ttft_factor * r

    def latency(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> tuple[float, float]:
        """(TTFT, TPOT) in seconds expected now, as corrected by what was observed."""
        if not self.ready:
            self._work_out()
        seconds = self.t0 + input_tokens * (self.t1 + self.t2 * input_tokens)
        if cached_tokens:
            seconds -= self._hit_s(cached_tokens) * self.ttft_factor * (1.0 + self.failure_rate)
        ttft_s = seconds / (1.0 + self.failure_rate)
        tpot_s = self.p0 + self.p1 * input_tokens
        if input_tokens + output_tokens > self.room_tokens:
            ttft_s += self.slot_wait_s(output_tokens, tpot_s)
        return ttft_s, tpot_s

    def slot_wait_s(self, output_tokens: float, tpot_s: float) -> float:
        """Wait for a slot of the batch: one frees every (lifetime / slots held) seconds."""
        return self.queued * output_tokens * tpot_s / self.held

    def takes(self, input_tokens: float, output_tokens: float, longest_s: float) -> bool:
        """Whether a request of this size need not wait longer for a slot; an idle backend takes any."""
        if input_tokens + output_tokens <= self.room_tokens:
            return True
        return self.slot_wait_s(output_tokens, self.p0 + self.p1 * input_tokens) <= longest_s or self.idle

    @property
    def idle(self) -> bool:
        """Whether nothing runs there; with one slot only, whether nothing waits."""
        return self.held + self.queued <= 2

    def slots(self) -> tuple[int, int, float]:
        """(slots held with one attempt more, those before it that wait for one, 1 + failure rate), as they are."""
        return self.held, self.queued, 1.0 + self.failure_rate

    def free(self, now_s: float) -> bool:
        """Whether it may be picked now: not drained, not full, breaker not open."""
        return self.ready or self.priced(now_s)

    def alone_s(self, input_tokens: float, output_tokens: float) -> float:
        """E2E seconds of a request that has the backend to itself, by its speed curve alone."""
        context_tokens = input_tokens + output_tokens
        return self._curve.ttft_s(input_tokens) + (output_tokens - 1.0) * self._curve.tpot_s(1, context_tokens)

    def score_usd(
        self,
        input_tokens: float,
        output_tokens: float,
        value_of_time_usd_per_s: float,
        cached_tokens: float = 0.0,
    ) -> float:
        """The score of the module's head, for one backend; `choice` has it inline for all of them."""
        if not self.ready:
            self._work_out()
        tpot_s = self.p0 + self.p1 * input_tokens
        seconds = self.t0 + input_tokens * (self.t1 + self.t2 * input_tokens) + (output_tokens - 1.0) * tpot_s
        if input_tokens + output_tokens > self.room_tokens:
            seconds += self.slot_wait_s(output_tokens, tpot_s) * (1.0 + self.failure_rate)
        usd = input_tokens * (self.usd_in + self.usd_in2 * input_tokens)
        usd += output_tokens * (self.usd_out + self.usd_io * input_tokens) + value_of_time_usd_per_s * seconds
        if cached_tokens:
            saved_usd = cached_tokens * (self._usd_per_input_token - self._usd_per_cached_input_token)
            saved_s = self._hit_s(cached_tokens) * self.ttft_factor
            waiting_usd_per_s = value_of_time_usd_per_s + (0.0 if self._hosted else self.waiting_usd_per_s)
            usd -= (saved_usd + waiting_usd_per_s * saved_s) * (1.0 + self.failure_rate)
        return usd

    # -- observation -------------------------------------------------------------------------------------------------

    def first_token(self, prefill_s: float, predicted_s: float, observed_s: float, anew: bool = False) -> None:
        """An attempt's prompt is processed: correct the TTFT factor; `predicted_s` was made with that of its time.

        Args:
            anew: it has been away: what was learnt before counts no more.
        """
        self.prefill_backlog_s -= prefill_s
        if predicted_s > 0.0:
            self.ttft_factor = _corrected(self.ttft_factor, observed_s / predicted_s, 1.0 if anew else LEARNING_RATE)
        self.ready = False
        self.stale[self.index] = True

    def observe_tpot(self, predicted_s: float, observed_s: float) -> None:
        """Correct the TPOT factor by one attempt; `gave_back` follows."""
        if predicted_s > 0.0:
            self.tpot_factor = _corrected(self.tpot_factor, observed_s / predicted_s, LEARNING_RATE)

    def observe_hit(self, predicted_tokens: float, cached_tokens: float) -> None:
        """Correct the hit factor by one answer, whose backend says what it found in its cache."""
        if predicted_tokens <= 0.0:
            return
        found = cached_tokens / predicted_tokens if cached_tokens < predicted_tokens else 1.0
        self.hit_factor += LEARNING_RATE * (found - self.hit_factor)

    def observe_outcome(self, failed: bool) -> None:
        """Learn whether an attempt failed by this backend's fault; `gave_back` follows."""
        self.failure_rate += LEARNING_RATE * ((1.0 if failed else FAILURE_RATE_PRIOR) - self.failure_rate)


def first_step_s(curve: SpeedCurve, in_flight: int) -> float:
    """Seconds to a first token that the prompt's length has no part in, beside so many attempts in flight.

    Under continuous batching a step carries the prompt: that of the attempts which decode already.
    """
    carrier_s = curve.step_s[min(in_flight, curve.max_batch)] if curve.serving is Serving.BATCHING else 0.0
    return curve.overhead_s(0.0, in_flight + 1) + curve.prefill_fixed_s + carrier_s


def _corrected(factor: float, ratio: float, rate: float) -> float:
    """The factor, moved towards `ratio` of itself; both are bounded."""
    bounded = LOWEST_FACTOR if ratio < LOWEST_FACTOR else HIGHEST_FACTOR if ratio > HIGHEST_FACTOR else ratio
    moved = factor * (1.0 + rate * (bounded - 1.0))
    return LOWEST_FACTOR if moved < LOWEST_FACTOR else HIGHEST_FACTOR if moved > HIGHEST_FACTOR else moved
