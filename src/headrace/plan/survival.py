"""What must hold when a vendor or a site is lost, in every period, written without the flows of that day.

While `lost` is gone, every cell j with level l > 0 must fit into what is left. With flows g >= 0 that says

    sum over c not lost of g[j, c] = l * rate[j, p]                                  for every cell
    sum over j of w[i, j] * g[j, c(i)] <= room of i in the units held                for every resource i

where a resource is a candidate's unit seconds (w: its degraded unit_s; room: utilization * availability * units), or a
rate limit of an API. Flows cost nothing here, so only the units matter, and by LP duality (Farkas; Benders 1962,
doi:10.1007/BF01386316) the units are enough if and only if for every set of prices m >= 0 of the resources

    sum over i of m[i] * room[i]  >=  sum over j of l * rate[j, p] * min over c of (sum over i of c of m[i] * w[i, j])

that is: what is left is worth at least what the demand costs at its cheapest. A million columns of flows become a few
rows in units. They are found when they are needed: for units that were found, a small linear program says how much is
missing where; its duals are the prices of a row that these units break, and the row is written for every period that
it may bind in. The end is a proof: no period of no loss is short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sparse

from headrace.errors import InvariantError
from headrace.plan.problem import Candidate, Problem, Survival
from headrace.plan.program import Program
from headrace.plan.tables import Floats, Ints, Tables

MISSING = 1e-7  # of what a period's demand is worth: less is the solver's tolerance
NOISE = 1e-9  # of a price or of what demand usually costs: less is not told from rounding
ENOUGH = 8  # prices found at a time: the next units are others
ALWAYS = -1  # the number of the contract of what needs none


@dataclass(frozen=True, slots=True)
class Row:
    """sum of `slots` * units + sum of `contracts` * signed >= `least`."""

    slots: dict[int, float]
    contracts: dict[int, float]
    least: float

    def holds(self, units: Floats, signed: Floats) -> bool:
        """Whether these units and contracts satisfy it."""
        left = sum(units[n] * each for n, each in self.slots.items())
        left += sum(signed[k] * each for k, each in self.contracts.items())
        return bool(left >= self.least - MISSING)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something of a candidate that a loss may fill: room = per_unit * units + constant (once `contract` is signed).

    Attributes:
        each: what one request takes, by cell.
        price: what one more of it might cost; any positive figure is right, a good one finds better rows.
    """

    candidate: int
    each: Floats
    per_unit: float
    constant: float
    contract: int
    price: float


