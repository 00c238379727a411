"""Law 8, queues: simulated waits are what queueing theory says.

The queue is the product's own: Poisson arrivals of the workload generators, the simulator's kernel and driver, the
policy engine's waiting room and a model server of constant speed. With exponential output lengths that is an M/M/c
queue, whose mean wait has a closed form. How far a run of finite length may be from it is told by the run itself: the
means of 20 consecutive batches give a 99 % interval. A wrong law lies outside of it.

Most of a batch's deviation is luck with its load: it brought more or less work than it should have. That luck is known,
because the means of gaps and lengths are, so it is regressed out (a control variate) and the interval is narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heapreplace
from itertools import accumulate, pairwise
from math import factorial, sqrt
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_rig import (
    MEAN_OUTPUT_TOKENS,
    TPOT_S,
    ConstantTokens,
    ExponentialTokens,
    Watch,
    one_pool_fleet,
    poisson_requests,
    slotted_curve,
    watched,
    watched_on_server,
)

from headrace.perf.speed import Serving
from headrace.workload import Request

SEED = 0
BATCHES = 20
STUDENT_T_99 = 2.878  # two-sided 99 % point at BATCHES - 2 = 18 degrees of freedom
REQUESTS = {0.5: 20_000, 0.7: 15_000, 0.85: 45_000}  # rare waits need many requests, and long queues remember long
LAYOUTS = [(1, 1), (2, 1), (1, 8)]  # (backends, requests that each takes): M/M/1, M/M/2, M/M/8
EXPONENTIAL = ExponentialTokens(MEAN_OUTPUT_TOKENS)
CONSTANT = ConstantTokens(1 + MEAN_OUTPUT_TOKENS)


def erlang_c(servers: int, load: float) -> float:
    """Chance that an arrival waits in M/M/c; `load` = arrival rate * mean service time, in erlangs.

    Source: A. K. Erlang (1917); e.g. Kleinrock, Queueing Systems I (1975), section 3.5.
    """
    all_busy = load**servers / factorial(servers) * servers / (servers - load)
    return all_busy / (sum(load**k / factorial(k) for k in range(servers)) + all_busy)


def mmc_wait_s(servers: int, utilization: float) -> float:
    """Mean wait in M/M/c with a mean service time of 1 s."""
    load = servers * utilization
    return erlang_c(servers, load) / (servers - load)


def md1_wait_s(utilization: float) -> float:
    """Mean wait in M/D/1 with a service time of 1 s: half that of M/M/1 (Pollaczek-Khinchine)."""
    return mmc_wait_s(1, utilization) / 2.0


@dataclass(frozen=True)
class Interval:
    """A 99 % confidence interval of a mean."""

    mean: float
    half_width: float

    def holds(self, value: float) -> bool:
        return abs(value - self.mean) <= self.half_width


@dataclass(frozen=True)
class Observed:
    """One run: each request's wait, and the work that it brought beyond what its gap should bring (mean 0)."""

    waits_s: list[float]
    excess_s: list[float]

    def interval(self, values: Sequence[float]) -> Interval:
        """Interval of the mean of one value per request, from batch means with the batches' excess regressed out.

        The first batch is left out: the queue starts empty.
        Source: Lavenberg and Welch, A perspective on the use of control variables (1981).
        """
        means, excess = batch_means(values), batch_means(self.excess_s)
        spread = sum((x - fmean(excess)) ** 2 for x in excess)
        slope = sum((x - fmean(excess)) * y for x, y in zip(excess, means, strict=True)) / spread
        level = fmean(means) - slope * fmean(excess)
        residual = sum((y - level - slope * x) ** 2 for x, y in zip(excess, means, strict=True)) / (BATCHES - 2)
        return Interval(level, STUDENT_T_99 * sqrt(residual * (1 / BATCHES + fmean(excess) ** 2 / spread)))


def batch_means(values: Sequence[float]) -> list[float]:
    """Means of consecutive batches, long enough to be nearly independent, without the first."""
    size = len(values) // (BATCHES + 1)
    return [fmean(values[i * size : (i + 1) * size]) for i in range(1, BATCHES + 1)]


def observe(run: Callable[[list[Request]], Watch], load: float, utilization: float, lengths: object) -> Observed:
    """Send Poisson traffic of `load` erlangs through a queue."""
    requests = list(poisson_requests(load, lengths, REQUESTS[utilization], SEED))
    gaps_s = [b.arrival_s - a.arrival_s for a, b in pairwise([Request(0.0, "chat", 1, 1), *requests])]
    excess = [service_s(r) - load * gap_s for r, gap_s in zip(requests, gaps_s, strict=True)]
    return Observed(run(requests).waits_s, excess)


