"""A plan in sampled futures, as it is reported: how often it misses, what it costs there, and whether to wait.

Where it misses an SLO in more futures than the scenario allows, the plan that covers enough of them is found too, and
what that insurance costs is said; the plan itself stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from headrace.fleet.dates import MONTHS_PER_YEAR
from headrace.fleet.scenario import Scenario
from headrace.plan.build import Built, Outlook, build
from headrace.plan.futures import Judged, covering, judged, sampled_outlooks, uncovered
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.vary import unconstrained, waiting
from headrace.study.plan.answer import FuturesAnswer
from headrace.study.plan.desk import Desk, TimeIsUp

WAIT_MONTHS = 6  # how long waiting is, where a scenario's own stages leave no time after the first


@dataclass(frozen=True, slots=True)
class Seen:
    """One future: what it is, its problem, and how the plan does in it."""

    outlook: Outlook
    built: Built
    judged: Judged


def futures_answer(desk: Desk) -> FuturesAnswer | None:
    """Judge the plan in the scenario's futures; None where it asks for none, or time ran out before the first."""
    scenario = desk.built.scenario
    seen = list(_seen(desk, desk.plan))
    if not seen:
        return None
    hindsight: list[float | None] = _each(desk, "the best plan", [unconstrained(one.built.problem) for one in seen])
    missed = sum(one.judged.missed for one in seen) / len(seen)
    operated = [one.judged.objective_usd for one in seen]
    answer = FuturesAnswer(
        len(seen),
        scenario.uncertainty.miss_chance,
        missed,
        demand=[one.outlook.demand for one in seen],
        growth=[one.outlook.growth for one in seen],
        price=[one.outlook.price for one in seen],
        speed=[one.outlook.speed for one in seen],
        usd=operated,
        hindsight_usd=hindsight,
        waiting_usd=[None] * len(seen),
        value_of_waiting_usd=None,
        perfect_usd=_mean_gain([None if one.judged.missed else one.judged.objective_usd for one in seen], hindsight),
        waited_months=0,
        noise=desk.gap,
    )
    answer = _with_waiting(desk, answer, seen)
    return _with_cover(desk, answer, seen) if missed > scenario.uncertainty.miss_chance else answer


def _seen(desk: Desk, plan: Solution, scenario: Scenario | None = None) -> list[Seen]:
    """The plan in every future for which there is time."""
    found: list[Seen] = []
    chosen = scenario or desk.built.scenario
    for number, outlook in enumerate(sampled_outlooks(chosen)):
        desk.told(f"operating the plan in future {number + 1} of {chosen.uncertainty.futures}")
        try:
            desk.clock.check()
        except TimeIsUp:
            desk.clock.left_out.append(f"futures from {number + 1} on")
            break
        future = build(chosen, outlook)
        found.append(Seen(outlook, future, judged(future.problem, plan, outlook, desk.solver)))
    return found


def _each(desk: Desk, what: str, problems: list[Problem]) -> list[float | None]:
    """Cost of the best plan of each; None where there is none, or no time for it."""
    costs: list[float | None] = []
    for number, problem in enumerate(problems):
        desk.told(f"{what} in future {number + 1} of {len(problems)}")
        try:
            costs.append(desk.cost_usd(problem))
        except TimeIsUp:
            desk.clock.left_out.append(f"{what} in futures from {number + 1} on")
            return costs + [None] * (len(problems) - number)
    return costs


def _mean_gain(dear: list[float | None], cheap: list[float | None]) -> float | None:
    """Mean of dear - cheap over the futures in which both are known."""
    both = [a - b for a, b in zip(dear, cheap, strict=True) if a is not None and b is not None]
    return sum(both) / len(both) if both else None


def _with_waiting(desk: Desk, answer: FuturesAnswer, seen: list[Seen]) -> FuturesAnswer:
    """Sign all now, or nothing lasting in the first stage: both in stages short enough to wait for one."""
    scenario = desk.built.scenario
    if len(desk.built.stages) == 1:
        scenario = replace(scenario, horizon=replace(scenario.horizon, stage_months=WAIT_MONTHS))
    try:
        now = desk.solve(build(scenario).problem)
    except TimeIsUp:
        now = None
    if now is None:
        return answer
    staged = _seen(desk, now, scenario) if scenario is not desk.built.scenario else seen
    waited = _each(desk, "waiting", [waiting(unconstrained(one.built.problem)) for one in staged])
    signed = [None if one.judged.missed else one.judged.objective_usd for one in staged]
    waited += [None] * (answer.count - len(waited))
    signed += [None] * (answer.count - len(signed))
    return msgspec.structs.replace(
        answer,
        waiting_usd=waited,
        value_of_waiting_usd=_mean_gain(signed, waited),
        waited_months=scenario.horizon.stage_months % MONTHS_PER_YEAR or MONTHS_PER_YEAR,
    )


def _with_cover(desk: Desk, answer: FuturesAnswer, seen: list[Seen]) -> FuturesAnswer:
    """The plan that is good in enough futures: what it costs as expected, and what it still misses."""
    futures = [(one.outlook, one.built) for one in seen]
    try:
        plan = desk.solve(covering(desk.built, futures, [one.judged for one in seen]))
        if plan is None:
            return answer
        plan = uncovered(desk.built.problem, plan)
        again = _seen(desk, plan)
    except TimeIsUp:
        desk.clock.left_out.append("a plan that is good in enough futures")
        return answer
    missed = sum(one.judged.missed for one in again) / len(again) if again else None
    return msgspec.structs.replace(answer, covered=True, covered_usd=plan.money.objective_usd, covered_missed=missed)
