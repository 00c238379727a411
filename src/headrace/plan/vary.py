"""The same problem with one thing changed: what every "what if" of a study solves again. Pure; nothing is solved here.

A changed problem is a relaxation (a limit gives way), a restriction (a share is fixed, units are), or another price.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np

from headrace.plan.problem import Candidate, Cell, Period, Problem, ShareBound, ShareUnit, Use
from headrace.plan.solution import Floats, Solution

PEAK_HOURS = 1e-3  # that a peak to be survived stands for: it must fit, and costs nothing
UNSERVED = "unserved"  # the candidate that takes what nobody can serve
UNSERVED_FACTOR = 1e3  # its price, in the dearest request of the problem


def with_share(problem: Problem, name: str, of: ShareUnit, candidates: frozenset[str], share: float) -> Problem:
    """The named candidates do exactly `share` of all work; other bounds of that name are dropped.

    At 0 and at 1 the other side is not there: nothing is held of it, and nothing is paid for it.
    """
    if share in (0.0, 1.0):
        gone = candidates if share == 0.0 else frozenset(each.name for each in problem.candidates) - candidates
        return without(without_limit(problem, name), gone)
    fixed = ShareBound(name, of, candidates, share, share)
    return replace(problem, shares=(*(each for each in problem.shares if each.name != name), fixed))


def without(problem: Problem, candidates: Set[str]) -> Problem:
    """These candidates cannot be had; what is left of limits that name them stays."""
    return replace(problem, candidates=tuple(_gone(c) if c.name in candidates else c for c in problem.candidates))


def without_limit(problem: Problem, name: str) -> Problem:
    """Every limit of this name (and `NAME: WHO`, of a loss that means several) is dropped."""

    def keeps(each: str) -> bool:
        return each != name and not each.startswith(f"{name}: ")

    return replace(
        problem,
        shares=tuple(each for each in problem.shares if keeps(each.name)),
        power=tuple(each for each in problem.power if keeps(each.name)),
        concentrations=tuple(each for each in problem.concentrations if keeps(each.name)),
        survivals=tuple(each for each in problem.survivals if keeps(each.name)),
        budgets=tuple(each for each in problem.budgets if keeps(each.name)),
    )


def priced(problem: Problem, candidates: Set[str], factor: float) -> Problem:
    """These candidates cost `factor` times as much: what is held, and what requests add."""

    def changed(candidate: Candidate) -> Candidate:
        uses = {j: replace(use, usd=use.usd * factor) for j, use in candidate.uses.items()}
        return replace(
            candidate, uses=uses, usd_per_unit_hour=tuple(usd * factor for usd in candidate.usd_per_unit_hour)
        )

    return replace(problem, candidates=tuple(changed(c) if c.name in candidates else c for c in problem.candidates))


def committed(problem: Problem, plan: Solution) -> Problem:
    """Only operation is left to choose: contracts as signed, units as held, by stage; what is elastic stays free.

    Args:
        plan: of a problem with the same candidates, contracts and stages.
    """
    signed = tuple(replace(each, must_sign=True) for each in problem.contracts if each.name in plan.signed)
    candidates = []
    for number, candidate in enumerate(problem.candidates):
        if candidate.contract is not None and candidate.contract not in plan.signed:
            candidate = _gone(candidate)
        elif not candidate.by_token and not candidate.elastic:
            units = tuple(held_in_stage(plan, number, stage) for stage in range(len(problem.stages)))
            candidate = replace(candidate, min_units=units, max_units=units)
        candidates.append(candidate)
    return replace(problem, candidates=tuple(candidates), contracts=signed)


def held_in_stage(plan: Solution, candidate: int, stage: int) -> float:
    """Units of a candidate in a stage: the most of its periods."""
    periods = [index for index, period in enumerate(plan.problem.periods) if period.stage == stage]
    return float(np.round(plan.units[candidate, periods].max(initial=0.0))) + 0.0  # no -0


def waiting(problem: Problem) -> Problem:
    """Nothing lasting is taken on in the first stage beyond what must be: it is decided on afterwards."""
    candidates = []
    for candidate in problem.candidates:
        if not candidate.by_token and not candidate.elastic:
            least = candidate.min_units[0] if candidate.min_units else 0.0
            most = candidate.max_units or (None,) * len(problem.stages)
            candidate = replace(candidate, max_units=(least, *most[1:]))
        candidates.append(candidate)
    return replace(problem, candidates=tuple(candidates))


def unconstrained(problem: Problem) -> Problem:
    """Without what binds a plan and no operator of it: shares, concentration, budgets, losses, power."""
    return replace(problem, shares=(), concentrations=(), budgets=(), survivals=(), power=())


def with_unserved(problem: Problem) -> Problem:
    """One more candidate, far dearer than any other, takes what cannot be served: it says how much that is."""
    dearest = max((use.usd for c in problem.candidates for use in c.uses.values()), default=0.0)
    held = max((max(c.usd_per_unit_hour, default=0.0) for c in problem.candidates), default=0.0)
    use = Use(0.0, UNSERVED_FACTOR * max(dearest, held, 1e-6), 0.0, 0.0, 0.0)
    nobody = Candidate(UNSERVED, UNSERVED, UNSERVED, UNSERVED, dict.fromkeys(range(len(problem.cells)), use))
    return replace(problem, candidates=(*problem.candidates, nobody))


def with_peaks(problem: Problem, name: str, stage: int, rate_per_s: Floats) -> Problem:
    """One more period in which these rates (one a cell) must fit, and which costs next to nothing."""
    period = Period(name, stage, PEAK_HOURS)
    cells: tuple[Cell, ...] = tuple(
        replace(cell, rate_per_s=(*cell.rate_per_s, rate))
        for cell, rate in zip(problem.cells, rate_per_s.tolist(), strict=True)
    )
    return replace(problem, periods=(*problem.periods, period), cells=cells)


def _gone(candidate: Candidate) -> Candidate:
    stages = len(candidate.usd_per_unit_hour)
    return replace(candidate, uses={}, max_units=(0.0,) * stages, min_units=(0.0,) * stages, contract=None)
