"""What a solve found: how much of what, what goes where, what it costs, and what each limit is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from headrace.plan.problem import Problem

Floats = NDArray[np.float64]


class Ending(StrEnum):
    """Why the solve ended."""

    OPTIMAL = "optimal"  # within the gap asked for
    TIME_LIMIT = "time_limit"  # a plan, and the gap that was reached


@dataclass(frozen=True, slots=True)
class Money:
    """USD over the horizon, by candidate and stage where arrays: (candidates, stages)."""

    units: Floats  # hours of units held
    requests: Floats  # tokens, energy
    shortfalls: Floats  # take-or-pay that was not used, by (contracts, stages)
    fees: Floats  # by contract
    waiting: float  # value of time of the users; not money spent

    @property
    def spent_usd(self) -> float:
        """Total cost of ownership: all but `waiting`."""
        return float(self.units.sum() + self.requests.sum() + self.shortfalls.sum() + self.fees.sum())

    @property
    def objective_usd(self) -> float:
        """What the solver minimised."""
        return self.spent_usd + self.waiting


@dataclass(frozen=True, slots=True)
class LimitPrice:
    """What one more unit of a limit is worth, with the integers fixed (*a price at this plan*).

    Attributes:
        kind: the constraint's name: `share`, `power`, `budget`, `capacity`, ...
        name: which one, as the scenario calls it; with the stage or period where there is one each.
        usd_per_unit: change of the objective for one more unit of the right-hand side; negative: it saves.
        unit: what one unit is: `reference second`, `W`, `unit second`, `USD`.
        binds: whether the limit holds with equality.
    """

    kind: str
    name: str
    usd_per_unit: float
    unit: str
    binds: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Solution:
    """A plan.

    Attributes:
        units: held, by (candidates, periods); whole numbers.
        flow: requests/s, by (cells, candidates, periods).
        signed: names of the contracts that are signed.
        gap: (objective - proven bound) / objective.
        prices: of every limit that is a row of the linear program with the integers fixed.
    """

    problem: Problem
    ending: Ending
    units: Floats
    flow: Floats
    signed: frozenset[str]
    money: Money
    bound_usd: float
    gap: float
    prices: tuple[LimitPrice, ...] = field(default=())
