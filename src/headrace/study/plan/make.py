"""From a scenario to its answer: built, solved, proven, studied, described."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.fleet.scenario import Scenario
from headrace.plan.build import Built, build
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.solve import Progress, Settings, solve
from headrace.study.plan.answer import SCHEMA, PlanAnswer, Studies
from headrace.study.plan.assumptions import assumptions
from headrace.study.plan.curve import break_evens, share_curve
from headrace.study.plan.describe import (
    class_answers,
    contract_answers,
    cost_answer,
    offer_answers,
    price_answers,
    share_answers,
    solve_answer,
)
from headrace.study.plan.desk import Clock, Desk
from headrace.study.plan.findings import Proof
from headrace.study.plan.fleet import busiest_period, planned_fleet
from headrace.study.plan.futures import futures_answer
from headrace.study.plan.limits import rule_costs
from headrace.study.plan.proof import prove
from headrace.study.plan.swings import swings
from headrace.study.plan.traffic import Course, planned_traffic
from headrace.workload import Request

RESOLVE_GAP = 0.01  # of solves whose differences are shown: at least this, or the scenario's own if it is wider


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for beyond the plan.

    Attributes:
        proof: simulate it, and tighten it where it breaks its word.
        studies: solve again for what rules cost, the curve, break-even prices, sensitivity and futures.
        studies_limit_s: time for all of them.
        threads: of the solver.
        period: name of the one that the fleet is for; None: see `Made.fleet`.
    """

    proof: bool = True
    studies: bool = False
    studies_limit_s: float = 600.0
    threads: int = 2
    period: str | None = None


@dataclass(frozen=True, slots=True)
class Watching:
    """Who hears of what goes on."""

    told: Callable[[str], None] = lambda _: None
    solver: Callable[[Progress], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, and the plan that it describes.

    Attributes:
        period: number of the one that was asked for; None: none was.
    """

    answer: PlanAnswer
    built: Built
    solution: Solution
    period: int | None = None

    @property
    def shown(self) -> int:
        """The period that fleet and traffic are of: the one asked for, else the busiest of the first stage."""
        return busiest_period(self.built.problem, 0) if self.period is None else self.period

    def fleet(self) -> Fleet:
        """The fleet of that period; its shares are those of the period if it was asked for, else of its whole stage."""
        periods = self.built.problem.periods
        over = [index for index, period in enumerate(periods) if period.stage == 0] if self.period is None else None
        return planned_fleet(self.built, self.solution, self.shown, over or [self.shown])

    def traffic(self, duration_s: float, block_size: int | None = None) -> Iterator[Request]:
        """Requests as the plan expects them in that period, at the planned load; `block_size`: see `traffic`."""
        course, seed = Course(duration_s, lambda name, at_s: 1.0, 1.0), self.built.scenario.proof.seed
        return planned_traffic(self.built, self.solution, self.shown, course, 1.0, seed, block_size)


def make_plan(scenario: Scenario, texts: Sequence[str], wanted: Wanted, watching: Watching = Watching()) -> Made:
    """Plan a scenario.

    Args:
        texts: of its files, whose comments say where its figures come from.

    Raises:
        InfeasiblePlan: no plan meets the constraints; it names the smallest set that conflicts.
        NoPlanInTime: none was found within the scenario's time limit.
        ConfigError: there is no such period.
        ConfigError, TraceError, ModelRangeError: as `plan.build`.
    """
    watching.told("working out speeds and prices")
    built = build(scenario)
    period = None if wanted.period is None else _period(built, wanted.period)

    def solved(problem: Problem) -> Solution:
        limits = scenario.solver
        return solve(problem, Settings(limits.gap, limits.time_limit_s, wanted.threads), watching.solver)

    watching.told("solving")
    solution, proof = solved(built.problem), Proof("not proven")
    if wanted.proof:
        proven = prove(built, solution, solved, watching.told)
        built, solution, proof = proven.built, proven.solution, proven.proof
    studies, before = Studies(), None
    if wanted.studies:
        studies, before = _studies(built, solution, wanted, watching)
    return Made(_answer(built, solution, proof, studies, before, texts), built, solution, period)


def _period(built: Built, name: str) -> int:
    names = [period.name for period in built.problem.periods]
    if name not in names:
        raise ConfigError("command line", [Fault("--period", f"{name!r} is none; there are: {', '.join(names)}")])
    return names.index(name)


def _studies(built: Built, solution: Solution, wanted: Wanted, watching: Watching) -> tuple[Studies, Solution | None]:
    """Everything that takes solving again, and the plan at a share of 0."""
    limits = built.scenario.solver
    settings = Settings(max(limits.gap, RESOLVE_GAP), limits.time_limit_s, wanted.threads, explain=False)
    clock = Clock(wanted.studies_limit_s)
    desk = Desk(built, solution, lambda problem: solve(problem, settings), settings.gap, clock, watching.told)
    before: list[Solution] = []
    rules = rule_costs(desk)
    curve = share_curve(desk, before.append)
    found = Studies(rules, curve, break_evens(desk), swings(desk), futures_answer(desk), clock.left_out)
    return found, before[0] if before else None


def _answer(
    built: Built, solution: Solution, proof: Proof, studies: Studies, before: Solution | None, texts: Sequence[str]
) -> PlanAnswer:
    scenario, classes = built.scenario, class_answers(built, solution, before)
    return PlanAnswer(
        SCHEMA,
        "plan",
        scenario.name,
        scenario.horizon.start.isoformat(),
        scenario.horizon.years,
        sum(each.requests_per_day for each in classes),
        solve_answer(solution),
        cost_answer(built, solution),
        offer_answers(built, solution),
        contract_answers(built, solution),
        share_answers(built, solution),
        classes,
        price_answers(built, solution),
        proof,
        studies,
        assumptions(texts, built),
    )
