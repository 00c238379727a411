"""A problem without a plan names the smallest set of constraints that conflict, in the scenario's words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from instances import problems

from headrace.errors import InfeasiblePlan
from headrace.plan.conflict import Question
from headrace.plan.linear import Linear
from headrace.plan.problem import (
    Budget,
    Candidate,
    Cell,
    Concentration,
    Contract,
    Period,
    PowerLimit,
    Problem,
    ShareBound,
    ShareUnit,
    Survival,
    Use,
)
from headrace.plan.solve import Settings, solve


def conflict(problem: Problem) -> dict[tuple[str, str], str]:
    """What the error says: kind and name, with reason and remedy."""
    with pytest.raises(InfeasiblePlan) as error:
        solve(problem)
    return {(each.kind, each.name): f"{each.reason} | {each.remedy}" for each in error.value.conflict}


def base(**limits: object) -> Problem:
    """10 requests/s need 10 units; two vendors, each with 12 units of 100 W on offer at 1 USD an hour."""
    units = {"usd_per_unit_hour": (1.0,), "unit_w": 100.0, "max_units": (12.0,)}
    candidates = tuple(
        Candidate(name, vendor, "s", "dalles", {0: Use(1.0, 0.0, 0, 0, 0, 1.0)}, **units)
        for name, vendor in (("gpu", "n"), ("wafer", "c"))
    )
    cells = (Cell("chat", "short", 1, 1, (10.0,)),)
    return Problem((Period("hour", 0, 1.0),), ("all",), cells, candidates, **limits)


def test_the_base_has_a_plan() -> None:
    assert solve(base()).money.objective_usd == 10.0


def test_power_and_demand_conflict_and_the_missing_watts_are_named() -> None:
    found = conflict(base(power=(PowerLimit("grid", "dalles", (700.0,), "the permit says so"),), budgets=_decoys()))
    assert set(found) == {("demand", "chat"), ("power", "grid")}
    assert found["power", "grid"] == "the permit says so | allow more power; 300 W more would do"
    assert "at most 70.0% of it" in found["demand", "chat"]


def test_a_share_and_an_offer_conflict() -> None:
    problem = base(
        shares=(ShareBound("half", ShareUnit.REQUESTS, frozenset({"wafer"}), at_least=0.5, reason="the board"),)
    )
    gpu, wafer = problem.candidates
    found = conflict(replace(problem, candidates=(gpu, replace(wafer, max_units=(4.0,)))))
    assert set(found) == {("share", "half, at least"), ("offer", "wafer")}
    assert found["share", "half, at least"] == "the board | move the bound; moved by 10 percentage points it would do"
    assert "1 more units would do" in found["offer", "wafer"]


def test_a_survival_and_power_conflict_whatever_the_demand() -> None:
    """Half of the seconds of what is left may be used: 20 units, where 15 have power."""
    survival = Survival("without n", frozenset({"gpu"}), {"chat": 1.0}, utilization=0.5, reason="no single vendor")
    problem = base(survivals=(survival,), power=(PowerLimit("grid", None, (1500.0,), "the permit"),))
    candidates = tuple(replace(candidate, max_units=()) for candidate in problem.candidates)
    found = conflict(replace(problem, candidates=candidates))
    assert set(found) == {("survival", "without n"), ("power", "grid")}
    assert found["survival", "without n"].startswith("no single vendor | ")


def test_a_class_that_nothing_serves_is_a_conflict_of_its_own() -> None:
    problem = base()
    cells = (*problem.cells, Cell("code", "long", 1, 1, (1.0,)))
    assert set(conflict(replace(problem, cells=cells))) == {("demand", "code")}


def test_a_budget_conflicts_with_a_contract_that_is_signed() -> None:
    problem = base(contracts=(Contract("deal", fee_usd=50.0, must_sign=True),), budgets=(Budget("purse", 40.0),))
    found = conflict(problem)
    assert set(found) == {("contract", "deal"), ("budget", "purse")}
    assert "20 USD more would do" in found["budget", "purse"]


def test_whole_units_can_conflict_where_divisible_ones_do_not() -> None:
    problem = base(power=(PowerLimit("grid", None, (950.0,)),))
    cells = (replace(problem.cells[0], rate_per_s=(9.5,)),)
    assert set(conflict(replace(problem, cells=cells))) == {("demand", "chat"), ("power", "grid")}


def test_of_two_conflicts_the_smaller_one_is_named() -> None:
    problem = base(
        concentrations=(Concentration("balance", ShareUnit.POWER, 0.4, reason="no vendor above 40 %"),),
        power=(PowerLimit("grid", None, (700.0,)),),
        budgets=(Budget("purse", -1.0),),
    )
    assert set(conflict(problem)) == {("budget", "purse")}


@settings(max_examples=80)
@given(problems())
def test_every_problem_has_a_plan_or_a_conflict_without_which_it_may(problem: Problem) -> None:
    """Asked of random problems: the conflict is never empty, and no part of it conflicts by itself."""
    try:
        solve(problem, Settings(gap=1e-3, threads=1))
    except InfeasiblePlan as error:
        named = {(each.kind, each.name) for each in error.conflict}
        question = Question(Linear.of(problem))
        numbers = frozenset(n for n, limit in enumerate(question.limits) if (limit.kind, limit.name) in named)
        assert numbers
        assert not question.feasible(numbers)
        assert all(question.feasible(numbers - {number}) for number in numbers)


def _decoys() -> tuple[Budget, ...]:
    return (Budget("ample", 1000.0), Budget("ampler", 2000.0))
