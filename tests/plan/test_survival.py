"""The loss of a vendor: rows in the units alone say what the flows of that day would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from instances import large

from headrace.plan.check import violations
from headrace.plan.problem import Candidate, Cell, Period, Problem, Survival, Use
from headrace.plan.solve import Settings, solve
from headrace.plan.survival import Loss
from headrace.plan.tables import Tables

LOSS = Survival("without a", frozenset({"a"}), {"chat": 0.6}, utilization=0.9)


def problem(**changes: object) -> Problem:
    """10 then 20 requests/s, a second of a unit each; b is dearer."""
    uses = {0: Use(1.0, 0.0, 0, 0, 0, 0.75)}
    candidates = [Candidate(n, n, "s", "x", uses, (usd,)) for n, usd in (("a", 1.0), ("b", 2.5))]
    periods = (Period("night", 0, 1.0), Period("day", 0, 1.0))
    cells = (Cell("chat", "all", 1, 1, (10.0, 20.0)),)
    return replace(Problem(periods, ("all",), cells, tuple(candidates), survivals=(LOSS,)), **changes)


def test_what_is_left_holds_the_accepted_level_of_the_busiest_period() -> None:
    """0.6 * 20 requests/s * 0.75 s at 90 % are 10 units of b; the other 10 of the day's 20 are a's."""
    plan = solve(problem(), Settings(gap=0.0))
    assert plan.units.tolist() == [[10.0, 10.0], [10.0, 10.0]]


def test_without_the_loss_the_dear_vendor_gets_nothing() -> None:
    assert solve(problem(survivals=()), Settings(gap=0.0)).units[1].tolist() == [0.0, 0.0]


def test_elastic_units_are_held_in_each_period_for_its_own_loss() -> None:
    given = problem()
    a, b = given.candidates
    plan = solve(replace(given, candidates=(a, replace(b, elastic=True))), Settings(gap=0.0))
    assert plan.units[1].tolist() == [5.0, 10.0]


@pytest.mark.parametrize(("units", "enough"), [(10.0, True), (9.999, False)])
def test_a_row_is_broken_exactly_where_units_are_short(units: float, enough: bool) -> None:
    given = problem()
    loss = Loss(given, Tables.of(given), LOSS)
    held = np.array([0.0, units])
    rows = loss.broken(held, np.zeros(0))
    assert (rows == []) is enough
    assert all(not row.holds(held, np.zeros(0)) for row in rows)


def test_a_loss_that_takes_all_that_serves_a_cell_has_no_plan() -> None:
    given = problem()
    loss = Loss(given, Tables.of(given), replace(LOSS, lost=frozenset({"a", "b"})))
    assert [row.least for row in loss.broken(np.array([100.0, 100.0]), np.zeros(0))] == [1.0]


def test_rows_that_were_found_hold_for_every_plan_that_survives() -> None:
    """Rows cut nothing off: the units of a plan that the checker finds good satisfy each row that others broke."""
    given = large(12, 2, 8)
    plan, tables, rng = solve(given, Settings(gap=0.01)), Tables.of(given), np.random.default_rng(1)
    assert violations(plan) == []
    period = [int(np.argmax(tables.slot_of[c] == slot)) for slot, c in enumerate(tables.slot_candidate)]
    good = plan.units[tables.slot_candidate, period]
    signed = np.array([float(contract.name in plan.signed) for contract in given.contracts])
    losses = [Loss(given, tables, survival) for survival in given.survivals]
    broken = [
        row for loss in losses for _ in range(5) for row in loss.broken(good * rng.uniform(0.0, 1.0, len(good)), signed)
    ]
    assert len(broken) > 10
    assert all(row.holds(good, signed) for row in broken)
