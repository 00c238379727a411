"""Shares where no rule speaks: the part of the work that a plan sends to what is had by the token.

A plan compares what is had by the token with capacity that it holds, and counts what a request keeps others from: its
unit seconds at the price of the capacity. A gateway sees the load of the moment, and would use what is paid for anyway
until its queues cost more than tokens do. So the plan's part becomes a share, whose one price stands for that of the
capacity. With x the requests that go to the tokens, out of a cell, and w their work in the share's unit:

    target   sum of x * w / sum of all requests * w, over the periods
    price    minus sum of x * unit_s * usd_per_unit_s / sum of x * w: what the held capacity's seconds are worth to the
             plan that this traffic does without; below 0, for it draws traffic in (`shares`)

The gateway sends those first that gain most for each unit of w, so the unit decides *which* requests go. Of requests,
output tokens and compute (seconds on the deployment of the held candidate that carries most), the one is taken whose
order the plan itself would like best: with which the same part costs least at the plan's own prices,

    sum of x * (usd + value of time * e2e, by the token - the same, held - unit_s * usd_per_unit_s)

Where nothing is held it is requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Share, ShareUnit
from headrace.perf import compute_rate
from headrace.plan.build import Built
from headrace.plan.problem import Cell, Use
from headrace.plan.solution import Floats, Solution
from headrace.study.plan.promises import price_of

NEGLIGIBLE = 1e-6  # of the work: what a solver leaves


def part_shares(
    built: Built, solution: Solution, pools: Mapping[int, str], periods: Sequence[int], steered: Set[str]
) -> dict[str, Share]:
    """A steered share for every pool that is had by the token and does a part of the work in these periods.

    Args:
        pools: those of the fleet, by number of their candidate.
        steered: pools that a rule's share steers already.
    """
    found: dict[str, Share] = {}
    for k, pool in pools.items():
        if built.problem.candidates[k].by_token and pool not in steered and len(pools) > 1:
            share = _part_share(built, solution, k, pool, list(periods))
            found |= {} if share is None else {share.name: share}
    return found


def _part_share(built: Built, solution: Solution, index: int, pool: str, periods: list[int]) -> Share | None:
    hours = np.array([built.problem.periods[p].hours for p in periods])
    asked = np.array([[cell.rate_per_s[p] for p in periods] for cell in built.problem.cells]) * hours
    sent = solution.flow[:, index, periods] * hours
    held = _held(built, solution, index, periods)
    works, reference = _works(built, held)
    if held is None:
        return _share(pool, sent, asked, works, None, ShareUnit.REQUESTS, 0.0)
    capacity = _capacity_usd(built, solution, held, periods)
    extra = _extra_usd(built, index, held)
    unit = min(works, key=lambda of: _steered_usd(sent, asked, works[of], extra, capacity))
    worth = float((sent * capacity).sum()) / max(float((sent.T @ works[unit]).sum()), NEGLIGIBLE)
    return _share(pool, sent, asked, works, reference, unit, worth)


def _share(
    pool: str,
    sent: Floats,
    asked: Floats,
    works: Mapping[ShareUnit, Floats],
    reference: Deployment | None,
    unit: ShareUnit,
    worth_usd: float,
) -> Share | None:
    target = _part(sent, asked, works[unit])
    if not NEGLIGIBLE < target < 1.0 - NEGLIGIBLE:
        return None
    counted_on = reference if unit is ShareUnit.COMPUTE else None
    return Share(f"{pool}-part", (pool,), target, unit, counted_on, starting_price_usd=0.0 - worth_usd)


def _part(sent: Floats, asked: Floats, work: Floats) -> float:
    total = float((asked.T @ work).sum())
    return float((sent.T @ work).sum()) / total if total > 0.0 else 0.0


def _held(built: Built, solution: Solution, index: int, periods: list[int]) -> int | None:
    """The candidate of the same model with units that carries most requests in these periods; None without one."""
    model = built.offer(index).deployment.model.name
    carried = {
        k: float(solution.flow[:, k, periods].sum())
        for k, candidate in enumerate(built.problem.candidates)
        if not candidate.by_token and built.offer(k).deployment.model.name == model
    }
    most = max(carried, key=lambda k: carried[k], default=None)
    return most if most is not None and carried[most] > 0.0 else None


def _works(built: Built, held: int | None) -> tuple[dict[ShareUnit, Floats], Deployment | None]:
    """Work of a request of each cell, by unit, and what `compute` is counted on."""
    cells = built.problem.cells
    found = {
        ShareUnit.REQUESTS: np.ones(len(cells)),
        ShareUnit.OUTPUT_TOKENS: np.array([cell.output_tokens for cell in cells]),
    }
    reference = None if held is None else built.offer(held).deployment
    try:
        rate = None if reference is None else compute_rate(reference)
    except ModelRangeError:
        return found, None
    if rate is not None:
        found[ShareUnit.COMPUTE] = np.array([rate.work(cell.input_tokens, cell.output_tokens) for cell in cells])
    return found, reference


def _capacity_usd(built: Built, solution: Solution, held: int, periods: list[int]) -> Floats:
    """What a request's seconds of the held candidate are worth, by (cells, periods); 0 where it cannot serve it."""
    problem, candidate = built.problem, built.problem.candidates[held]
    unit_s = np.array([candidate.uses[j].unit_s if j in candidate.uses else 0.0 for j in range(len(problem.cells))])
    names = [f"{candidate.name}, {problem.periods[p].name}" for p in periods]
    usd_per_s = np.array([max(0.0, -price_of(solution, "capacity", name)) for name in names])
    return np.outer(unit_s, usd_per_s)


def _extra_usd(built: Built, index: int, held: int) -> Floats:
    """What a request costs more by the token, by cell, its user's time with it; infinite, or minus that, where only one
    of the two can serve it."""
    cells, candidates = built.problem.cells, built.problem.candidates
    token = [_usd(candidates[index].uses.get(j), cell) for j, cell in enumerate(cells)]
    own = [_usd(candidates[held].uses.get(j), cell) for j, cell in enumerate(cells)]
    return np.array([a - b if a < np.inf else np.inf for a, b in zip(token, own, strict=True)])


def _usd(use: Use | None, cell: Cell) -> float:
    return np.inf if use is None else use.usd + cell.value_of_time_usd_per_s * use.e2e_s


def _steered_usd(sent: Floats, asked: Floats, work: Floats, extra: Floats, capacity: Floats) -> float:
    """What the part costs at the plan's prices if those go first that cost least more for each unit of work."""
    target, total = _part(sent, asked, work), 0.0
    order = np.argsort(extra / work, kind="stable")
    for p in range(asked.shape[1]):
        left = target * float(asked[:, p] @ work)
        for j in order:
            if left <= 0.0 or extra[j] == np.inf:
                break
            requests = min(float(asked[j, p]), left / float(work[j]))
            total += requests * (float(extra[j]) - float(capacity[j, p])) if extra[j] > -np.inf else 0.0
            left -= requests * float(work[j])
    return total
