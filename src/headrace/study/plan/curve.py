"""The curve over the share, and the prices that would turn the plan: with bands, at the ends of the intervals."""

from __future__ import annotations

from collections.abc import Callable

from headrace.fleet.scenario import ShareUnit
from headrace.plan.build import Built
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.vary import priced, with_share
from headrace.study.plan.answer import BreakEven, Curve, CurvePoint
from headrace.study.plan.desk import EXPECTED, Desk, TimeIsUp, cases, problem_of
from headrace.study.plan.shares import members, share_rules

SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
LOWEST_FACTOR, HIGHEST_FACTOR = 0.125, 8.0
HALVINGS = 5  # of the interval of factors, on a logarithmic scale: to within 7 %
USED = 1e-4  # part of the requests from which on an offer is used


def share_curve(desk: Desk, before: Callable[[Solution], None] = lambda _: None) -> Curve:
    """The best plan at every share of the scenario's first share rule; without one, of what is bought by the token.

    Args:
        before: is shown the plan at a share of 0, as expected, if there is one.
    """
    name, of, what = studied_share(desk.built)
    points: dict[str, list[CurvePoint]] = {}
    for case, outlook in cases(desk.built):
        problem = problem_of(desk, case, outlook)
        points[case] = []
        for share in SHARES:
            desk.told(f"solving {case} at a share of {share:.0%}")
            try:
                found = desk.solve(with_share(problem, name, of, what, share))
            except TimeIsUp:
                desk.clock.left_out.append(f"the curve over the share, {case}, from {share:.0%} on")
                break
            if found is not None and case == EXPECTED and share == 0.0:
                before(found)
            spent, waiting = (None, None) if found is None else (found.money.spent_usd, found.money.waiting)
            points[case].append(CurvePoint(share, spent, waiting))
    best, until = {}, {}
    for case, curve in points.items():
        costs = {p.share: p.spent_usd + (p.waiting_usd or 0.0) for p in curve if p.spent_usd is not None}
        if costs:
            best[case] = min(costs, key=lambda share: (costs[share], share))
            nothing = costs.get(0.0)
            until[case] = max(s for s, usd in costs.items() if nothing is None or usd <= nothing)
    return Curve(name, of.value, sorted(what), points, best, until)


def studied_share(built: Built) -> tuple[str, ShareUnit, frozenset[str]]:
    """Name, unit and candidates of the share that the curve is over."""
    rules = share_rules(built)
    if rules:
        rule = rules[0]
        return rule.name, rule.of, frozenset(built.supplies[k].name for k in members(built, rule))
    apis = frozenset(candidate.name for candidate in built.problem.candidates if candidate.by_token)
    return "by the token", ShareUnit.OUTPUT_TOKENS, apis


def break_evens(desk: Desk) -> list[BreakEven]:
    """For every offer, the factor on its price at which the best plan begins, or ceases, to use it."""
    found = []
    for offer in dict.fromkeys(supply.offer.name for supply in desk.built.supplies):
        names = frozenset(supply.name for supply in desk.built.supplies if supply.offer.name == offer)
        factors: dict[str, float | None] = {}
        always: dict[str, bool] = {}
        for case, outlook in cases(desk.built):
            if case.startswith("price"):
                continue
            problem = problem_of(desk, case, outlook)
            desk.told(f"looking for the break-even price of {offer}, {case}")
            try:
                factors[case], always[case] = _break_even(desk, problem, names)
            except TimeIsUp:
                desk.clock.left_out.append(f"the break-even price of {offer}, {case}")
        if factors:
            found.append(BreakEven(offer, _uses(desk.built.problem, desk.plan, names), factors, always))
    return found


def _break_even(desk: Desk, problem: Problem, names: frozenset[str]) -> tuple[float | None, bool]:
    """By bisection on a logarithmic scale. (None, True): used at every price; (None, False): at none."""

    def used(factor: float) -> bool:
        found = desk.solve(priced(problem, names, factor))
        return found is not None and _uses(problem, found, names)

    if used(HIGHEST_FACTOR):
        return None, True
    if not used(LOWEST_FACTOR):
        return None, False
    low, high = LOWEST_FACTOR, HIGHEST_FACTOR
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if used(middle) else (low, middle)
    return (low * high) ** 0.5, False


def _uses(problem: Problem, plan: Solution, names: frozenset[str]) -> bool:
    """Whether the plan sends work there; what is there in any case and idle is not used."""
    chosen = [k for k, candidate in enumerate(problem.candidates) if candidate.name in names]
    return bool(plan.flow[:, chosen].sum() > USED * plan.flow.sum())
