"""What one more unit of a limit is worth: duals with the integers fixed, against differences of the cost itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from instances import problems, small

from headrace.errors import InfeasiblePlan
from headrace.plan.linear import Linear
from headrace.plan.problem import Candidate, Cell, Contract, Period, Problem, ShareBound, ShareUnit, Use
from headrace.plan.program import Program
from headrace.plan.solution import LimitPrice, Solution
from headrace.plan.solve import Settings, solve
from headrace.plan.variables import Model

STEP = 1e-5
KNOWN_WORK = (ShareUnit.REQUESTS, ShareUnit.OUTPUT_TOKENS, ShareUnit.COMPUTE)
Change = Callable[[float], Problem]


def fixed(problem: Problem, plan: Solution) -> tuple[Linear, Program]:
    """The linear program of a problem with the integers of a plan."""
    linear = Linear.of(problem)
    tables, columns = linear.tables, linear.program.columns
    period = [int(np.argmax(tables.slot_of[c] == slot)) for slot, c in enumerate(tables.slot_candidate)]
    units = plan.units[tables.slot_candidate, period] if period else np.zeros(0)
    signed = np.array([float(contract.name in plan.signed) for contract in problem.contracts])
    program = linear.program.with_bounds(columns["units"], units, units)
    return linear, program.with_bounds(columns["signed"], signed, signed)


def cost_usd(problem: Problem, plan: Solution) -> float:
    """The least cost with the integers of a plan; infinite: there is none."""
    linear, program = fixed(problem, plan)
    point = program.relaxed()
    return math.inf if point is None else point.objective * linear.money_usd


def assert_between_differences(price: LimitPrice, cost: Callable[[float], float], step: float) -> None:
    """The price lies between the two one-sided differences; where they are one, it is that one."""
    here, below, above = cost(0.0), cost(-step), cost(step)
    scale = 1e-4 * max(abs(price.usd_per_unit), abs(here) / max(step / STEP, 1e-9) * 1e-4)
    assert (here - below) / step - scale <= price.usd_per_unit <= (above - here) / step + scale, price


@settings(max_examples=100)
@given(problems().filter(lambda problem: not Model(problem).exact))  # whose integers are all in the plan
def test_prices_are_the_one_sided_differences_of_the_scenarios_own_figures(problem: Problem) -> None:
    try:
        plan = solve(problem, Settings(gap=1e-7, threads=1))
    except InfeasiblePlan:
        return
    for price, change, step in _changes(problem, plan):
        assert_between_differences(price, lambda by, change=change: cost_usd(change(by), plan), step)


@settings(max_examples=60)
@example(small(Random(540)))  # a share of power, in which nothing but units counts
@given(problems().filter(lambda problem: not Model(problem).exact))  # whose integers are all in the plan
def test_prices_of_rows_are_the_one_sided_differences_of_the_program(problem: Problem) -> None:
    try:
        plan = solve(problem, Settings(gap=1e-7, threads=1))
    except InfeasiblePlan:
        return
    linear, program = fixed(problem, plan)
    prices = iter([price for price in plan.prices if price.kind not in ("demand", "slo")])
    for limit in (limit for limit in linear.limits if limit.kind != "demand"):
        for number, row in enumerate(program.rows[limit.rows].tolist()):
            price, seconds = next(prices), linear.tables.seconds[number] if limit.lasting else 1.0
            side = program.row_scale[row] / limit.per_row / seconds

            def cost(by: float, row: int = row, side: float = side) -> float:
                low, high = program.row_lower.copy(), program.row_upper.copy()
                low[row], high[row] = low[row] + by * side, high[row] + by * side
                point = replace(program, row_lower=low, row_upper=high).relaxed()
                return math.inf if point is None else point.objective * linear.money_usd

            there = limit.contract in (None, *plan.signed)
            if there and limit.kind in ("capacity", "rate limit", "commitment", "share", "budget"):
                assert_between_differences(price, cost, STEP / side * program.row_scale[row])


def test_a_share_costs_the_difference_between_the_two_ways_to_serve() -> None:
    """10 requests/s for an hour at 2 or 3 USD per thousand; a quarter must go the dear way."""
    plan = solve(_two_ways(shares=(ShareBound("quarter", ShareUnit.REQUESTS, frozenset({"dear"}), at_least=0.25),)))
    assert plan.money.objective_usd == pytest.approx(36.0 * (2.0 + 0.25))
    assert _price(plan, "share", "quarter, at least") == pytest.approx(0.001)


@pytest.mark.parametrize(("promised_usd", "usd", "price"), [(100.0, 105.0 + 1 / 3, 1 / 3), (200.0, 200.0, 1.0)])
def test_a_commitment_costs_what_it_moves_and_a_dollar_a_dollar_beyond_all_use(
    promised_usd: float, usd: float, price: float
) -> None:
    """All traffic the dear way is 108 USD: up to there a dollar promised takes 0.67 from the cheap way."""
    problem = _two_ways(contracts=(Contract("deal", min_usd=(promised_usd,), must_sign=True),))
    cheap, dear = problem.candidates
    plan = solve(replace(problem, candidates=(cheap, replace(dear, contract="deal"))))
    assert plan.money.objective_usd == pytest.approx(usd)
    assert _price(plan, "commitment", "deal, all") == pytest.approx(price)


def test_an_slo_that_takes_twice_the_seconds_pushes_traffic_to_the_dear_way() -> None:
    """8 of 10 requests/s fit on a unit of a second each 0.1 s; the rest costs 3 USD per thousand more."""
    own = Candidate("own", "v", "s", "n", {0: Use(0.1, 0.0, 0, 0, 0)}, (1.0,), max_units=(1.0,), utilization=0.8)
    dear = Candidate("dear", "w", "s", "n", {0: Use(0.0, 0.003, 0, 0, 0)})
    plan = solve(Problem(_hour(), ("all",), (Cell("chat", "b", 1, 1, (10.0,)),), (own, dear)))
    assert _price(plan, "capacity", "own, hour") == pytest.approx(-0.03)
    assert _price(plan, "slo", "chat") == pytest.approx(8.0 * 3600.0 * 0.003)
    assert _price(plan, "demand", "chat") == pytest.approx(0.003)


def _changes(problem: Problem, plan: Solution) -> Iterator[tuple[LimitPrice, Change, float]]:
    """Prices of the plan with the change of the problem that they speak of, and a small step of it."""
    for price in plan.prices:
        if price.kind == "demand" and not problem.survivals:
            requests = _requests(problem, price.name)
            if requests > 0.0:
                yield price, lambda by, n=price.name, r=requests: _busier(problem, n, 1 + by / r), STEP * requests
        elif price.kind == "slo":
            yield price, lambda by, n=price.name: _slower(problem, n, 1.0 + by), STEP
        elif price.kind == "budget":
            budget = problem.budgets[0]
            step = STEP * budget.max_usd
            yield price, lambda by, b=budget: replace(problem, budgets=(replace(b, max_usd=b.max_usd + by),)), step
        elif price.kind == "share" and problem.shares[0].of in KNOWN_WORK:
            whole = _work(problem, problem.shares[0])
            yield price, lambda by, w=whole: _shared(problem, by / w), STEP * whole
        elif price.kind == "commitment":
            yield price, lambda by, n=price.name: _committed(problem, n, by), STEP


def _requests(problem: Problem, workload_class: str) -> float:
    own = [cell for cell in problem.cells if cell.workload_class == workload_class]
    return sum(r * p.hours * 3600 for c in own for r, p in zip(c.rate_per_s, problem.periods, strict=True))


def _work(problem: Problem, share: ShareBound) -> float:
    each = {ShareUnit.REQUESTS: lambda c: 1.0, ShareUnit.OUTPUT_TOKENS: lambda c: c.output_tokens}
    of = each.get(share.of, lambda c: c.work[share.of])
    pairs = [(c, r, p) for c in problem.cells for r, p in zip(c.rate_per_s, problem.periods, strict=True)]
    return sum(of(c) * r * p.hours * 3600 for c, r, p in pairs)


def _shared(problem: Problem, by: float) -> Problem:
    share = problem.shares[0]
    moved = {k: v + by for k in ("at_least", "at_most") if (v := getattr(share, k)) is not None}
    return replace(problem, shares=(replace(share, **moved),))


def _committed(problem: Problem, name: str, by: float) -> Problem:
    def moved(contract: Contract) -> Contract:
        usd = [
            u + by * (name == f"{contract.name}, {s}") for u, s in zip(contract.min_usd, problem.stages, strict=False)
        ]
        return replace(contract, min_usd=tuple(usd))

    return replace(problem, contracts=tuple(map(moved, problem.contracts)))


def _busier(problem: Problem, workload_class: str, factor: float) -> Problem:
    def scaled(cell: Cell) -> Cell:
        own = factor if cell.workload_class == workload_class else 1.0
        return replace(cell, rate_per_s=tuple(rate * own for rate in cell.rate_per_s))

    return replace(problem, cells=tuple(map(scaled, problem.cells)))


def _slower(problem: Problem, workload_class: str, factor: float) -> Problem:
    def slowed(candidate: Candidate) -> Candidate:
        own = {j for j, cell in enumerate(problem.cells) if cell.workload_class == workload_class}
        uses = {j: replace(u, unit_s=u.unit_s * (factor if j in own else 1.0)) for j, u in candidate.uses.items()}
        return replace(candidate, uses=uses)

    return replace(problem, candidates=tuple(map(slowed, problem.candidates)))


def _hour() -> tuple[Period, ...]:
    return (Period("hour", 0, 1.0),)


def _two_ways(**limits: object) -> Problem:
    ways = [Candidate(n, n, "s", "n", {0: Use(0.0, usd, 0, 0, 0)}) for n, usd in (("cheap", 0.002), ("dear", 0.003))]
    return Problem(_hour(), ("all",), (Cell("chat", "b", 1, 1, (10.0,)),), tuple(ways), **limits)


def _price(plan: Solution, kind: str, name: str) -> float:
    return next(price.usd_per_unit for price in plan.prices if (price.kind, price.name) == (kind, name))
