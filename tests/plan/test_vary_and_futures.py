"""A changed problem is what it says: relaxed, restricted or priced; futures judge a plan without changing it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import quantiles

import numpy as np
import pytest

from headrace.fleet.scenario import Interval, ShareUnit
from headrace.plan.build import Outlook
from headrace.plan.futures import drawn_factor, judged, uncovered
from headrace.plan.problem import Budget, Candidate, Cell, Contract, Period, Problem, ShareBound, Use
from headrace.plan.solution import Solution
from headrace.plan.solve import Settings, solve
from headrace.plan.vary import (
    committed,
    held_in_stage,
    priced,
    waiting,
    with_peaks,
    with_share,
    with_unserved,
    without,
    without_limit,
)

WORK = {ShareUnit.REQUESTS: 1.0, ShareUnit.OUTPUT_TOKENS: 10.0}


def problem(rate: float = 3.0) -> Problem:
    """Two stages of a day; units that stay, at 1 USD an hour and a request a second each, and an API at 0.001 USD."""
    use = Use(1.0, 0.0, 0.1, 0.01, 1.0, 1.0)
    own = Candidate("own", "A", "x", "s", {0: use}, (1.0, 1.0), keeps=True, max_units=(9.0, 9.0))
    rent = Candidate("rent", "B", "x", "t", {0: use}, (2.0, 2.0), elastic=True, max_units=(9.0, 9.0))
    api = Candidate("api", "C", "y", "u", {0: Use(0.0, 0.001, 0.1, 0.01, 0.2, 0.0)}, contract="deal")
    return Problem(
        (Period("a", 0, 12.0), Period("b", 1, 12.0)),
        ("1", "2"),
        (Cell("chat", "k", 1.0, 10.0, (rate, 2.0 * rate), WORK),),
        (own, rent, api),
        (Contract("deal", min_usd=(0.0, 0.0)),),
        shares=(ShareBound("s", ShareUnit.REQUESTS, frozenset({"api"}), at_least=0.1),),
        budgets=(Budget("b", 1e6),),
    )


def solved(asked: Problem) -> Solution:
    return solve(asked, Settings(1e-6, 30.0, 1))


def cost(asked: Problem) -> float:
    return solved(asked).money.objective_usd


def part(plan: Solution, name: str) -> float:
    k = [candidate.name for candidate in plan.problem.candidates].index(name)
    return float(plan.flow[:, k].sum() / plan.flow.sum())


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_fixed_share_is_exactly_that(share: float) -> None:
    plan = solved(with_share(problem(), "s", ShareUnit.REQUESTS, frozenset({"api"}), share))
    assert part(plan, "api") == pytest.approx(share, abs=1e-6)
    assert share < 1.0 or plan.units.sum() == 0.0


def test_no_share_is_cheaper_than_the_best_plan_and_one_of_them_is_it() -> None:
    free = cost(without_limit(problem(), "s"))
    costs = [cost(with_share(problem(), "s", ShareUnit.REQUESTS, frozenset({"api"}), s)) for s in (0.0, 0.1, 0.5)]
    assert min(costs) >= free - 1e-6
    assert costs[0] == pytest.approx(free)  # units are cheaper than the API for this traffic


def test_dropping_a_limit_or_an_offer_moves_the_cost_the_right_way() -> None:
    assert cost(without_limit(problem(), "s")) <= cost(problem()) + 1e-6
    assert cost(without(problem(), {"own"})) >= cost(problem()) - 1e-6


def test_prices_scale_with_their_factor() -> None:
    names = frozenset(candidate.name for candidate in problem().candidates)
    assert cost(priced(problem(), names, 1.5)) == pytest.approx(1.5 * cost(problem()))


def test_a_committed_plan_is_operated_as_it_was_signed() -> None:
    plan = solved(problem())
    again = solved(committed(problem(), plan))
    assert again.money.objective_usd == pytest.approx(plan.money.objective_usd)
    busier = solved(committed(problem(4.0), plan))
    own = [held_in_stage(plan, 0, stage) for stage in (0, 1)]
    assert [held_in_stage(busier, 0, stage) for stage in (0, 1)] == own
    assert busier.signed == plan.signed


def test_waiting_takes_on_nothing_lasting_at_first() -> None:
    plan = solved(waiting(problem()))
    assert plan.units[0, 0] == 0.0
    assert plan.units[0, 1] > 0.0
    assert plan.money.objective_usd >= cost(problem()) - 1e-6


def test_what_cannot_be_served_is_counted_and_not_paid_for() -> None:
    """Three requests a second on units for one, and no API: two thirds are left over at first, five sixths then."""
    small = without(problem(), {"rent", "api"})
    small = replace(small, shares=())
    plan = solved(with_unserved(replace(small, cells=(replace(small.cells[0], rate_per_s=(1.0, 1.0)),))))
    assert part(plan, "unserved") == 0.0
    plan = replace(plan, problem=small)
    found = judged(small, plan, Outlook(), solved)
    assert found.missed
    assert found.unserved["chat"] == pytest.approx(1.0 - 2.0 / 9.0)
    assert found.spent_usd == pytest.approx(24.0)


def test_a_plan_that_is_good_enough_misses_nothing() -> None:
    plan = solved(problem())
    found = judged(problem(), plan, Outlook(), solved)
    assert not found.missed
    assert found.objective_usd <= plan.money.objective_usd + 1e-6  # shares and budgets bind a plan, not its operation


def test_a_covered_peak_is_held_for_and_costs_only_what_holds_it() -> None:
    base = replace(without(problem(), {"rent", "api"}), shares=())
    peak = with_peaks(base, "peak", 1, np.array([8.0]))
    plan = solved(peak)
    assert held_in_stage(plan, 0, 1) == 8.0
    seen = uncovered(base, plan)
    assert seen.flow.shape == (1, 3, 2)
    assert seen.money.objective_usd == pytest.approx(12.0 * (3.0 + 8.0), rel=1e-3)


def test_a_drawn_factor_has_its_interval_at_the_ends_of_80_percent() -> None:
    random = Random(1)
    drawn = [drawn_factor(Interval(0.5, 2.0), random) for _ in range(20_000)]
    tenths = quantiles(drawn, n=10)
    assert (tenths[0], tenths[-1]) == (pytest.approx(0.5, rel=0.03), pytest.approx(2.0, rel=0.03))
    assert drawn_factor(Interval(), random) == 1.0
