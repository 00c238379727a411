"""What the scenario's rules cost: the best plan without each, and with a step of it, beside the plan's own prices.

A price at this plan holds with the integers fixed; a full solve may hold other units. Where the two differ, the
difference is what whole units, and contracts that are signed or not, do to the answer.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from headrace.fleet.scenario import BudgetRule, PowerRule, ShareRule, ShareUnit
from headrace.plan.build import Built
from headrace.plan.problem import Problem
from headrace.plan.vary import without_limit
from headrace.study.plan.answer import RuleCost
from headrace.study.plan.desk import Desk, TimeIsUp
from headrace.units import SECONDS_PER_HOUR

SHARE_STEP, AMOUNT_STEP = 0.01, 0.05  # a share moves by a point, a budget or power by a twentieth


def rule_costs(desk: Desk) -> list[RuleCost]:
    """Every rule: dropped, and moved by a step. A rule for which no time is left has no figures."""
    found = []
    for rule in desk.built.scenario.rules:
        desk.told(f"solving without {rule.name}")
        kind = type(rule).__name__.removesuffix("Rule").lower()
        answer = RuleCost(rule.name, kind, rule.reason, None)
        try:
            answer = _rule_cost(desk, rule.name, answer)
        except TimeIsUp:
            desk.clock.left_out.append(f"what {rule.name} costs")
        found.append(answer)
    return found


def _rule_cost(desk: Desk, name: str, answer: RuleCost) -> RuleCost:
    now_usd, problem = desk.plan.money.objective_usd, desk.built.problem
    if answer.kind == "residency":
        return answer  # it is in what can serve what, and no row of the problem
    free_usd = desk.cost_usd(without_limit(problem, name))
    cost_usd = None if free_usd is None else now_usd - free_usd
    step = _step(desk, name)
    if step is None:
        return msgspec.structs.replace(answer, cost_usd=cost_usd)
    said, moved, amount = step
    moved_usd = desk.cost_usd(moved)
    prices = [
        -p.usd_per_unit if p.name == f"{name}, at least" else p.usd_per_unit  # relaxed, that bound falls
        for p in desk.plan.prices
        if p.name.startswith(f"{name}, ") or p.name == name
    ]
    return msgspec.structs.replace(
        answer,
        cost_usd=cost_usd,
        step=said,
        step_usd=None if moved_usd is None else moved_usd - now_usd,
        price_usd=sum(prices) * amount if prices and answer.kind in ("share", "budget") else None,
    )


def _step(desk: Desk, name: str) -> tuple[str, Problem, float] | None:
    """A relaxed rule: in words, the problem with it, and by how many units of its price it was moved."""
    problem = desk.built.problem
    rule = next(each for each in desk.built.scenario.rules if each.name == name)
    if isinstance(rule, ShareRule):
        lower = None if rule.at_least is None else max(0.0, rule.at_least - SHARE_STEP)
        upper = None if rule.at_most is None else min(1.0, rule.at_most + SHARE_STEP)
        shares = tuple(
            replace(each, at_least=lower, at_most=upper) if each.name == name else each for each in problem.shares
        )
        return "one percentage point", replace(problem, shares=shares), SHARE_STEP * _all_work(desk.built, rule.of)
    if isinstance(rule, PowerRule):
        power = tuple(
            replace(each, max_w=tuple(w * (1.0 + AMOUNT_STEP) for w in each.max_w)) if each.name == name else each
            for each in problem.power
        )
        return "5 % more power", replace(problem, power=power), 0.0
    if isinstance(rule, BudgetRule):
        budgets = tuple(
            replace(each, max_usd=each.max_usd * (1.0 + AMOUNT_STEP)) if each.name == name else each
            for each in problem.budgets
        )
        return "5 % more money", replace(problem, budgets=budgets), rule.max_usd * AMOUNT_STEP
    return None


def _all_work(built: Built, of: ShareUnit) -> float:
    """All work of the horizon in a share's unit; 0 where only a plan knows it."""
    if of in (ShareUnit.SPEND, ShareUnit.POWER):
        return 0.0
    hours = [period.hours for period in built.problem.periods]
    return sum(
        cell.work[of] * sum(rate * each * SECONDS_PER_HOUR for rate, each in zip(cell.rate_per_s, hours, strict=True))
        for cell in built.problem.cells
    )
