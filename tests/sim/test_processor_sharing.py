"""Law 8, sharing and classes: a server that shares, and a queue with two classes, are what theory says.

A batching server whose step takes n times as long with n sequences gives each of them 1/n of its speed: an M/G/1 queue
with processor sharing. Its mean sojourn depends on the mean of the lengths alone, whatever their law:

    E[T] = E[S] / (1 - utilization),  and of a class with mean E[S_i]:  E[T_i] = E[S_i] / (1 - utilization)

First come first served, both classes wait as long (Pollaczek and Khinchine):

    E[W] = arrival rate * E[S^2] / (2 (1 - utilization))

Source: Kleinrock, Queueing Systems II (1976), section 4.4; Queueing Systems I (1975), section 5.6. Intervals as in
`test_queueing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, pairwise
from random import Random

import pytest
from sim_rig import (
    MEAN_OUTPUT_TOKENS,
    TPOT_S,
    ConstantTokens,
    ExponentialTokens,
    one_pool_fleet,
    slotted_curve,
    watched,
    watched_on_server,
)
from test_queueing import Interval, Observed, service_s

from headrace.perf.speed import Serving, SpeedCurve
from headrace.workload import ClassTraffic, Request, SingleRequests, Slo, WorkloadClass, generate
from headrace.workload.arrivals import Poisson

SEED = 0
UTILIZATION = 0.6
REQUESTS = 15_000
SLOTS = 200  # more than are ever there at a time
SHORT_TOKENS, LONG_TOKENS = MEAN_OUTPUT_TOKENS // 4, MEAN_OUTPUT_TOKENS * 4  # 0.25 s and 4 s: 0.2 of all are long
LONG_FRACTION = 0.2
CLASSES = {name: WorkloadClass(name, 0.0, Slo()) for name in ("chat", "coding")}  # nobody is worth more: by arrival


@dataclass(frozen=True)
class TwoLengths:
    """Short or long: a law with a variance above the exponential's."""

    def draw_tokens(self, random: Random) -> int:
        return 1 + (LONG_TOKENS if random.random() < LONG_FRACTION else SHORT_TOKENS)


LAWS = {
    "exponential": ExponentialTokens(MEAN_OUTPUT_TOKENS),
    "constant": ConstantTokens(1 + MEAN_OUTPUT_TOKENS),
    "two lengths": TwoLengths(),
}


def sharing_curve() -> SpeedCurve:
    """A step of n sequences takes n times as long as one of one."""
    curve = slotted_curve(Serving.BATCHING, SLOTS)
    return replace(curve, step_s=tuple(TPOT_S * max(n, 1) for n in range(SLOTS + 1)))


def poisson(lengths: dict[str, tuple[float, object]]) -> list[Request]:
    """The first requests of the classes' Poisson traffic: class -> (requests/s, law of the lengths)."""
    traffic = [
        ClassTraffic(name, SingleRequests(Poisson(rate), ConstantTokens(1), law))  # type: ignore[arg-type]
        for name, (rate, law) in lengths.items()
    ]
    return list(islice(generate(traffic, float("inf"), SEED), REQUESTS))


def excesses_s(requests: list[Request], load: float) -> list[float]:
    """The work that each request brought beyond what its gap should bring."""
    gaps_s = [b.arrival_s - a.arrival_s for a, b in pairwise([Request(0.0, "chat", 1, 1), *requests])]
    return [service_s(r) - load * gap_s for r, gap_s in zip(requests, gaps_s, strict=True)]


@pytest.mark.parametrize("law", LAWS)
def test_sojourns_in_a_server_that_shares_are_those_of_mg1_ps(law: str) -> None:
    requests = poisson({"chat": (UTILIZATION, LAWS[law])})
    watch = watched_on_server(sharing_curve(), requests)
    sojourns_s = [watch.ended_s[request_id] - at_s for request_id, at_s in watch.arrived_s.items()]
    interval = Observed([], excesses_s(requests, UTILIZATION)).interval(sojourns_s)
    assert interval.holds(1.0 / (1.0 - UTILIZATION)), interval
    fifo_s = {"exponential": 2.5, "constant": 1.0 + 0.5 * 1.5, "two lengths": 1.0 + 3.25 / 2 * 1.5}[law]
    if law != "exponential":  # there both disciplines have one mean
        assert not interval.holds(fifo_s), f"{interval} is so wide that first come first served fits in"


@cache
def two_classes() -> list[Request]:
    """Many short ones of one class and few long ones of the other."""
    short, long = UTILIZATION * (1.0 - LONG_FRACTION), UTILIZATION * LONG_FRACTION
    return poisson(
        {"chat": (short, ConstantTokens(1 + SHORT_TOKENS)), "coding": (long, ConstantTokens(1 + LONG_TOKENS))}
    )


def of_class(name: str, values: list[float]) -> Interval:
    """The mean of the class's values, with the work that came since its request before (mean 0 too) regressed out."""
    own, excess, since_s = [], [], 0.0
    for request, value, excess_s in zip(two_classes(), values, excesses_s(two_classes(), UTILIZATION), strict=True):
        since_s += excess_s
        if request.workload_class == name:
            own.append(value)
            excess.append(since_s)
            since_s = 0.0
    return Observed([], excess).interval(own)


@pytest.mark.parametrize("name", ["chat", "coding"])
def test_two_classes_wait_as_long_first_come_first_served(name: str) -> None:
    fleet = one_pool_fleet()
    watch = watched(replace(fleet, classes=CLASSES), two_classes())
    squared = (1 - LONG_FRACTION) * (SHORT_TOKENS * TPOT_S) ** 2 + LONG_FRACTION * (LONG_TOKENS * TPOT_S) ** 2
    theory_s = UTILIZATION * squared / (2.0 * (1.0 - UTILIZATION))
    interval = of_class(name, watch.waits_s)
    assert interval.holds(theory_s), f"{interval} does not hold {theory_s}"
    assert not interval.holds(theory_s / 2.0), interval


@pytest.mark.parametrize(("name", "tokens"), [("chat", SHORT_TOKENS), ("coding", LONG_TOKENS)])
def test_two_classes_share_a_server_by_their_own_lengths(name: str, tokens: int) -> None:
    watch = watched_on_server(sharing_curve(), two_classes(), CLASSES)
    sojourns_s = [watch.ended_s[request_id] - at_s for request_id, at_s in watch.arrived_s.items()]
    interval = of_class(name, sojourns_s)
    theory_s = tokens * TPOT_S / (1.0 - UTILIZATION)
    assert interval.holds(theory_s), f"{interval} does not hold {theory_s}"
    assert not interval.holds(theory_s / 1.5), interval
