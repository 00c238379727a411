"""The plan of least cost: against brute force on tiny problems, and by the laws that hold on any."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
from brute_force import least_usd
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import large, problems, small

from headrace.errors import InfeasiblePlan, NoPlanInTime
from headrace.plan.check import violations
from headrace.plan.money import money
from headrace.plan.problem import Candidate, Problem
from headrace.plan.solution import Ending, Solution
from headrace.plan.solve import Progress, Settings, solve

EXACT = Settings(gap=1e-7, threads=1)


def cost_usd(problem: Problem) -> float:
    """Infinite: no plan."""
    try:
        return solve(problem, EXACT).money.objective_usd
    except InfeasiblePlan:
        return math.inf


@settings(max_examples=60)
@given(problems())
def test_a_plan_costs_what_trying_everything_finds(problem: Problem) -> None:
    assert cost_usd(problem) == pytest.approx(least_usd(problem), rel=1e-5, abs=1e-7)


@settings(max_examples=60)
@given(problems())
def test_a_plan_keeps_every_constraint_and_its_cost_is_what_its_quantities_cost(problem: Problem) -> None:
    try:
        plan = solve(problem, EXACT)
    except InfeasiblePlan:
        return
    assert violations(plan) == []
    again = money(problem, plan.units, plan.flow, plan.signed)
    assert plan.money.objective_usd == again.objective_usd
    assert plan.bound_usd <= again.objective_usd <= plan.bound_usd * (1 + 2e-7) + 1e-9


@settings(max_examples=60)
@given(problems())
def test_a_tighter_slo_never_lowers_cost(problem: Problem) -> None:
    assert cost_usd(_slower(problem, 1.3)) >= cost_usd(problem) * (1 - 1e-5)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_a_constraint_never_lowers_cost(seed: int) -> None:
    limited = small(Random(seed))
    free = replace(limited, shares=(), power=(), concentrations=(), survivals=(), budgets=())
    assert cost_usd(limited) >= cost_usd(free) * (1 - 1e-5)


@settings(max_examples=60)
@given(problems())
def test_more_on_offer_never_raises_cost(problem: Problem) -> None:
    assert cost_usd(replace(problem, candidates=tuple(map(_more, problem.candidates)))) <= cost_usd(problem) * (
        1 + 1e-5
    )


def test_the_same_problem_gives_the_same_bytes() -> None:
    first, second = (solve(large(24, 2, 8), Settings(gap=1e-3)) for _ in range(2))
    assert _bytes(first) == _bytes(second)


def test_a_large_problem_keeps_every_constraint_within_the_gap() -> None:
    plan = solve(large(48, 3, 10, stages=2), Settings(gap=0.01))
    assert violations(plan) == []
    assert plan.ending is Ending.OPTIMAL
    assert 0.0 <= plan.gap <= 0.01


def test_progress_tells_incumbent_bound_and_gap_and_the_bound_never_falls() -> None:
    seen: list[Progress] = []
    plan = solve(large(24, 2, 8), Settings(gap=1e-3), seen.append)
    bounds = [progress.bound_usd for progress in seen]
    assert bounds == sorted(bounds)
    assert seen[-1].incumbent_usd == pytest.approx(plan.money.objective_usd, rel=1e-6)
    assert seen[-1].gap == pytest.approx(plan.gap, abs=1e-6)


def test_without_time_there_is_no_plan_and_that_is_no_conflict() -> None:
    with pytest.raises(NoPlanInTime, match="allow more time"):
        solve(large(24, 2, 8), Settings(time_limit_s=0.0))


def _slower(problem: Problem, factor: float) -> Problem:
    def slowed(candidate: Candidate) -> Candidate:
        uses = {
            cell: replace(
                use,
                unit_s=use.unit_s * factor,
                degraded_unit_s=None if use.degraded_unit_s is None else use.degraded_unit_s * factor,
            )
            for cell, use in candidate.uses.items()
        }
        return replace(candidate, uses=uses)

    return replace(problem, candidates=tuple(map(slowed, problem.candidates)))


def _more(candidate: Candidate) -> Candidate:
    limit = candidate.requests_per_s
    most = tuple(None if units is None else units + 1.0 for units in candidate.max_units)
    return replace(candidate, max_units=most, requests_per_s=None if limit is None else 2.0 * limit)


def _bytes(plan: Solution) -> tuple[bytes, bytes, frozenset[str], str]:
    return plan.units.tobytes(), plan.flow.tobytes(), plan.signed, repr(plan.prices)
