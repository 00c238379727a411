"""Whether a solution keeps every constraint of its problem: written from the problem alone, the model is not asked.

It reads `Problem` and `Solution` and lists what is broken, with amounts. Survival is decided anew, period by period,
by a linear program of its own that says how much demand is left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.optimize as optimize

from headrace.plan.money import money
from headrace.plan.problem import Problem, ShareBound, ShareUnit, Survival
from headrace.plan.solution import Floats, Money, Solution
from headrace.plan.tables import request_work
from headrace.units import SECONDS_PER_HOUR

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Violation:
    """A constraint that is broken: by `amount`, relative to its limit."""

    kind: str
    name: str
    amount: float


def violations(solution: Solution, tolerance: float = TOLERANCE) -> list[Violation]:
    """Everything that is broken by more than `tolerance` of its limit; none: the plan keeps every constraint."""
    found = (v for check in CHECKS for v in check(solution.problem, solution))
    return [violation for violation in found if violation.amount > tolerance]


def _demand(problem: Problem, plan: Solution) -> Iterator[Violation]:
    served = plan.flow.sum(axis=1)
    for number, cell in enumerate(problem.cells):
        asked = np.array(cell.rate_per_s)
        name = f"{cell.workload_class}, {cell.bucket}"
        yield Violation("demand", name, float(np.max(np.abs(served[number] - asked) / np.maximum(asked, 1e-9))))
    for number, candidate in enumerate(problem.candidates):
        unfit = [j for j in range(len(problem.cells)) if j not in candidate.uses]
        yield Violation("residency", candidate.name, float(np.abs(plan.flow[unfit, number]).sum()))
    yield Violation("demand", "no flow is negative", float(-min(plan.flow.min(initial=0.0), 0.0)))


def _capacity(problem: Problem, plan: Solution) -> Iterator[Violation]:
    for number, candidate in enumerate(problem.candidates):
        for room in _rooms(problem, plan, number, candidate.utilization):
            used = np.zeros(len(problem.periods))
            for cell, use in candidate.uses.items():
                used += (use.unit_s if room.kind == "capacity" else room.each[cell]) * plan.flow[cell, number]
            yield Violation(room.kind, candidate.name, _over(used, room.most))


class _Room(NamedTuple):
    """What a candidate has of something: the most in each period, and what one request takes of it, by cell."""

    kind: str
    each: Floats
    most: Floats


def _rooms(problem: Problem, plan: Solution, number: int, utilization: float) -> Iterator[_Room]:
    """Unit seconds at the degraded level, and rate limits."""
    candidate, cells = problem.candidates[number], problem.cells
    everywhere = np.ones(len(problem.periods))
    if not candidate.by_token:
        degraded = [candidate.uses[j].degraded_unit_s or 0.0 if j in candidate.uses else 0.0 for j in range(len(cells))]
        yield _Room("capacity", np.array(degraded), utilization * candidate.availability * plan.units[number])
    if candidate.requests_per_s is not None:
        yield _Room("rate limit", np.ones(len(cells)), candidate.requests_per_s * everywhere)
    if candidate.tokens_per_s is not None:
        tokens = np.array([cell.input_tokens + cell.output_tokens for cell in cells])
        yield _Room("rate limit", tokens, candidate.tokens_per_s * everywhere)


def _units(problem: Problem, plan: Solution) -> Iterator[Violation]:
    stage = [period.stage for period in problem.periods]
    for number, candidate in enumerate(problem.candidates):
        units, name = plan.units[number], candidate.name
        yield Violation("whole units", name, float(np.abs(units - np.round(units)).max()))
        yield Violation("no units are negative", name, float(max(-units.min(), 0.0)))
        if candidate.by_token:
            yield Violation("by the token", name, float(units.max()))
        if candidate.contract is not None and candidate.contract not in plan.signed:
            yield Violation("contract", name, float(units.sum() + plan.flow[:, number].sum()))
            continue
        for p, s in enumerate(stage):
            most = candidate.max_units[s] if candidate.max_units else None
            least = candidate.min_units[s] if candidate.min_units else 0.0
            yield Violation("offer", name, 0.0 if most is None else float(units[p] - most))
            yield Violation("minimum", name, float(least - units[p]))
            if not candidate.elastic:
                yield Violation("one number a stage", name, float(abs(units[p] - units[stage.index(s)])))
            if candidate.keeps and not candidate.elastic and s > 0 and s - 1 in stage:
                yield Violation("kept", name, float(units[stage.index(s - 1)] - units[p]))


def _contracts(problem: Problem, plan: Solution) -> Iterator[Violation]:
    for contract in problem.contracts:
        yield Violation("contract", contract.name, float(contract.must_sign and contract.name not in plan.signed))
    for group in dict.fromkeys(contract.group for contract in problem.contracts if contract.group):
        signed = [k for k in problem.contracts if k.group == group and k.name in plan.signed]
        yield Violation("group", group, float(len(signed) - 1))


def _shares(problem: Problem, plan: Solution) -> Iterator[Violation]:
    for share in problem.shares:
        part = _part(problem, plan, share)
        yield Violation("share", share.name, (share.at_least or 0.0) - part)
        yield Violation("share", share.name, part - (1.0 if share.at_most is None else share.at_most))
    for limit in problem.concentrations:
        for vendor in dict.fromkeys(candidate.vendor for candidate in problem.candidates):
            if limit.vendor in (None, vendor):
                names = frozenset(c.name for c in problem.candidates if c.vendor == vendor)
                part = _part(problem, plan, ShareBound(limit.name, limit.of, names, at_most=limit.at_most))
                yield Violation("concentration", f"{limit.name}, {vendor}", part - limit.at_most)


def _part(problem: Problem, plan: Solution, share: ShareBound) -> float:
    """The named candidates' part of all; its own bound where there is nothing to have a part of."""
    everything = _amount(problem, plan, share, None)
    if everything > 0.0:
        return _amount(problem, plan, share, share.candidates) / everything
    return share.at_least or share.at_most or 0.0


