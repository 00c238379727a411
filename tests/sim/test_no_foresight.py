"""Law 4: no decision reads a true output length, or a signal newer than it could have.

Two simulations get the same arrivals and inputs, and lengths that differ for some of the requests. Until the first of
those requests finishes, in either run, nobody but the model servers can know that they differ: up to then both runs
must be the same, event by event and action by action.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, takewhile
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.config import load_fleet
from headrace.errors import InvariantError
from headrace.fleet import Fleet
from headrace.perf import speed_curve
from headrace.policy import (
    POLICIES,
    PRICES,
    AnyAction,
    AnyEvent,
    Arrived,
    Dispatch,
    Finished,
    Policy,
    PolicyEngine,
    SignalReceived,
)
from headrace.sim import ORACLE, simulate
from headrace.workload import Request

Step = tuple[float, AnyEvent, list[AnyAction]]
CLASSES = ("coding", "chat", "agent")


@dataclass(frozen=True)
class Pair:
    """Two workloads that differ in the true lengths of some requests, by number from 1."""

    first: list[Request]
    second: list[Request]
    differing: frozenset[int]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    sizes = st.tuples(st.floats(0.0, 0.5), st.sampled_from(CLASSES), st.integers(1, 4000), st.integers(1, 600))
    rows = draw(st.lists(sizes, min_size=25, max_size=60))
    times_s = accumulate(gap_s for gap_s, _, _, _ in rows)
    first = [Request(at_s, *row[1:]) for at_s, row in zip(times_s, rows, strict=True)]
    others = draw(st.dictionaries(st.integers(len(rows) // 3, len(rows)), st.integers(1, 600), min_size=1, max_size=5))
    second = [replace(r, output_tokens=others.get(i, r.output_tokens)) for i, r in enumerate(first, start=1)]
    differing = frozenset(i for i in others if first[i - 1] != second[i - 1])
    return Pair(first, second, differing)


@cache
def fleet(max_in_flight: int) -> Fleet:
    """Four pools of the sample fleet, two that batch and two of SRAM, with few places: requests wait."""
    sample = load_fleet()
    pools = {
        name: replace(
            sample.pools[name],
            backends=tuple(replace(b, max_in_flight=max_in_flight) for b in sample.pools[name].backends),
        )
        for name in ("h100", "tpu-v6e", "cerebras", "groq")
    }
    shares = {"fast": sample.shares["fast"]}
    routes = tuple(replace(route, pools=tuple(pools)) for route in sample.routes)
    return replace(sample, pools=pools, shares=shares, routes=routes)


def steps_of(requests: list[Request], max_in_flight: int, policy: Policy) -> list[Step]:
    steps: list[Step] = []
    simulate(fleet(max_in_flight), iter(requests), policy, on_step=lambda *step: steps.append(step))
    return steps


def known_from_s(steps: list[Step], differing: frozenset[int]) -> float:
    """When the first of these requests finishes: from then on their lengths are known."""
    request_of = {a.attempt_id: a.request_id for _, _, actions in steps for a in actions if isinstance(a, Dispatch)}
    ends_s = (now_s for now_s, e, _ in steps if isinstance(e, Finished) and request_of[e.attempt_id] in differing)
    return next(ends_s, inf)


def longest_lag_s(pair: Pair, max_in_flight: int) -> float:
    """By how much an end may be seen later than it frees its place, and others' tokens feel it."""
    longest = max(request.input_tokens for request in pair.first)
    curves = [speed_curve(pool.deployment) for pool in fleet(max_in_flight).pools.values()]
    return max(curve.overhead_s(longest, jobs=max_in_flight) for curve in curves)


def until_known(pair: Pair, max_in_flight: int, policy: Policy) -> tuple[list[Step], list[Step]]:
    """Both runs, up to where either could have learnt of a difference."""
    runs = [steps_of(requests, max_in_flight, policy) for requests in (pair.first, pair.second)]
    end_s = min(known_from_s(steps, pair.differing) for steps in runs) - longest_lag_s(pair, max_in_flight)
    first, second = (list(takewhile(lambda step: step[0] < end_s, steps)) for steps in runs)
    return first, second


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@settings(max_examples=40, deadline=None)
@given(pair=pairs(), max_in_flight=st.integers(1, 4))
def test_decisions_are_the_same_until_a_length_that_differs_is_known(
    policy: Policy, pair: Pair, max_in_flight: int
) -> None:
    first, second = until_known(pair, max_in_flight, policy)
    assert first == second


def test_the_oracle_does_see_lengths_and_is_caught() -> None:
    """The test above can fail: a predictor that knows breaks it at once."""
    first = [Request(0.1 * i, "chat", 1000, 200) for i in range(20)]
    second = [replace(request, output_tokens=400) for request in first]
    pair = Pair(first, second, frozenset(range(1, 21)))
    for policy, caught in ((PRICES, False), (ORACLE, True)):
        one, other = until_known(pair, 4, policy)
        assert len(one) > 1
        assert (one != other) is caught


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_arrival_says_the_clients_ceiling_and_never_the_length(output_tokens: int, ceiling: int) -> None:
    request = Request(0.0, "chat", 100, min(output_tokens, 5000))
    for said, expected in ((request, None), (replace(request, max_output_tokens=ceiling), ceiling)):
        (_, event, _), *_ = steps_of([said], 1, PRICES)
        assert isinstance(event, Arrived)
        assert event == Arrived(1, "chat", 100, max_output_tokens=expected)


def test_an_arrival_has_no_field_for_a_length() -> None:
    fields = {"request_id", "workload_class", "input_tokens", "tenant", "model", "max_output_tokens", "streamed"}
    context = {"prefix", "prefix_block_tokens", "session"}  # of the input, and of what came before
    needs = {
        "unfit",
        "resizable",
        "value_of_time_usd_per_s",
        "held_bytes",
    }  # who can serve it, at what price
    assert set(Arrived.__struct_fields__) == fields | context | needs


@given(st.floats(0.0, 1e6), st.floats(1e-3, 1e6))
def test_a_signal_from_the_future_is_refused(now_s: float, ahead_s: float) -> None:
    engine = PolicyEngine(fleet(1), rng.stream(0, "policy"))
    engine.handle(now_s, SignalReceived("h100-1", "queue_depth", 3.0, now_s))
    with pytest.raises(InvariantError, match="from the future"):
        engine.handle(now_s, SignalReceived("h100-1", "queue_depth", 9.0, now_s + ahead_s))
    (view,) = (b for b in engine.view().backends if b.name == "h100-1")
    assert view.signals["queue_depth"].value == 3.0, "what was refused is not kept"


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 10.0)), min_size=1, max_size=20))
def test_the_newest_signal_is_kept_whatever_order_they_come_in(signals: list[tuple[float, float]]) -> None:
    engine = PolicyEngine(fleet(1), rng.stream(0, "policy"))
    for as_of_s, value in signals:
        engine.handle(100.0, SignalReceived("h100-1", "queue_depth", value, as_of_s))
    (view,) = (b for b in engine.view().backends if b.name == "h100-1")
    assert view.signals["queue_depth"].as_of_s == max(as_of_s for as_of_s, _ in signals)
