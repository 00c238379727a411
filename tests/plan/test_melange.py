"""The planner against Mélange's integer program (arXiv 2404.14527) on instances that both can say.

A slice goes to one type there and may be divided here, so that the planner's best plan never costs more; it is asked
for a gap of 0.1 %. `make bench-plan` runs the whole grid.
"""

from __future__ import annotations

import pytest
from melange import as_problem, instance, melange_usd

from headrace.plan.check import violations
from headrace.plan.solve import Settings, solve

GRID = [(seed, types, rate) for types in (2, 4) for rate in (10.0, 30.0, 100.0, 300.0, 1000.0) for seed in (1, 2)]


@pytest.mark.parametrize(("seed", "types", "rate_per_s"), GRID)
def test_a_plan_costs_no_more_than_melange(seed: int, types: int, rate_per_s: float) -> None:
    given = instance(seed, types, rate_per_s)
    plan = solve(as_problem(given), Settings(gap=0.001))
    assert violations(plan) == []
    melange = melange_usd(given)
    assert melange.proven
    assert plan.money.objective_usd <= 1.001 * melange.usd
