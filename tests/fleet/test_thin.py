"""A thinned fleet keeps whole replicas, and says where that is not the fraction that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.config import load_fleet
from headrace.fleet import Budget, Commitment, CommittedUnit, Fleet, OperatingPoint, Per, Quota, thinned
from headrace.study import sample_notes, waiting_probability


def fleet_of(count: int) -> Fleet:
    fleet = load_fleet(None)
    pools = {
        name: replace(pool, backends=tuple(replace(pool.backends[0], name=f"{name}-{i}") for i in range(count)))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


@given(st.integers(1, 64), st.floats(0.01, 1.0))
def test_every_pool_keeps_the_nearest_whole_number_and_at_least_one(count: int, fraction: float) -> None:
    thin, verdicts = thinned(fleet_of(count), fraction)
    for verdict in verdicts:
        assert verdict.kept == len(thin.pools[verdict.name].backends) == max(round(count * fraction), 1)
        assert verdict.excess == pytest.approx(verdict.kept / (count * fraction))


def test_amounts_and_rate_limits_are_thinned_with_the_traffic() -> None:
    fleet = fleet_of(1)
    point, quota = OperatingPoint(0.1, 1e4, 0.01), Quota(requests_per_minute=100.0, max_in_flight=50)
    service = replace(fleet.deployments["groq-x576"], accelerator=None, observed=point, quota=quota)
    thin, _ = thinned(
        replace(
            fleet,
            pools=fleet.pools | {"groq": replace(fleet.pools["groq"], deployment=service)},
            commitments={"c": Commitment("c", ("groq",), 40.0, CommittedUnit.TOKENS, Per.DAY)},
            budgets={"b": Budget("b", 20.0, Per.DAY)},
        ),
        0.1,
    )
    assert (thin.commitments["c"].amount, thin.budgets["b"].usd) == (4.0, 2.0)
    assert thin.pools["groq"].deployment.quota == Quota(requests_per_minute=10.0, max_in_flight=5)
    assert thin.pools["h100"] == replace(fleet.pools["h100"], backends=fleet.pools["h100"].backends[:1])


def test_rounding_is_said_with_a_sample_that_needs_none() -> None:
    notes = sample_notes(0.1, thinned(fleet_of(8), 0.1)[1])
    assert any("8 backends x 0.1 = 0.8, taken as 1: 1.25 times" in note for note in notes)
    assert any("--sample 0.125" in note for note in notes)
    assert not any("times the capacity" in note for note in sample_notes(0.25, thinned(fleet_of(8), 0.25)[1]))


def test_the_chance_to_wait_is_erlangs() -> None:
    assert waiting_probability(1, 0.8) == pytest.approx(0.8)  # M/M/1: the utilization
    assert waiting_probability(2, 0.5) == pytest.approx(1 / 3)  # M/M/2: 2 rho^2 / (1 + rho)
    assert [waiting_probability(c, 0.8) for c in (1, 8, 64)] == sorted(
        (waiting_probability(c, 0.8) for c in (1, 8, 64)), reverse=True
    )
