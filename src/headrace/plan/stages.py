"""The horizon in stages and periods: when what is held may change, and when demand does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import log

import numpy as np

from headrace.fleet.dates import MONTHS_PER_YEAR, add_months
from headrace.fleet.scenario import Horizon
from headrace.plan.problem import Period
from headrace.plan.queueing import Array
from headrace.units import HOURS_PER_YEAR

HOURS_PER_DAY = 24
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the horizon in which what is held for good stays the same; `begun_years`: years before it."""

    name: str
    start: date
    end: date
    begun_years: float
    years: float

    @property
    def year(self) -> int:
        """Which year of the horizon it is in, from 0."""
        return int(self.begun_years + 1e-9)

    def growth(self, per_year: float) -> float:
        """Mean of (1 + g)^t over the stage: requests are conserved, their rise within it is not seen."""
        if per_year == 0.0:
            return 1.0
        factor = 1.0 + per_year
        rise = factor ** (self.begun_years + self.years) - factor**self.begun_years
        return float(rise / (log(factor) * self.years))


def stages_of(horizon: Horizon) -> tuple[Stage, ...]:
    """Stages of `stage_months` each."""
    months = horizon.stage_months
    found = []
    for begun in range(0, horizon.years * MONTHS_PER_YEAR, months):
        start = add_months(horizon.start, begun)
        name = str(start.year) if months == MONTHS_PER_YEAR and start.month == 1 else start.isoformat()
        end = add_months(horizon.start, begun + months)
        found.append(Stage(name, start, end, begun / MONTHS_PER_YEAR, months / MONTHS_PER_YEAR))
    return tuple(found)


def periods_of(horizon: Horizon, stages: tuple[Stage, ...]) -> tuple[Period, ...]:
    """The blocks of the cycle in each stage; the hours of a stage are shared out evenly."""
    blocks = horizon.days_in_cycle * HOURS_PER_DAY // horizon.period_hours
    return tuple(
        Period(f"{stage.name} {_block_name(horizon, block)}", number, stage.years * HOURS_PER_YEAR / blocks)
        for number, stage in enumerate(stages)
        for block in range(blocks)
    )


def _block_name(horizon: Horizon, block: int) -> str:
    day, hour = divmod(block * horizon.period_hours, HOURS_PER_DAY)
    clock = f"{hour:02d}:00"
    return clock if horizon.days_in_cycle == 1 else f"{DAYS[day]} {clock}"


def rates_of(hourly: Array, growth: float, horizon: Horizon, stages: tuple[Stage, ...]) -> Array:
    """Requests/s of each bucket in each period, from those of each hour of the cycle at the start of the horizon."""
    buckets = hourly.shape[0]
    blocks = hourly.reshape(buckets, -1, horizon.period_hours).mean(axis=2)
    return np.concatenate([blocks * stage.growth(growth) for stage in stages], axis=1)
