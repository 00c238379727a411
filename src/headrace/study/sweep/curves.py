"""Rows over seeds as curves over the share: means with confidence intervals, and what the next percent brings.

    interval        mean +- t(0.975, n - 1) * s / sqrt(n)       over n seeds; Student's t, none where n < 2
    next percent    (V(b) - V(a)) / (100 * (b - a))             USD/h per percentage point between neighbouring targets

V is the value captured per hour; of sessions, per task: their last ones run on for hours, so no rate means much. Its
difference is taken seed by seed before it is averaged: both ends saw the same requests, so what they have in common
cancels (common random numbers). V counts marginal cost, list prices included; capacity that is paid by the hour is the
same at every target above 0 and does not move it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from headrace.study.sweep.rows import Row, Value

CONFIDENCE = 0.95
VALUE = "value_captured_usd_per_h"
VALUE_OF_TASKS = "value_captured_usd_per_task"

Case = tuple[tuple[str, Value], ...]  # fleet and axes, by column


class Band(NamedTuple):
    """A mean over seeds; `low` and `high` are None where one seed says nothing about the spread."""

    mean: float
    low: float | None
    high: float | None


class CurvePoint(NamedTuple):
    """A figure at a share of work, 0 to 1."""

    share: float
    band: Band


class Payoff(NamedTuple):
    """What one policy is worth.

    Attributes:
        best_share: the target of the largest mean value captured; `best`: that value.
        pays_until: the largest target up to which every step brings value in the mean.
        stops: the step after it, which brings none; None: it pays to the end of the grid.
        sure: whether the interval of that step lies below zero.
    """

    best_share: float
    best: Band
    pays_until: float
    stops: CurvePoint | None
    sure: bool


def band(values: Sequence[float]) -> Band:
    """Mean and interval of one figure over seeds; at least one value."""
    from scipy.special import stdtrit  # takes a second to load, which workers would all spend for nothing

    mean = fmean(values)
    if len(values) < 2:
        return Band(mean, None, None)
    half = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * stdev(values) / sqrt(len(values))
    return Band(mean, mean - half, mean + half)


class Worth(NamedTuple):
    """What value is counted in: columns of the value captured and of what is paid, their unit, how they are written."""

    value: str
    cost: str
    unit: str
    form: str


PER_HOUR = Worth(VALUE, "cost_usd_per_h", "USD/h", ".2f")
PER_TASK = Worth(VALUE_OF_TASKS, "marginal_usd_per_task", "USD/task", ".3f")


class Curves:
    """The rows of a sweep, asked for as curves.

    Attributes:
        worth: what value is counted in: per task where all traffic has tasks, else per hour.
    """

    def __init__(self, found: Sequence[Row]) -> None:
        axes = [name for name in found[0] if name.startswith(("set.", "times."))]
        self._rows: dict[tuple[Case, Value, Value, Value], list[Row]] = {}
        for row in found:
            case: Case = tuple((name, row[name]) for name in ("fleet", *axes))
            self._rows.setdefault((case, row["load"], row["policy"], row["share_target"]), []).append(row)
        self.cases = list(dict.fromkeys(key[0] for key in self._rows))
        self.loads = [load for load in dict.fromkeys(key[1] for key in self._rows) if isinstance(load, float)]
        self.policies = self._named(steered=True)
        self.references = self._named(steered=False)
        self.seeds = len({row["seed"] for row in found})
        self.worth = PER_TASK if all(row.get(VALUE_OF_TASKS) is not None for row in found) else PER_HOUR

    def rows(self, case: Case) -> list[Row]:
        """Every row of a case."""
        return [row for key, found in self._rows.items() if key[0] == case for row in found]

    def curve(self, case: Case, load: float, policy: str, column: str) -> list[CurvePoint]:
        """A figure over the shares, in increasing order; shares at which it is undefined are left out."""
        points = []
        for share, found in self._over_shares(case, load, policy):
            values = _numbers(row.get(column) for row in found)
            if values:
                points.append(CurvePoint(share, band(values)))
        return points

    def level(self, case: Case, load: float, reference: str, column: str) -> Band | None:
        """A figure of a reference; None: it is undefined."""
        values = _numbers(row.get(column) for row in self._rows.get((case, load, reference, None), []))
        return band(values) if values else None

    def next_percent(self, case: Case, load: float, policy: str) -> list[CurvePoint]:
        """Value per percentage point from each target to the next; the point stands at the step's lower end."""
        steps = []
        shares = self._over_shares(case, load, policy)
        for (low, before), (high, after) in pairwise(shares):
            start = {row["seed"]: row.get(self.worth.value) for row in before}
            gains = []
            for row in after:
                first, second = start.get(row["seed"]), row.get(self.worth.value)
                if isinstance(first, float) and isinstance(second, float):
                    gains.append((second - first) / (100.0 * (high - low)))
            if gains:
                steps.append(CurvePoint(low, band(gains)))
        return steps

    def payoff(self, case: Case, load: float, policy: str) -> Payoff | None:
        """Where a policy is worth most and where the next percent stops paying; None: nothing was compared."""
        values, steps = self.curve(case, load, policy, self.worth.value), self.next_percent(case, load, policy)
        if not values:
            return None
        best = max(values, key=lambda point: point.band.mean)
        stops = next((step for step in steps if step.band.mean <= 0.0), None)
        sure = stops is not None and stops.band.high is not None and stops.band.high < 0.0
        return Payoff(best.share, best.band, values[-1].share if stops is None else stops.share, stops, sure)

    def _over_shares(self, case: Case, load: float, policy: str) -> list[tuple[float, list[Row]]]:
        found = [
            (key[3], rows)
            for key, rows in self._rows.items()
            if key[:3] == (case, load, policy) and isinstance(key[3], float)
        ]
        return sorted(found, key=lambda each: each[0])

    def _named(self, *, steered: bool) -> list[str]:
        names = dict.fromkeys(key[2] for key in self._rows if (key[3] is not None) is steered)
        return [str(name) for name in names]


def _numbers(values: Iterable[Value]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)]
