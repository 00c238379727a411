"""One thing at a time: the best plan with demand, growth, prices or speed at either end of its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.fleet.scenario import Interval
from headrace.plan.build import Built, Outlook, build
from headrace.plan.problem import Problem
from headrace.plan.vary import priced
from headrace.study.plan.answer import Swing
from headrace.study.plan.desk import Desk, TimeIsUp


@dataclass(frozen=True, slots=True)
class Lever:
    """Something that may turn out otherwise, from one end of an interval to the other."""

    what: str
    interval: Interval
    problem: Callable[[float], Problem]
    low: str
    high: str


def swings(desk: Desk) -> list[Swing]:
    """Demand, growth, prices, speed, and each vendor's prices alone."""
    found = []
    for lever in _levers(desk.built):
        desk.told(f"solving with {lever.what} low and high")
        try:
            costs = [desk.cost_usd(lever.problem(end)) for end in (lever.interval.low, lever.interval.high)]
        except TimeIsUp:
            desk.clock.left_out.append(f"sensitivity to {lever.what}")
            continue
        found.append(Swing(lever.what, lever.low, lever.high, *costs))
    return found


def _levers(built: Built) -> list[Lever]:
    uncertainty, scenario = built.scenario.uncertainty, built.scenario
    named = (
        ("demand", uncertainty.demand, lambda end: build(scenario, Outlook(demand=end)).problem),
        ("growth", uncertainty.growth, lambda end: build(scenario, Outlook(growth=end)).problem),
        ("all prices", uncertainty.price, lambda end: build(scenario, Outlook(price=end)).problem),
    )
    found = [Lever(n, each, at, f"x {each.low:g}", f"x {each.high:g}") for n, each, at in named if each != Interval()]
    at_speed = Interval(-1.0, 1.0), lambda end: build(scenario, Outlook(speed=end)).problem
    found.append(Lever("speed", *at_speed, "slow end", "fast end"))
    price = uncertainty.price
    if price != Interval():
        for vendor in dict.fromkeys(candidate.vendor for candidate in built.problem.candidates):
            names = frozenset(each.name for each in built.problem.candidates if each.vendor == vendor)
            found.append(
                Lever(
                    f"prices of {vendor}",
                    price,
                    lambda end, names=names: priced(built.problem, names, end),  # type: ignore[misc]
                    f"x {price.low:g}",
                    f"x {price.high:g}",
                )
            )
    return found