def service_s(request: Request) -> float:
    """How long a request keeps its slot."""
    return (request.output_tokens - 1) * TPOT_S


@cache
def before_busy_backends(backends: int, slots: int, utilization: float, lengths: object = EXPONENTIAL) -> Observed:
    """Waits in the policy engine's waiting room before `backends` backends that take `slots` requests each."""
    fleet = one_pool_fleet(backends, slots)
    return observe(lambda requests: watched(fleet, requests), utilization * backends * slots, utilization, lengths)


def test_erlang_c_agrees_with_what_is_known_of_it() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7), "with one server, whoever finds it busy waits"
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert mmc_wait_s(1, 0.5) == pytest.approx(1.0)


@pytest.mark.parametrize("utilization", REQUESTS)
@pytest.mark.parametrize(("backends", "slots"), LAYOUTS)
def test_waits_before_busy_backends_are_those_of_mmc(backends: int, slots: int, utilization: float) -> None:
    observed = before_busy_backends(backends, slots, utilization)
    interval, theory_s = observed.interval(observed.waits_s), mmc_wait_s(backends * slots, utilization)
    assert interval.holds(theory_s), f"{interval} does not hold {theory_s}"
    assert not interval.holds(theory_s / 2.0), f"{interval} is so wide that half the wait, as of M/D/1, fits in"


@pytest.mark.parametrize("utilization", REQUESTS)
@pytest.mark.parametrize(("backends", "slots"), LAYOUTS)
def test_as_many_arrivals_wait_as_erlang_c_says(backends: int, slots: int, utilization: float) -> None:
    observed = before_busy_backends(backends, slots, utilization)
    interval = observed.interval([float(wait_s > 1e-9) for wait_s in observed.waits_s])
    servers = backends * slots
    assert interval.holds(erlang_c(servers, servers * utilization)), interval
    assert interval.half_width < 0.05


def test_constant_lengths_wait_half_as_long_and_the_interval_tells_the_two_laws_apart() -> None:
    observed = before_busy_backends(1, 1, 0.7, CONSTANT)
    interval = observed.interval(observed.waits_s)
    assert interval.holds(md1_wait_s(0.7)), interval
    assert not interval.holds(mmc_wait_s(1, 0.7)), interval


@pytest.mark.parametrize(("serving", "slots"), [(Serving.DATAFLOW, 1), (Serving.DATAFLOW, 2), (Serving.BATCHING, 2)])
def test_waits_inside_a_model_server_are_those_of_mmc(serving: Serving, slots: int) -> None:
    curve = slotted_curve(serving, slots)
    observed = observe(lambda requests: watched_on_server(curve, requests), 0.7 * slots, 0.7, EXPONENTIAL)
    interval, theory_s = observed.interval(observed.waits_s), mmc_wait_s(slots, 0.7)
    assert interval.holds(theory_s), f"{interval} does not hold {theory_s}"
    assert not interval.holds(theory_s / 2.0), interval


def fifo_starts_s(arrivals_s: Sequence[float], services_s: Sequence[float], servers: int) -> list[float]:
    """When each request starts, first come first served: the Kiefer-Wolfowitz recursion."""
    free_s = [0.0] * servers
    heapify(free_s)
    starts = []
    for arrival_s, service_s in zip(arrivals_s, services_s, strict=True):
        starts.append(max(arrival_s, free_s[0]))
        heapreplace(free_s, starts[-1] + service_s)
    return starts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.just(0.0) | st.floats(1e-6, 2.0), st.integers(1, 40_000)), min_size=1, max_size=60),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_every_single_wait_is_that_of_the_fifo_recursion(
    traffic: list[tuple[float, int]], backends: int, slots: int
) -> None:
    """Theory says the mean; this says each one, for any arrivals and lengths, however the slots are divided."""
    arrivals_s = list(accumulate(gap_s for gap_s, _ in traffic))
    requests = [Request(at_s, "chat", 1, tokens) for at_s, (_, tokens) in zip(arrivals_s, traffic, strict=True)]
    watch = watched(one_pool_fleet(backends, slots), requests)
    services_s = [service_s(request) for request in requests]
    expected = fifo_starts_s(arrivals_s, services_s, backends * slots)
    assert list(watch.first_token_s.values()) == pytest.approx(expected, abs=1e-6)
    assert list(watch.first_token_s) == list(watch.arrived_s), "first come, first served"
