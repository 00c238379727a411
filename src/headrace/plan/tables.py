"""The problem as arrays: one row a route (a cell and a candidate that can serve it), one column a period.

A *slot* is a number of units that is decided once: of a candidate in a stage, or, where it is elastic, in a period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.plan.problem import Candidate, Cell, Problem, ShareUnit
from headrace.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NO_SLOT = -1


@dataclass(frozen=True, slots=True)
class Tables:
    """Arrays over cells (J), candidates (C), periods (P), stages (S), routes (R) and slots (N).

    Attributes:
        rate: requests/s, (J, P).
        seconds: that a period stands for, (P,).
        stage: of each period, (P,).
        route_cell, route_candidate: (R,).
        unit_s, usd, waiting_usd: of one request on a route, (R,).
        slot_of: which slot holds the units of a candidate in a period, (C, P); NO_SLOT by the token.
        slot_candidate, slot_stage, slot_hours, slot_usd: (N,); `slot_usd` is what one unit costs while it is held.
        usable: part of a unit's seconds that may be planned with, (C,).
    """

    rate: Floats
    seconds: Floats
    stage: Ints
    route_cell: Ints
    route_candidate: Ints
    unit_s: Floats
    usd: Floats
    waiting_usd: Floats
    slot_of: Ints
    slot_candidate: Ints
    slot_stage: Ints
    slot_hours: Floats
    slot_usd: Floats
    usable: Floats

    @classmethod
    def of(cls, problem: Problem) -> Tables:
        """The arrays of a problem."""
        routes = [
            (index, number, candidate.uses[index], cell)
            for index, cell in enumerate(problem.cells)
            for number, candidate in enumerate(problem.candidates)
            if index in candidate.uses
        ]
        stage = np.array([period.stage for period in problem.periods], dtype=np.int64)
        hours = np.array([period.hours for period in problem.periods])
        slot_of, slots = _slots(problem, stage, hours)
        return cls(
            rate=np.array([cell.rate_per_s for cell in problem.cells]).reshape(len(problem.cells), len(stage)),
            seconds=hours * SECONDS_PER_HOUR,
            stage=stage,
            route_cell=np.array([route[0] for route in routes], dtype=np.int64),
            route_candidate=np.array([route[1] for route in routes], dtype=np.int64),
            unit_s=np.array([use.unit_s for _, _, use, _ in routes]),
            usd=np.array([use.usd for _, _, use, _ in routes]),
            waiting_usd=np.array([use.e2e_s * cell.value_of_time_usd_per_s for _, _, use, cell in routes]),
            slot_of=slot_of,
            slot_candidate=np.array([slot[0] for slot in slots], dtype=np.int64),
            slot_stage=np.array([slot[1] for slot in slots], dtype=np.int64),
            slot_hours=np.array([slot[2] for slot in slots]),
            slot_usd=np.array([problem.candidates[c].usd_per_unit_hour[s] * h for c, s, h in slots]),
            usable=np.array([c.utilization * c.availability for c in problem.candidates]),
        )

    @property
    def requests(self) -> Floats:
        """Requests of each cell that a period stands for, (J, P)."""
        return self.rate * self.seconds

    @property
    def holders(self) -> Ints:
        """Numbers of the candidates that come in units."""
        return np.flatnonzero(self.slot_of[:, 0] != NO_SLOT)

    def route_requests(self) -> Floats:
        """Requests of each route's cell, (R, P)."""
        return self.requests[self.route_cell]

    def route_load(self) -> Floats:
        """Units that each route would keep busy if its whole cell went there, (R, P)."""
        return self.rate[self.route_cell] * self.unit_s[:, None]


def request_work(cell: Cell, of: ShareUnit) -> float:
    """What one request of a cell counts in a share of `of`; one request, or its output tokens, unless it says else."""
    if of is ShareUnit.REQUESTS:
        return cell.work.get(of, 1.0)
    if of is ShareUnit.OUTPUT_TOKENS:
        return cell.work.get(of, cell.output_tokens)
    return cell.work[of]


def missing_usd_per_hour(problem: Problem, contract: str, stage: int) -> float:
    """What a promised unit costs for an hour in which it is not held: the cheapest unit that the contract covers."""
    prices = [c.usd_per_unit_hour[stage] for c in problem.candidates if c.contract == contract and not c.by_token]
    return min(prices, default=0.0)


def _slots(problem: Problem, stage: Ints, hours: Floats) -> tuple[Ints, list[tuple[int, int, float]]]:
    slots: list[tuple[int, int, float]] = []
    slot_of = np.full((len(problem.candidates), len(stage)), NO_SLOT, dtype=np.int64)
    for number, candidate in enumerate(problem.candidates):
        for members in _members(candidate, stage):
            slot_of[number, members] = len(slots)
            slots.append((number, int(stage[members[0]]), float(hours[members].sum())))
    return slot_of, slots


def _members(candidate: Candidate, stage: Ints) -> list[Ints]:
    """Periods that share one number of units."""
    if candidate.by_token:
        return []
    if candidate.elastic:
        return [np.array([period]) for period in range(len(stage))]
    return [np.flatnonzero(stage == number) for number in np.unique(stage)]
