"""What part of the work each rule's offers do in a plan, and the steered shares that keep it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from headrace.fleet import Share, ShareUnit
from headrace.fleet.scenario import ShareRule
from headrace.plan.build import Built
from headrace.plan.solution import Floats, Solution
from headrace.study.plan.parts import part_shares
from headrace.study.plan.promises import fleet_name, price_of
from headrace.units import SECONDS_PER_HOUR


def share_rules(built: Built) -> tuple[ShareRule, ...]:
    """Rules that bound a share."""
    return tuple(rule for rule in built.scenario.rules if isinstance(rule, ShareRule))


def members(built: Built, rule: ShareRule) -> frozenset[int]:
    """Numbers of the candidates that a rule selects."""
    return frozenset(k for k, supply in enumerate(built.supplies) if rule.selection.holds(supply.offer))


def realized_share(
    built: Built, solution: Solution, of: ShareUnit, inside: Set[int], periods: Sequence[int] | None = None
) -> float:
    """Part of all `of` that these candidates do in a plan.

    Args:
        periods: over which; None: all. 0 where nothing is done at all.
    """
    chosen = range(len(built.problem.periods)) if periods is None else periods
    work = _work(built, solution, of, list(chosen))
    total = float(work.sum())
    return float(work[sorted(inside)].sum()) / total if total > 0.0 else 0.0


def planned_shares(
    built: Built, solution: Solution, pools: Mapping[int, str], periods: Sequence[int]
) -> dict[str, Share]:
    """Every rule that bounds a share, as a share of the fleet with the plan's figure for its target; then, of what no
    rule's share steers, the parts that are had by the token (`parts`).

    A share needs something inside and something outside: a rule whose offers the plan gives nothing, or everything, is
    left out. The second of two rules that share a pool is reported only.

    Args:
        pools: those of the fleet, by number of their candidate.
    """
    shares: dict[str, Share] = {}
    steered: set[str] = set()
    for rule in share_rules(built):
        inside = tuple(pool for index, pool in pools.items() if index in members(built, rule))
        target = realized_share(built, solution, rule.of, members(built, rule), periods)
        if not (inside and len(inside) < len(pools) and 0.0 < target < 1.0):
            continue
        overlaps = bool(steered.intersection(inside))
        name = fleet_name(rule.name)
        unit = rule.of
        price = _starting_price_usd(solution, rule)
        shares[name] = Share(name, inside, target, unit, rule.reference, overlaps, price)
        steered.update(() if overlaps else inside)
    return shares | part_shares(built, solution, pools, periods, steered)


def _starting_price_usd(solution: Solution, rule: ShareRule) -> float:
    """Minus the plan's price of the rule's bounds: see `fleet`."""
    return 0.0 - price_of(solution, "share", f"{rule.name}, at least", f"{rule.name}, at most")


def _work(built: Built, solution: Solution, of: ShareUnit, periods: list[int]) -> Floats:
    """`of` that each candidate does over some periods."""
    problem = built.problem
    hours = np.array([problem.periods[p].hours for p in periods])
    if of is ShareUnit.POWER:
        watts = np.array([candidate.unit_w for candidate in problem.candidates])
        return np.asarray(watts * (solution.units[:, periods] @ hours))
    seconds = hours * SECONDS_PER_HOUR
    requests = solution.flow[:, :, periods] @ seconds
    if of is not ShareUnit.SPEND:
        return np.asarray(np.array([cell.work[of] for cell in problem.cells]) @ requests)
    usd = np.zeros(requests.shape)
    held = np.zeros(len(problem.candidates))
    for k, candidate in enumerate(problem.candidates):
        for j, use in candidate.uses.items():
            usd[j, k] = use.usd
        if not candidate.by_token:
            rates = np.array([candidate.usd_per_unit_hour[problem.periods[p].stage] for p in periods])
            held[k] = float(solution.units[k, periods] @ (hours * rates))
    return np.asarray(held + (usd * requests).sum(axis=0))