def _amount(problem: Problem, plan: Solution, share: ShareBound, names: frozenset[str] | None) -> float:
    """What the named candidates (None: all) do of a share's unit in its stages."""
    own = [n for n, candidate in enumerate(problem.candidates) if names is None or candidate.name in names]
    stages = [s for s in range(len(problem.stages)) if share.stage in (None, s)]
    if share.of is ShareUnit.SPEND:
        return _spent(problem, plan.money, own, stages)
    total = 0.0
    for index, period in enumerate(problem.periods):
        if period.stage in stages and share.of is ShareUnit.POWER:
            total += period.hours * sum(problem.candidates[n].unit_w * float(plan.units[n, index]) for n in own)
        elif period.stage in stages:
            work = np.array([request_work(cell, share.of) for cell in problem.cells])
            total += period.hours * SECONDS_PER_HOUR * float(work @ plan.flow[:, own, index].sum(axis=1))
    return total


def _spent(problem: Problem, paid: Money, own: list[int], stages: list[int]) -> float:
    total = float(paid.units[np.ix_(own, stages)].sum() + paid.requests[np.ix_(own, stages)].sum())
    for number, contract in enumerate(problem.contracts):
        covered = {n for n, candidate in enumerate(problem.candidates) if candidate.contract == contract.name}
        if covered <= set(own):
            total += float(paid.shortfalls[number, stages].sum()) + (float(paid.fees[number]) if 0 in stages else 0.0)
    return total


def _power(problem: Problem, plan: Solution) -> Iterator[Violation]:
    for limit in problem.power:
        there = [n for n, c in enumerate(problem.candidates) if limit.site in (None, c.site)]
        watts = np.array([problem.candidates[n].unit_w for n in there]) @ plan.units[there]
        yield Violation("power", limit.name, _over(watts, np.array([limit.max_w[p.stage] for p in problem.periods])))


def _budgets(problem: Problem, plan: Solution) -> Iterator[Violation]:
    everything = list(range(len(problem.candidates)))
    for limit in problem.budgets:
        stages = [s for s in range(len(problem.stages)) if limit.stage in (None, s)]
        spent = _spent(problem, plan.money, everything, stages)
        yield Violation("budget", limit.name, spent / limit.max_usd - 1.0 if limit.max_usd else spent)


def _money(problem: Problem, plan: Solution) -> Iterator[Violation]:
    again = money(problem, plan.units, plan.flow, plan.signed)
    largest = max(abs(again.objective_usd), 1e-9)
    yield Violation("money", "recomputed", abs(again.objective_usd - plan.money.objective_usd) / largest)
    yield Violation("money", "the bound is not above the cost", (plan.bound_usd - again.objective_usd) / largest)


def _survivals(problem: Problem, plan: Solution) -> Iterator[Violation]:
    for survival in problem.survivals:
        for index, period in enumerate(problem.periods):
            left_over = _left_over(problem, plan, survival, index)
            yield Violation("survival", f"{survival.name}, {period.name}", left_over)


def _left_over(problem: Problem, plan: Solution, survival: Survival, index: int) -> float:
    """The largest part of any cell's accepted demand that what is left cannot serve: 0 if it can serve all.

    minimise t   subject to   sum over c of x[j, c] + t >= 1,   loads of x <= room,   0 <= x, t
    """
    level = [survival.level.get(cell.workload_class, 0.0) for cell in problem.cells]
    asked = np.array([part * cell.rate_per_s[index] for part, cell in zip(level, problem.cells, strict=True)])
    routes = [(j, n) for n in _left(problem, plan, survival) for j in _degraded(problem, n) if asked[j] > 0.0]
    cells, numbers = (np.array(side, dtype=int) for side in ([j for j, _ in routes], [n for _, n in routes]))
    if not set(np.flatnonzero(asked)) <= set(cells.tolist()):
        return 1.0
    rows = [np.append(np.where(cells == j, -1.0, 0.0), -1.0) for j in np.flatnonzero(asked)]
    most = [-1.0] * len(rows)
    for number in dict.fromkeys(numbers.tolist()):
        for room in _rooms(problem, plan, number, survival.utilization):
            scale = max(float(room.most[index]), 1.0)
            rows.append(np.append(np.where(numbers == number, asked[cells] * room.each[cells], 0.0) / scale, 0.0))
            most.append(float(room.most[index]) / scale)
    cost = np.append(np.zeros(len(routes)), 1.0)
    return float(optimize.linprog(cost, np.array(rows), np.array(most)).fun) if rows else 0.0


def _left(problem: Problem, plan: Solution, survival: Survival) -> list[int]:
    """Candidates that are neither lost nor waiting for a contract."""
    candidates = enumerate(problem.candidates)
    return [n for n, c in candidates if c.name not in survival.lost and c.contract in (None, *plan.signed)]


def _degraded(problem: Problem, number: int) -> list[int]:
    """Cells that a candidate can serve at the accepted level."""
    return [j for j, use in problem.candidates[number].uses.items() if use.degraded_unit_s is not None]


def _over(used: Floats, most: Floats) -> float:
    return float(np.max((used - most) / np.maximum(most, 1.0))) if len(used) else 0.0


CHECKS = (_demand, _capacity, _units, _contracts, _shares, _power, _budgets, _money, _survivals)
