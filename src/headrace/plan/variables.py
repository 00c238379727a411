"""The variables of the optimisation model, and the rows that bind them.

    part[r, p]        part of a cell's requests that takes route r (a cell, a candidate) in period p, 0 to 1
    units[n]          units held in slot n (a candidate in a stage or, if elastic, in a period), whole
    signed[k]         whether contract k is signed, 0 or 1
    missing[k, p]     units that contract k charges for in period p although they are not held
    shortfall[k, s]   money that contract k charges for in stage s although it was not used
    held_up[k, p]     1: contract k's units are all held, nothing is missing; only where paying more than is owed could
    used_up[k, s]     gain a share of spend; likewise 1: its minimum is used up
    request_usd[c, s] money for the requests of candidate c in stage s; only where a limit on money needs it

Parts instead of rates keep coefficients near one whatever the traffic, and money is counted in `money_usd` at a time,
so that the solver's absolute tolerances mean the same for 64 accelerators and for a gigawatt.

Each of them is an array of column numbers, in the shape of its indices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headrace.errors import InvariantError
from headrace.plan.problem import Problem, ShareUnit
from headrace.plan.rows import Rows, total
from headrace.plan.tables import Floats, Ints, Tables
from headrace.units import SECONDS_PER_HOUR

MONEY_DIGITS = 4  # the horizon's money is of this order in the model


@dataclass(frozen=True, slots=True)
class Columns:
    """Variables of one name, from 0 to `upper`."""

    numbers: Ints
    upper: Floats
    whole: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """Rows of one name: lower <= rows <= upper."""

    rows: Rows
    lower: Floats
    upper: Floats


class Model:
    """A problem's variables. Rows are added by `plan.constraints`, money by `plan.objective`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.tables = tables = Tables.of(problem)
        self.money_usd = _money_usd(problem, tables)
        self.columns: dict[str, Columns] = {}
        self.bounds: dict[str, Bound] = {}
        self.cost = total(np.zeros(0, np.int64))
        stages, contracts = len(problem.stages), len(problem.contracts)
        some_units = [[math.inf if k.min_units else 0.0] * len(tables.seconds) for k in problem.contracts]
        some_usd = [[math.inf if k.min_usd else 0.0] * stages for k in problem.contracts]
        promised_units = np.array(some_units).reshape(contracts, len(tables.seconds))
        promised_usd = np.array(some_usd).reshape(contracts, stages)
        served = np.where(tables.rate[tables.route_cell] > 0.0, math.inf, 0.0)  # 1 would take some of demand's dual
        self.part = self._columns("part", served)
        self.units = self._columns("units", np.full(len(tables.slot_candidate), math.inf), whole=True)
        self.signed = self._columns("signed", np.ones(contracts), whole=True)
        self.missing = self._columns("missing", promised_units)
        self.shortfall = self._columns("shortfall", promised_usd)
        self.exact = ShareUnit.SPEND in counted(problem) and any(k.min_usd or k.min_units for k in problem.contracts)
        self.held_up = self._columns("held_up", np.minimum(promised_units, 1.0) * self.exact, whole=True)
        self.used_up = self._columns("used_up", np.minimum(promised_usd, 1.0) * self.exact, whole=True)
        money_shape = (len(problem.candidates) if _counts_money(problem) else 0, stages)
        self.request_usd = self._columns("request_usd", np.full(money_shape, math.inf))

    def add(self, name: str, rows: Rows, sign: str, bound: ArrayLike) -> str:
        """Add rows of this name, `sign` one of <=, >= and =; the name.

        Raises:
            InvariantError: the name is taken, or a figure is not a number.
        """
        side = np.broadcast_to(np.asarray(bound, dtype=float), rows.constant.shape) - rows.constant
        if name in self.bounds or np.isnan(side).any() or not np.isfinite(rows.value).all():
            raise InvariantError(f"{name}: rows of this name exist, or a figure in them is not a number")
        nothing = np.full(len(side), math.inf)
        self.bounds[name] = Bound(rows, -nothing if sign == "<=" else side, nothing if sign == ">=" else side)
        return name

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Numbers of the candidates of these names, in order."""
        wanted = set(names)
        return [number for number, candidate in enumerate(self.problem.candidates) if candidate.name in wanted]

    def covered(self, contract: str) -> list[int]:
        """Numbers of the candidates that a contract covers."""
        return [n for n, candidate in enumerate(self.problem.candidates) if candidate.contract == contract]

    def routes_to(self, candidates: Iterable[int]) -> Ints:
        """Numbers of the routes to these candidates."""
        return np.flatnonzero(np.isin(self.tables.route_candidate, list(candidates)))

    def units_of(self, candidate: int) -> Ints:
        """Columns of a candidate's units, by period."""
        columns: Ints = self.units[self.tables.slot_of[candidate]]
        return columns

    def _columns(self, name: str, upper: Floats, *, whole: bool = False) -> Ints:
        first = sum(columns.upper.size for columns in self.columns.values())
        numbers = first + np.arange(upper.size, dtype=np.int64).reshape(upper.shape)
        self.columns[name] = Columns(numbers, upper, whole)
        return numbers


def _counts_money(problem: Problem) -> bool:
    """Whether a limit counts money, not only the objective."""
    minima = any(contract.min_usd for contract in problem.contracts)
    return bool(problem.budgets) or minima or ShareUnit.SPEND in counted(problem)


def counted(problem: Problem) -> set[ShareUnit]:
    """What the shares and concentrations of a problem are of."""
    return {share.of for share in problem.shares} | {limit.of for limit in problem.concentrations}


def _money_usd(problem: Problem, tables: Tables) -> float:
    """USD that one unit of money in the model stands for: serving everything, with what is promised, is about 10^4."""
    hour_usd = np.zeros(len(tables.usable))
    for candidate in tables.holders:
        own = tables.slot_candidate == candidate
        hour_usd[candidate] = tables.slot_usd[own].sum() / tables.slot_hours[own].sum()
    per_request = tables.usd + tables.waiting_usd + tables.unit_s * hour_usd[tables.route_candidate] / SECONDS_PER_HOUR
    cheapest = np.full(len(tables.rate), math.inf)
    np.minimum.at(cheapest, tables.route_cell, per_request)
    usd = float((np.where(np.isfinite(cheapest), cheapest, 0.0)[:, None] * tables.requests).sum())
    usd += sum(sum(contract.min_usd) for contract in problem.contracts)
    return 10.0 ** (math.floor(math.log10(usd)) - MONEY_DIGITS) if usd > 0.0 else 1.0
