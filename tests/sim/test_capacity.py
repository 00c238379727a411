"""Law 8, capacity: more of it never lowers goodput.

On one pool of constant speed, first come first served, it holds for every single request of every traffic, with common
random numbers: the same arrivals and lengths meet the smaller and the larger fleet. Nobody gives up waiting there; with
a queue timeout it could not hold, because who is no longer turned away takes a place that another would have had.

For the full policy it holds in the mean over seeds: one seed's luck may go either way.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import sqrt
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_rig import Watch, one_pool_fleet

from headrace.config import load_fleet
from headrace.fleet import Fleet, OperatingPoint
from headrace.sim import simulate
from headrace.workload import CHAT, CODING, ClassTraffic, Request, Slo, generate

POINT = OperatingPoint(ttft_s=0.1, input_tokens_per_s=10_000.0, tpot_s=0.01)
ROUNDING_S = 1e-9
TRAFFIC = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.integers(1, 20_000), st.integers(1, 800)), min_size=1, max_size=50
).map(
    lambda rows: [
        Request(at_s, "chat", row[1], row[2])
        for at_s, row in zip(accumulate(gap_s for gap_s, _, _ in rows), rows, strict=True)
    ]
)


def run(fleet: Fleet, requests: list[Request]) -> tuple[Watch, int]:
    """What happened to each request, and how many met their SLO."""
    watch = Watch()
    result = simulate(fleet, iter(requests), on_step=watch)
    return watch, result.metrics.classes["chat"].met


@settings(max_examples=80, deadline=None)
@given(TRAFFIC, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.floats(0.1, 20.0))
def test_more_capacity_delays_no_request_and_lowers_no_goodput(
    requests: list[Request], backends: int, slots: int, more_backends: int, more_slots: int, ttft_s: float
) -> None:
    slo = Slo(ttft_s=ttft_s)
    less, met_by_less = run(one_pool_fleet(backends, slots, point=POINT, slo=slo), requests)
    more, met_by_more = run(
        one_pool_fleet(backends + more_backends, slots + more_slots, point=POINT, slo=slo), requests
    )
    for request_id in less.arrived_s:
        assert more.dispatched_s[request_id] <= less.dispatched_s[request_id] + ROUNDING_S
        assert more.ended_s[request_id] <= less.ended_s[request_id] + ROUNDING_S
    assert met_by_more >= met_by_less


def test_where_requests_wait_more_capacity_raises_goodput() -> None:
    """The law above is not kept by capacity that does nothing."""
    requests = [Request(0.1 * i, "chat", 100, 100) for i in range(200)]
    slo = Slo(ttft_s=2.0)
    met = [run(one_pool_fleet(1, slots, point=POINT, slo=slo), requests)[1] for slots in (2, 4, 8, 16)]
    assert met == sorted(met)
    assert met[0] < len(requests) / 2
    assert met[-1] == len(requests)


SEEDS = range(10)
STUDENT_T_99 = 2.821  # one-sided 99 % point at len(SEEDS) - 1 = 9 degrees of freedom
SECONDS = 40.0


def mixed_fleet(h100s: int, cerebrases: int) -> Fleet:
    """Two pools of the sample fleet, with its classes, SLOs and steered share, and room for few requests at once."""
    sample = load_fleet()
    pools = {}
    for name, count, max_in_flight in (("h100", h100s, 24), ("cerebras", cerebrases, 2)):
        first = replace(sample.pools[name].backends[0], max_in_flight=max_in_flight)
        backends = tuple(replace(first, name=f"{name}-{i}", url=f"http://{name}:{i + 1}") for i in range(count))
        pools[name] = replace(sample.pools[name], backends=backends)
    shares = {"fast": replace(sample.shares["fast"], pools=("cerebras",))}
    routes = tuple(replace(route, pools=tuple(pools)) for route in sample.routes)
    return replace(sample, pools=pools, shares=shares, routes=routes)


def goodput_req_per_s(fleet: Fleet, load: float, seed: int) -> float:
    """Requests per second that met their SLO, under the policy that steers by prices."""
    classes = [ClassTraffic("coding", CODING, load), ClassTraffic("chat", CHAT, load)]
    result = simulate(fleet, generate(classes, SECONDS, seed), seed=seed)
    return sum(totals.met for totals in result.metrics.classes.values()) / SECONDS


def gain(less: tuple[int, int], more: tuple[int, int], load: float) -> tuple[float, float]:
    """Mean over seeds of the goodput gained, each seed meeting both fleets, and how far the mean may be off (99 %)."""
    gains = [
        goodput_req_per_s(mixed_fleet(*more), load, seed) - goodput_req_per_s(mixed_fleet(*less), load, seed)
        for seed in SEEDS
    ]
    return fmean(gains), STUDENT_T_99 * stdev(gains) / sqrt(len(gains))


@pytest.mark.parametrize("more", [(2, 1), (1, 2)])
def test_a_backend_more_raises_the_mean_goodput_of_a_full_fleet(more: tuple[int, int]) -> None:
    mean, error = gain((1, 1), more, 3.0)
    assert mean > error, "the gain is no accident of these seeds"


@pytest.mark.parametrize(("less", "more"), [((2, 1), (2, 2)), ((2, 1), (2, 4))])
def test_a_backend_more_does_not_lower_the_mean_goodput_of_a_fleet_with_room(
    less: tuple[int, int], more: tuple[int, int]
) -> None:
    """Where nothing waits, a new backend only changes who goes where: one request wins, another loses."""
    mean, error = gain(less, more, 1.0)
    assert mean >= -error
    assert error < 0.1, "a loss of one request in a hundred would be seen"
