"""What one more unit of each limit is worth at a plan: the duals of the linear program with its integers fixed.

A dual is the change of the objective for one more unit of a row's right-hand side; here it is brought from the model's
rows to the scenario's units (USD per reference second of a share, per unit second of a candidate's capacity). Where
the objective bends exactly at the plan, the dual lies between its two one-sided differences. A row that holds nothing
but integers (power, an offer) has no price at a plan: its dual is 0, and what it is worth takes a full solve.

Two prices are not one row's, but follow from the rows by the envelope theorem:

    demand   one more request of a class, spread like its demand: what it pays itself, and what shares ask on top
    slo      a class whose requests take twice as many unit seconds: sum of capacity prices * unit seconds used
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.plan.limit import Limit
from headrace.plan.linear import Linear
from headrace.plan.problem import ShareBound
from headrace.plan.program import Point, Program
from headrace.plan.solution import Floats, LimitPrice
from headrace.plan.tables import Ints, request_work

BINDS = 1e-6


def limit_prices(linear: Linear, fixed: Program, point: Point) -> tuple[LimitPrice, ...]:
    """Prices of all limits, in the order of the problem.

    Args:
        fixed: the program with its integers fixed; `point` is its optimum, at a vertex.
    """
    rows = [p for limit in linear.limits if limit.kind != "demand" for p in _row_prices(linear, fixed, point, limit)]
    return (*_class_prices(linear, fixed, point), *rows)


def _row_prices(linear: Linear, fixed: Program, point: Point, limit: Limit) -> list[LimitPrice]:
    numbers = fixed.rows[limit.rows]
    usd = _usd(linear, fixed, point, limit) * _is_there(linear, point, limit)
    binds = _binding(fixed, point.x, numbers)
    names = [f"{limit.name}, {where}" for where in limit.where] if limit.where else [limit.name] * len(numbers)
    prices = zip(names, usd.tolist(), binds.tolist(), strict=True)
    return [LimitPrice(limit.kind, n, u, limit.unit, b, limit.reason) for n, u, b in prices]


def _usd(linear: Linear, fixed: Program, point: Point, limit: Limit) -> Floats:
    """USD per unit of a limit, by row; 0 where integers alone are in it: the program's dual is any number then."""
    rows = fixed.rows[limit.rows]
    moves = np.abs(fixed.matrix[rows]) @ (fixed.lower < fixed.upper).astype(np.float64) > 0.0
    usd: Floats = (
        np.where(moves, point.row_dual[rows], 0.0) * linear.money_usd / limit.per_row + 0.0
    )  # no negative zero
    return usd / linear.tables.seconds if limit.lasting else usd


def _is_there(linear: Linear, point: Point, limit: Limit) -> float:
    """0 for what a contract asks for that is not signed: its rows are in the program, and bind nobody."""
    signed = {k.name: on for k, on in zip(linear.problem.contracts, linear.signed(point.x).tolist(), strict=True)}
    return 1.0 if limit.contract is None else float(signed[limit.contract] > 0.5)


def _binding(fixed: Program, x: Floats, numbers: Ints) -> NDArray[np.bool_]:
    used = fixed.matrix[numbers] @ x
    slack = np.minimum(used - fixed.row_lower[numbers], fixed.row_upper[numbers] - used)
    binds: NDArray[np.bool_] = slack <= BINDS * np.maximum(1.0, np.abs(used))
    return binds


def _class_prices(linear: Linear, fixed: Program, point: Point) -> list[LimitPrice]:
    prices = []
    for limit in linear.limits:
        if limit.kind == "demand":
            own = np.array([cell.workload_class == limit.name for cell in linear.problem.cells])
            requests = float(linear.tables.requests[own].sum())
            usd = float(point.row_dual[fixed.rows[limit.rows]].sum()) * linear.money_usd + _share_usd(
                linear, fixed, point, own
            )
            prices.append(LimitPrice("demand", limit.name, usd / requests if requests else 0.0, "request", True))
            prices.append(
                LimitPrice("slo", limit.name, _slo_usd(linear, fixed, point, own), "times its unit seconds", True)
            )
    return prices


def _share_usd(linear: Linear, fixed: Program, point: Point, own: Floats) -> float:
    """What shares of known work ask for when these cells' demand doubles: their bound is a part of it."""
    usd = 0.0
    for limit in linear.limits:
        share, bound = _bound(linear, limit)
        if share is not None and share.of not in ("spend", "power"):
            stages = np.array([share.stage in (None, stage) for stage in linear.tables.stage])
            work = np.array([request_work(cell, share.of) for cell in linear.problem.cells])
            own_work = float((work[own, None] * linear.tables.requests[own])[:, stages].sum())
            usd += float(_usd(linear, fixed, point, limit)[0]) * bound * own_work
    return usd


def _bound(linear: Linear, limit: Limit) -> tuple[ShareBound | None, float]:
    """The share that a limit is of, and its bound."""
    for share in linear.problem.shares if limit.kind == "share" else ():
        for bound, suffix in ((share.at_least, "at least"), (share.at_most, "at most")):
            if bound is not None and limit.name == f"{share.name}, {suffix}":
                return share, bound
    return None, 0.0


def _slo_usd(linear: Linear, fixed: Program, point: Point, own: Floats) -> float:
    tables, names = linear.tables, [candidate.name for candidate in linear.problem.candidates]
    used = np.maximum(point.x[fixed.columns["part"]], 0.0) * tables.route_load()
    usd = 0.0
    for limit in linear.limits:
        if limit.kind == "capacity":
            routes = own[tables.route_cell] & (tables.route_candidate == names.index(limit.name))
            dual = point.row_dual[fixed.rows[limit.rows]] * linear.money_usd
            usd -= float((used[routes] * dual).sum())
    return usd
