"""Sampled futures: how a plan does when demand, growth, prices and speeds turn out otherwise.

A scenario gives intervals that hold 80 % of futures. Between low and high each factor is drawn log-normally, its 10 %
and 90 % quantiles at the interval's ends; speed is drawn within the speed model's interval, where 0 is as expected and
-1 its slow end. Every quantity has a stream of its own.

    judged       units and contracts as planned; what is elastic, and where traffic goes, adapts to the future
    missed       some demand of some class cannot be served within its SLO by what there is then
    hindsight    the best plan for that future alone: what knowing it would be worth, at most
    waiting      nothing lasting in the first stage; afterwards the best plan for the future that has shown itself

All of them without the scenario's rules (shares, limits, losses): those bind who plans, not who operates what there is.

    value of waiting = mean cost of signing all now - mean cost of waiting          (with what is rented meanwhile)

Source: two-stage stochastic programming with recourse, and the value of perfect information, as in Birge, Louveaux,
Introduction to Stochastic Programming (2011), chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from random import Random

import numpy as np

from headrace.fleet.scenario import Interval, Scenario
from headrace.plan.build import Built, Outlook, build
from headrace.plan.money import money
from headrace.plan.problem import Problem
from headrace.plan.solution import Floats, Solution
from headrace.plan.vary import UNSERVED, committed, unconstrained, with_peaks, with_unserved
from headrace.rng import stream
from headrace.units import SECONDS_PER_HOUR

Z80 = 1.2815515655446004  # 90 % quantile of a normal distribution: 80 % lie within +- this
SERVED = 1e-6  # part of the requests that may be left over for arithmetic's sake

Solve = Callable[[Problem], Solution]


@dataclass(frozen=True, slots=True)
class Judged:
    """How a plan does in one future.

    Attributes:
        spent_usd: over the horizon, requests that nobody can serve not counted; `objective_usd`: with the users' time.
        unserved: by class, part of its requests.
    """

    outlook: Outlook
    spent_usd: float
    objective_usd: float
    unserved: dict[str, float]

    @property
    def missed(self) -> bool:
        """Whether some of it could not be served within its SLO."""
        return any(part > SERVED for part in self.unserved.values())


def sampled_outlooks(scenario: Scenario) -> tuple[Outlook, ...]:
    """`uncertainty.futures` of them; the first so many are the same for every larger number."""
    uncertainty = scenario.uncertainty
    names = ("demand", "growth", "price", "speed")
    streams = {name: stream(uncertainty.seed, f"plan.futures.{name}") for name in names}
    return tuple(
        Outlook(
            drawn_factor(uncertainty.demand, streams["demand"]),
            drawn_factor(uncertainty.growth, streams["growth"]),
            drawn_factor(uncertainty.price, streams["price"]),
            max(-1.0, min(1.0, streams["speed"].gauss(0.0, 1.0) / Z80)),
        )
        for _ in range(uncertainty.futures)
    )


def drawn_factor(interval: Interval, random: Random) -> float:
    """A log-normal factor whose 10 % and 90 % quantiles are the interval's ends."""
    low, high = log(interval.low), log(interval.high)
    return exp(0.5 * (low + high) + (high - low) / (2.0 * Z80) * random.gauss(0.0, 1.0))


def judge(scenario: Scenario, plan: Solution, outlook: Outlook, solve: Solve) -> Judged:
    """Operate a plan in a future. Raises what `build` and `solve` raise."""
    return judged(build(scenario, outlook).problem, plan, outlook, solve)


def judged(problem: Problem, plan: Solution, outlook: Outlook, solve: Solve) -> Judged:
    """Operate a plan in a future whose problem is at hand."""
    future = with_unserved(unconstrained(committed(problem, plan)))
    found = solve(future)
    nobody = [candidate.name for candidate in future.candidates].index(UNSERVED)
    left = found.flow[:, nobody] * _seconds(future)
    unserved: dict[str, float] = {}
    for name in dict.fromkeys(cell.workload_class for cell in future.cells):
        own = [j for j, cell in enumerate(future.cells) if cell.workload_class == name]
        asked = float((np.array([future.cells[j].rate_per_s for j in own]) * _seconds(future)).sum())
        unserved[name] = float(left[own].sum()) / asked if asked > 0.0 else 0.0
    lost_usd = float(found.money.requests[nobody].sum())
    return Judged(outlook, found.money.spent_usd - lost_usd, found.money.objective_usd - lost_usd, unserved)


def covering(built: Built, futures: Sequence[tuple[Outlook, Built]], seen: Sequence[Judged]) -> Problem:
    """The problem with the peaks of futures that a plan must be good in, so that few enough are missed.

    Of the futures that were missed, those with least unserved are covered, as many as `miss_chance` does not allow.
    A future's speed is not the plan's: where it is slower, its rates count for as much more as the slowest of what can
    serve them says.
    """
    allowed = int(built.scenario.uncertainty.miss_chance * len(seen))
    unserved = [sum(each.unserved.values()) for each in seen]
    missed = sorted((k for k, each in enumerate(seen) if each.missed), key=lambda k: (unserved[k], k))
    problem = built.problem
    for k in missed[: max(0, len(missed) - allowed)]:
        future = futures[k][1].problem
        for stage in range(len(problem.stages)):
            peak = _peak(built.problem, future, stage)
            problem = with_peaks(problem, f"future {k + 1}, {problem.stages[stage]}", stage, peak)
    return problem


def uncovered(problem: Problem, plan: Solution) -> Solution:
    """A plan of `covering` in the periods of the problem that it was made of; its money is that of those periods."""
    count = len(problem.periods)
    units, flow = plan.units[:, :count], plan.flow[:, :, :count]
    paid = money(problem, units, flow, plan.signed)
    return replace(plan, problem=problem, units=units, flow=flow, money=paid, prices=())


def _peak(problem: Problem, future: Problem, stage: int) -> Floats:
    """Rates of the future's period that needs most, in unit seconds of the problem at hand."""
    slower = np.array([_slower(problem, future, j) for j in range(len(problem.cells))])
    rates = np.array([cell.rate_per_s for cell in future.cells]) * slower[:, None]
    periods = [index for index, period in enumerate(future.periods) if period.stage == stage]
    need = np.array([_least_unit_s(problem, j) for j in range(len(problem.cells))]) @ rates[:, periods]
    return np.asarray(rates[:, periods[int(np.argmax(need))]])


def _slower(problem: Problem, future: Problem, cell: int) -> float:
    ratios = [1.0]
    for now, then in zip(problem.candidates, future.candidates, strict=True):
        if cell in now.uses and cell in then.uses and now.uses[cell].unit_s > 0.0:
            ratios.append(then.uses[cell].unit_s / now.uses[cell].unit_s)
    return max(ratios)


def _least_unit_s(problem: Problem, cell: int) -> float:
    held = [c.uses[cell].unit_s for c in problem.candidates if cell in c.uses and not c.by_token]
    return min(held, default=0.0)


def _seconds(problem: Problem) -> Floats:
    return np.array([period.hours for period in problem.periods]) * SECONDS_PER_HOUR
