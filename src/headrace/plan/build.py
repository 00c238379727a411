"""From a scenario to the problem that is solved: every rate, second, watt and dollar worked out.

    cells        demand by class, length bucket and period       `demand`, `stages`
    candidates   what can be had, on which terms, at which price  `supply`, `cost.terms`
    uses         what a request of a cell takes of a candidate    `uses`, `operating`
    constraints  the rules, with their reasons                    `rules`

A cell that no candidate may serve within its SLO makes the whole scenario infeasible, whatever is bought: that is said
here, with the reason for each candidate, before anything is solved.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import Conflicting, InfeasiblePlan
from headrace.fleet.scenario import Offer, PlannedClass, Scenario, ShareRule, ShareUnit, Speed
from headrace.perf import compute_rate
from headrace.plan import rules
from headrace.plan.demand import Profile, profile
from headrace.plan.operating import OperatingPoint
from headrace.plan.problem import Cell, Problem
from headrace.plan.stages import Stage, periods_of, rates_of, stages_of
from headrace.plan.supply import Supply, candidate, contracts_of, live_capacity, supplies
from headrace.plan.uses import Answer, answers
from headrace.units import SECONDS_PER_DAY

SLOW_END = -1.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a future differs from what is expected.

    Attributes:
        demand, growth, price: factors; contracts for capacity keep their price.
        speed: -1: the slow end of the speed model's interval, 0: as expected, 1: the fast end.
    """

    demand: float = 1.0
    growth: float = 1.0
    price: float = 1.0
    speed: float = 0.0


@dataclass(frozen=True, slots=True)
class Built:
    """A problem, and what it was made of.

    Attributes:
        supplies: by candidate, in the problem's order.
        points: where a unit is run for a cell, by (cell, candidate); none for what is bought by the token.
    """

    scenario: Scenario
    problem: Problem
    stages: tuple[Stage, ...]
    classes: tuple[PlannedClass, ...]
    supplies: tuple[Supply, ...]
    points: dict[tuple[int, int], OperatingPoint]

    def offer(self, candidate: int) -> Offer:
        """The offer behind a candidate."""
        return self.supplies[candidate].offer

    def planned_class(self, cell: int) -> PlannedClass:
        """The class of a cell."""
        return self.classes[cell]


def build(scenario: Scenario, outlook: Outlook | None = None) -> Built:
    """The problem of a scenario.

    Args:
        outlook: a future; None: what is expected, at the side of the speed interval that the scenario plans with.

    Raises:
        InfeasiblePlan: a part of the demand can be served by no candidate within its SLO; the message says why.
        ConfigError, TraceError: a trace cannot be read, or is empty.
        ModelRangeError: the speed of a candidate is not known.
    """
    if outlook is None:
        unfavourable = scenario.uncertainty.speed is Speed.UNFAVOURABLE
        outlook = Outlook(speed=SLOW_END if unfavourable else 0.0)
    stages = stages_of(scenario.horizon)
    cells, classes = _cells(scenario, stages, outlook)
    supply = supplies(scenario, outlook.price)
    found = [answers(one, cells, classes, scenario, outlook.speed) for one in supply]
    _everything_served(cells, supply, found)
    uses = [{cell: answer.use for cell, answer in enumerate(column) if answer.use is not None} for column in found]
    offers = {one.name: one.offer for one in supply}
    problem = Problem(
        periods_of(scenario.horizon, stages),
        tuple(stage.name for stage in stages),
        cells,
        tuple(candidate(one, use, scenario, stages) for one, use in zip(supply, uses, strict=True)),
        contracts_of(scenario, stages),
        rules.share_bounds(scenario.rules, offers),
        rules.power_limits(scenario.rules, live_capacity(scenario, stages), stages),
        rules.concentrations(scenario.rules),
        rules.survivals(scenario.rules, offers),
        rules.budgets(scenario.rules),
    )
    points = {
        (cell, index): answer.point
        for index, column in enumerate(found)
        for cell, answer in enumerate(column)
        if answer.point is not None
    }
    return Built(scenario, problem, stages, classes, supply, points)


def _cells(
    scenario: Scenario, stages: tuple[Stage, ...], outlook: Outlook
) -> tuple[tuple[Cell, ...], tuple[PlannedClass, ...]]:
    """Every bucket of every class, and the class of each."""
    profiles = [profile(planned, scenario.horizon) for planned in scenario.classes]
    wanted, stated = scenario.requests_per_day, sum(one.requests_per_day for one in profiles)
    scale = outlook.demand * (1.0 if wanted is None else wanted / stated)
    cells: list[Cell] = []
    classes: list[PlannedClass] = []
    for planned, found in zip(scenario.classes, profiles, strict=True):
        growth = planned.growth_per_year * outlook.growth
        own = _class_cells(planned, found.scaled(scale), growth, scenario, stages)
        cells += own
        classes += [planned] * len(own)
    return tuple(cells), tuple(classes)


def _class_cells(
    planned: PlannedClass, found: Profile, growth: float, scenario: Scenario, stages: tuple[Stage, ...]
) -> list[Cell]:
    rates = rates_of(found.rate_per_s, growth, scenario.horizon, stages)
    lengths = zip(found.input_tokens.tolist(), found.output_tokens.tolist(), rates.tolist(), strict=True)
    return [
        Cell(
            planned.name,
            f"{inputs:.0f}/{outputs:.0f}",
            inputs,
            outputs,
            tuple(rate),
            _work(inputs, outputs, scenario),
            planned.workload_class.value_of_time_usd_per_s,
        )
        for inputs, outputs, rate in lengths
    ]


def _work(inputs: float, outputs: float, scenario: Scenario) -> dict[ShareUnit, float]:
    """What a request counts for, in each unit that a share of work can be of; all compute has one reference."""
    work = {ShareUnit.REQUESTS: 1.0, ShareUnit.OUTPUT_TOKENS: outputs}
    for rule in scenario.rules:
        if isinstance(rule, ShareRule) and rule.reference is not None:
            work[ShareUnit.COMPUTE] = compute_rate(rule.reference).work(inputs, outputs)
    return work


def _everything_served(cells: tuple[Cell, ...], supply: tuple[Supply, ...], found: list[list[Answer]]) -> None:
    lines = []
    for index, cell in enumerate(cells):
        column = [answers[index] for answers in found]
        if any(cell.rate_per_s) and all(answer.use is None for answer in column):
            daily = sum(cell.rate_per_s) / len(cell.rate_per_s) * SECONDS_PER_DAY
            lines.append(f"  class {cell.workload_class!r}, {cell.bucket} tokens ({daily:,.0f} requests a day):")
            reasons = {one.offer.name: answer.why_not for one, answer in zip(supply, column, strict=True)}
            lines += [f"    {name}: {why}" for name, why in reasons.items()]
    if lines:
        remedy = "relax the SLO, or offer another:\n" + "\n".join(lines)
        raise InfeasiblePlan([Conflicting("demand", "that no candidate serves within its SLO", "", remedy)])
