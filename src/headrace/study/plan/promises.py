"""What a plan promised to spend, and not to exceed, as the fleet's commitments and budgets, with the plan's prices.

A plan prices one more USD of a promise (it costs, where more of it would be paid for nothing) and of a budget (it
saves); the fleet's controllers price the use of what is covered: below 0 where it is wanted, above where it is scarce.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.fleet import Budget, Commitment, CommittedUnit, Per
from headrace.fleet.dates import unix_s
from headrace.fleet.scenario import BudgetRule
from headrace.plan.build import Built
from headrace.plan.solution import Solution


def planned_commitments(
    built: Built, solution: Solution, pools: Mapping[int, str], stage: int
) -> dict[str, Commitment]:
    """Minima of spend that were signed, a year, in one stage.

    Args:
        pools: those of the fleet, by number of their candidate.
    """
    found = {}
    for contract in built.problem.contracts:
        covered = tuple(pool for k, pool in pools.items() if built.problem.candidates[k].contract == contract.name)
        least_usd = contract.min_usd[stage] if contract.min_usd else 0.0
        if contract.name not in solution.signed or least_usd <= 0.0 or not covered:
            continue
        name = fleet_name(contract.name)
        price = price_of(solution, "commitment", f"{contract.name}, {built.problem.stages[stage]}")
        amount = least_usd / built.stages[stage].years
        start = unix_s(built.scenario.horizon.start)
        found[name] = Commitment(name, covered, amount, CommittedUnit.USD, Per.YEAR, start, min(0.0, -price))
    return found


def planned_budgets(built: Built, solution: Solution) -> dict[str, Budget]:
    """Budgets of the first year, and of the whole horizon as so much a year."""
    found = {}
    for rule in built.scenario.rules:
        if isinstance(rule, BudgetRule) and rule.year in (None, 0):
            name = fleet_name(rule.name)
            usd = rule.max_usd / (built.scenario.horizon.years if rule.year is None else 1)
            price = max(0.0, -price_of(solution, "budget", rule.name))
            found[name] = Budget(
                name, usd, Per.YEAR, from_unix_s=unix_s(built.scenario.horizon.start), starting_price_usd=price
            )
    return found


def price_of(solution: Solution, kind: str, *names: str) -> float:
    """The plan's prices of limits of these names together; 0 where it has none."""
    return sum(each.usd_per_unit for each in solution.prices if each.kind == kind and each.name in names)


def fleet_name(text: str) -> str:
    """A scenario's name in letters that a name in a fleet file may have."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text).lstrip("._-") or "unnamed"
