"""What a plan costs by `cost.tco`: from a solution's units and flows to quantities, and from those to money."""

from __future__ import annotations

import numpy as np

from headrace.cost import Line, Quantities, Tco, tco, unit_of
from headrace.plan.build import Built
from headrace.plan.solution import Solution
from headrace.plan.supply import capacity_contract
from headrace.plan.uses import cached_fraction
from headrace.units import SECONDS_PER_HOUR


def recomputed(built: Built, solution: Solution) -> Tco:
    """The plan's total cost of ownership, from its quantities alone.

    At list prices and without an outlook's price factor: of the scenario itself.
    """
    signed = {one.name: one.min_usd for one in built.problem.contracts if one.name in solution.signed and one.min_usd}
    lines = {one.name: _line(built, solution, index) for index, one in enumerate(built.supplies)}
    return tco(lines, signed)


def _line(built: Built, solution: Solution, index: int) -> Line:
    supply = built.supplies[index]
    stages = tuple(_quantities(built, solution, index, stage) for stage in range(len(built.stages)))
    return Line(
        supply.offer.terms,
        unit_of(supply.offer.deployment),
        stages,
        capacity_contract(supply.offer, built.scenario.contracts),
        supply.discount,
        supply.contract,
    )


def _quantities(built: Built, solution: Solution, index: int, stage: int) -> Quantities:
    cells, offer = built.problem.cells, built.offer(index)
    hours = np.array([one.hours if one.stage == stage else 0.0 for one in built.problem.periods])
    requests = solution.flow[:, index, :] @ hours * SECONDS_PER_HOUR
    inputs = requests * [cell.input_tokens for cell in cells]
    cached = [cached_fraction(offer, built.planned_class(k)) for k in range(len(cells))]
    busy_s = [built.points[k, index].busy_s if (k, index) in built.points else 0.0 for k in range(len(cells))]
    return Quantities(
        float(solution.units[index] @ hours),
        float(requests @ busy_s),
        float(inputs.sum()),
        float(inputs @ cached),
        float(requests @ [cell.output_tokens for cell in cells]),
    )