class Loss:
    """One survival: says whether units are enough, and writes the rows that they break."""

    def __init__(self, problem: Problem, tables: Tables, survival: Survival) -> None:
        self.survival = survival
        self._slot_of = tables.slot_of
        level = np.array([survival.level.get(cell.workload_class, 0.0) for cell in problem.cells])
        self._asked = level[:, None] * tables.rate
        left = [n for n, candidate in enumerate(problem.candidates) if candidate.name not in survival.lost]
        cells = np.flatnonzero(self._asked.any(axis=1)).tolist()
        routes = [(j, n) for j in cells for n in left if _serves(problem.candidates[n], j)]
        self._route_cell = np.array([j for j, _ in routes], dtype=np.int64)
        self._stranded = set(cells) - set(self._route_cell.tolist())
        self._resources = [r for n in left for r in _resources(problem, tables, survival, n, self._asked)]
        self._weight = np.array([[r.each[j] if n == r.candidate else 0.0 for j, n in routes] for r in self._resources])
        self._weight = self._weight.reshape(len(self._resources), len(routes))
        self._periods = _maximal(self._asked, self._slot_of[[r.candidate for r in self._resources]])
        self._peak = self._asked.max(axis=1, initial=0.0)
        self._solver = self._shortage_solver()
        self._dearest = np.array([resource.price for resource in self._resources])
        self._usual = self._worth(self._dearest)
        self._found: list[Floats] = []

    def broken(self, units: Floats, signed: Floats, missing: float = MISSING) -> list[Row]:
        """Rows that these units break; none: they are enough in every period, but for a part `missing`."""
        if self._stranded:
            return [Row({}, {}, 1.0)]
        rooms = self._rooms(units, signed)
        rows: dict[int, Row] = {}
        for prices in self._found:
            rows |= self._written(prices, rooms, missing)
        found: list[Floats] = []
        for period in self._periods if self._asked.any() else []:
            if period not in rows and len(found) < ENOUGH:
                prices = self._shortage(period, rooms[:, period])
                new = self._written(prices, rooms, missing)
                found += [prices] if new else []
                rows |= new
        self._found += found
        return list(rows.values())

    def _rooms(self, units: Floats, signed: Floats) -> Floats:
        """Room of each resource in each period, (resources, periods)."""
        rooms = np.zeros((len(self._resources), self._asked.shape[1]))
        for number, resource in enumerate(self._resources):
            if resource.per_unit:
                rooms[number] = resource.per_unit * units[self._slot_of[resource.candidate]]
            else:
                rooms[number] = resource.constant * (1.0 if resource.contract == ALWAYS else signed[resource.contract])
        return rooms

    def _written(self, prices: Floats, rooms: Floats, missing: float) -> dict[int, Row]:
        """The rows of these prices that are broken, by period."""
        worth = self._worth(prices)
        short = (worth - prices @ rooms > missing * worth) & (worth > NOISE * self._usual)
        return {period: self._row(prices / worth[period], period) for period in self._periods if short[period]}

    def _worth(self, prices: Floats) -> Floats:
        """What the demand of each period costs at its cheapest, at these prices."""
        cheapest = np.full(len(self._asked), math.inf)
        np.minimum.at(cheapest, self._route_cell, prices @ self._weight)
        worth: Floats = np.where(np.isfinite(cheapest), cheapest, 0.0) @ self._asked
        return worth

    def _row(self, prices: Floats, period: int) -> Row:
        slots: dict[int, float] = {}
        contracts: dict[int, float] = {}
        least = 1.0
        for price, resource in zip(prices.tolist(), self._resources, strict=True):
            if resource.per_unit:
                slots[int(self._slot_of[resource.candidate, period])] = price * resource.per_unit
            elif resource.contract == ALWAYS:
                least -= price * resource.constant
            else:
                contracts[resource.contract] = contracts.get(resource.contract, 0.0) + price * resource.constant
        return Row(slots, contracts, least)

    def _shortage(self, period: int, room: Floats) -> Floats:
        """Prices of the resources at the least shortage in a period."""
        cells = np.unique(self._route_cell)
        asked = self._asked[cells, period] / self._peak[cells]
        rows = np.arange(len(cells) + len(room), dtype=np.int32)
        lower = np.concatenate([asked, np.full(len(room), -math.inf)])
        solver: Any = self._solver  # its stubs leave the next call out
        solver.changeRowsBounds(len(rows), rows, lower, np.concatenate([asked, room]))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise InvariantError(f"{self.survival.name}: the least shortage of period {period} was not found")
        prices = -np.array(solver.getSolution().row_dual)[len(cells) :]
        return np.where(prices > NOISE * self._dearest, prices, 0.0)

    def _shortage_solver(self) -> highspy.Highs:
        """minimise sum of price * over   subject to   parts of a cell = asked,   loads - over <= room."""
        cells, cell_row = np.unique(self._route_cell, return_inverse=True)
        routes, resources = len(self._route_cell), len(self._resources)
        served = sparse.csr_array((np.ones(routes), (cell_row, np.arange(routes))), shape=(len(cells), routes))
        loads = sparse.csr_array(self._weight * self._peak[self._route_cell])
        matrix = sparse.block_array(
            [[served, None], [loads, -sparse.eye_array(resources)]] if resources else [[served]]
        )
        cost = np.concatenate([np.zeros(routes), [resource.price for resource in self._resources]])
        nothing = np.zeros(len(cells) + resources)
        everywhere = np.full(len(cost), math.inf)
        whole = np.zeros(len(cost), dtype=bool)
        return Program(cost, 0.0 * cost, everywhere, whole, sparse.csr_array(matrix), nothing, nothing).solver()


def _serves(candidate: Candidate, cell: int) -> bool:
    """Whether a candidate can serve a cell at the level that is accepted while something is lost."""
    return cell in candidate.uses and candidate.uses[cell].degraded_unit_s is not None


def _resources(problem: Problem, tables: Tables, survival: Survival, number: int, asked: Floats) -> list[Resource]:
    candidate, cells = problem.candidates[number], problem.cells
    contract = next((n for n, k in enumerate(problem.contracts) if k.name == candidate.contract), ALWAYS)
    each = {
        "seconds": np.array([_degraded_s(candidate, j) for j in range(len(cells))]),
        "requests": np.ones(len(cells)),
        "tokens": np.array([cell.input_tokens + cell.output_tokens for cell in cells]),
    }
    limits = {"requests": candidate.requests_per_s, "tokens": candidate.tokens_per_s}
    if contract != ALWAYS and candidate.by_token and candidate.requests_per_s is None:
        limits["requests"] = float(asked.sum(axis=0).max())
    made = [
        Resource(number, each[k], 0.0, most, contract, _dear(tables)) for k, most in limits.items() if most is not None
    ]
    if not candidate.by_token:
        own = tables.slot_candidate == number
        usable = survival.utilization * candidate.availability
        hour_usd = float(tables.slot_usd[own].sum() / tables.slot_hours[own].sum())
        made.append(Resource(number, each["seconds"], usable, 0.0, contract, max(hour_usd, 1e-6) / usable))
    return made


def _degraded_s(candidate: Candidate, cell: int) -> float:
    use = candidate.uses.get(cell)
    return use.degraded_unit_s or 0.0 if use is not None else 0.0


def _dear(tables: Tables) -> float:
    """A price above that of any unit."""
    return 10.0 * float((tables.slot_usd / tables.slot_hours).max(initial=1.0))


def _maximal(asked: Floats, slots: Ints) -> list[int]:
    """Periods of which no other one, with the same units, asks for at least as much of everything; busiest first."""
    kept: list[int] = []
    for period in np.argsort(-asked.sum(axis=0), kind="stable").tolist():
        same = [q for q in kept if (slots[:, q] == slots[:, period]).all()]
        if not any((asked[:, q] >= asked[:, period]).all() for q in same):
            kept.append(period)
    return kept
