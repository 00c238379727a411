"""Total cost of ownership, recomputed from quantities: what was held, used and promised, and for how long.

No figure of a solver comes in here: a plan says how many units it holds and how many tokens go where, and this says
what that costs, line by line. The two must agree (a law that is tested): a plan that saves money only in its own books
saves none.

    held       unit-hours * USD per held hour             capital, hosting, staff, idle power, rent
    used       busy unit-hours * USD per busy hour, and tokens * price
    promised   what contracts ask for beyond what was spent on them, in each stage

Money is counted when it is spent and not discounted: capital carries its cost in the recovery factor. The present value
stands beside it, each stage discounted from its middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.cost.marginal import request_cost_usd, token_cost
from headrace.cost.terms import HourlyCost, Unit, hourly_cost
from headrace.fleet.terms import ByToken, CapacityContract, Terms
from headrace.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Quantities:
    """What one candidate holds and serves in one stage."""

    unit_hours: float = 0.0
    busy_unit_s: float = 0.0
    input_tokens: float = 0.0
    cached_input_tokens: float = 0.0
    output_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One candidate: its terms and what it did, stage by stage.

    Attributes:
        capacity: the contract that committed terms name.
        discount: part of the list price that a commitment to spend takes off.
        promise: name of the contract that its spend counts towards.
    """

    terms: Terms
    unit: Unit
    stages: tuple[Quantities, ...]
    capacity: CapacityContract | None = None
    discount: float = 0.0
    promise: str | None = None


@dataclass(frozen=True, slots=True)
class Tco:
    """USD by candidate and stage, and by contract and stage for what was promised and not used."""

    held: dict[str, tuple[float, ...]]
    used: dict[str, tuple[float, ...]]
    promised: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def by_stage(self) -> tuple[float, ...]:
        """All of a stage."""
        rows = [*self.held.values(), *self.used.values(), *self.promised.values()]
        return tuple(map(sum, zip(*rows, strict=True)))

    @property
    def usd(self) -> float:
        """All of it."""
        return sum(self.by_stage)

    def present_value_usd(self, rate: float, stage_years: Sequence[float]) -> float:
        """Discounted to the start of the horizon at `rate` a year, each stage from its middle."""
        begun, total = 0.0, 0.0
        for usd, years in zip(self.by_stage, stage_years, strict=True):
            total += usd / (1.0 + rate) ** (begun + years / 2.0)
            begun += years
        return total


def tco(lines: Mapping[str, Line], promises: Mapping[str, Sequence[float]]) -> Tco:
    """What quantities cost.

    Args:
        lines: by candidate.
        promises: by contract, the least spend on its lines in each stage.
    """
    held, used = {}, {}
    for name, line in lines.items():
        cost = hourly_cost(line.terms, line.unit, line.capacity)
        list_part = 1.0 - line.discount
        held[name] = tuple(list_part * one.unit_hours * cost.held for one in line.stages)
        used[name] = tuple(list_part * _used_usd(line, cost, one) for one in line.stages)
    missing = {}
    for promise, least in promises.items():
        spent = [(held[name], used[name]) for name, line in lines.items() if line.promise == promise]
        missing[promise] = tuple(
            max(0.0, usd - sum(one[stage] + other[stage] for one, other in spent)) for stage, usd in enumerate(least)
        )
    return Tco(held, used, missing)


def _used_usd(line: Line, cost: HourlyCost, done: Quantities) -> float:
    if isinstance(line.terms, ByToken):
        tokens = done.input_tokens, done.output_tokens, done.cached_input_tokens
        return request_cost_usd(token_cost(line.terms.price), *tokens)
    return done.busy_unit_s / SECONDS_PER_HOUR * cost.busy
