"""Where studies of a plan are worked out: each answer is a full solve, so there is a time limit for all together.

What it leaves out is said. A solve ended by the limit makes the answer depend on the machine, as `solve.ending` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from headrace.errors import InfeasiblePlan, NoPlanInTime
from headrace.fleet.scenario import Interval
from headrace.plan.build import Built, Outlook, build
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution

EXPECTED = "expected"

Solver = Callable[[Problem], Solution]
Told = Callable[[str], None]


class TimeIsUp(Exception):  # never leaves `Clock.part`
    """The time for all studies is used up."""


class Clock:
    """Time for all studies together.

    Attributes:
        left_out: what was not answered for lack of it.
    """

    def __init__(self, limit_s: float) -> None:
        self._ends_s = time.monotonic() + limit_s
        self.left_out: list[str] = []

    def check(self) -> None:
        """Raises TimeIsUp."""
        if time.monotonic() > self._ends_s:
            raise TimeIsUp


@dataclass(frozen=True, slots=True)
class Desk:
    """What a study works with: the problem, how it is solved and to which gap, how long there is, who is told."""

    built: Built
    plan: Solution
    solver: Solver
    gap: float
    clock: Clock
    told: Told = lambda _: None

    def solve(self, problem: Problem) -> Solution | None:
        """The best plan; None if there is none. Raises TimeIsUp."""
        self.clock.check()
        try:
            return self.solver(problem)
        except (InfeasiblePlan, NoPlanInTime):
            return None

    def cost_usd(self, problem: Problem) -> float | None:
        """Its objective: money, and the value of time where the scenario sets one."""
        found = self.solve(problem)
        return None if found is None else found.money.objective_usd


def cases(built: Built) -> Iterator[tuple[str, Outlook]]:
    """As expected, and demand and prices at either end."""
    uncertainty = built.scenario.uncertainty
    yield EXPECTED, Outlook()
    for name, interval in (("demand", uncertainty.demand), ("price", uncertainty.price)):
        if interval != Interval():
            yield f"{name} low", Outlook(**{name: interval.low})
            yield f"{name} high", Outlook(**{name: interval.high})


def problem_of(desk: Desk, case: str, outlook: Outlook) -> Problem:
    """The problem of a case; as expected, the plan's own."""
    return desk.built.problem if case == EXPECTED else build(desk.built.scenario, outlook).problem
