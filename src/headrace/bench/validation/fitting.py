"""Fitting coefficients: robust least squares on logarithms, with priors, and intervals by resampling whole groups.

A speed that is twice too fast and one that is twice too slow are equally wrong, so residuals are log(predicted /
measured). Their pseudo-Huber loss keeps one odd row from bending the law. Every parameter is searched for as a
logarithm within physical bounds, and its prior (a log-normal around the start) counts as one more residual: with few
rows a parameter stays where physics puts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from headrace.perf.coefficients import Coefficient

NOISE = 0.10  # expected relative error of a row
ROBUST = 0.15  # relative error from which a row pulls less than its square
SHARE = 0.8  # of the draws that an interval holds

Array = NDArray[np.float64]
Values = Mapping[str, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One free coefficient.

    Attributes:
        accelerators: whose rows of the table it fills.
        start: where the search begins, and the middle of the prior.
        low, high: bounds.
        spread: width of the prior, standard deviation of the logarithm.
    """

    accelerators: tuple[str, ...]
    name: str
    start: float
    low: float
    high: float
    spread: float
    unit: str
    release: str | None = None

    @property
    def key(self) -> str:
        """Its name among the values of a fit."""
        return parameter_key(self.accelerators[0], self.name, self.release)


def parameter_key(accelerator: str, name: str, release: str | None = None) -> str:
    """The key of a coefficient: its row in the table."""
    return f"{accelerator} {name}" + (f" {release}" if release else "")


def fit_log(
    predict: Callable[[Values], Sequence[float]],
    measured: Sequence[float],
    weights: Sequence[float],
    parameters: Sequence[Parameter],
    nudges: Sequence[float] = (),
) -> dict[str, float]:
    """The values of `parameters` under which `predict` comes closest to `measured`.

    Args:
        nudges: relative changes of a parameter that derivatives are taken over, where `predict` has jumps (a
            simulation): the search is run with each, and the best end counts. None: as small as numbers allow.
    """
    keys = [parameter.key for parameter in parameters]
    start = np.log([parameter.start for parameter in parameters])
    low, high = (np.log([getattr(parameter, end) for parameter in parameters]) for end in ("low", "high"))
    spread = np.array([parameter.spread for parameter in parameters])
    target, scale = np.log(np.array(measured)), np.sqrt(np.array(weights))

    def residuals(theta: Array) -> Array:
        values = dict(zip(keys, np.exp(theta).tolist(), strict=True))
        gap = scale * (np.log(np.array(predict(values))) - target)
        rows = np.sign(gap) * ROBUST / NOISE * np.sqrt(2.0 * (np.sqrt(1.0 + (gap / ROBUST) ** 2) - 1.0))
        return np.concatenate([rows, (theta - start) / spread])

    inside = np.clip(start, low + 1e-9, high - 1e-9)
    relative = [nudge / np.maximum(np.abs(inside), nudge) for nudge in nudges]  # scipy multiplies it by the logarithm
    searches = [least_squares(residuals, inside, bounds=(low, high), diff_step=step) for step in relative or [None]]
    found = min(searches, key=lambda search: float(search.cost))
    return dict(zip(keys, np.exp(found.x).tolist(), strict=True))


def leave_out(
    groups: Sequence[str], fit: Callable[[Sequence[int]], Values], predict: Callable[[int, Values], T]
) -> list[T]:
    """Each row as predicted by a fit that saw no row of its group."""
    held: dict[int, T] = {}
    for group in sorted(set(groups)):
        values = fit([index for index, each in enumerate(groups) if each != group])
        for index, each in enumerate(groups):
            if each == group:
                held[index] = predict(index, values)
    return [held[index] for index in range(len(groups))]


def resample(
    groups: Sequence[str], fit: Callable[[Sequence[int]], Values], draws: int, seed: int = 7
) -> dict[str, tuple[float, float]]:
    """An 80 % interval of each value, from fits to groups drawn with replacement: it speaks of a model not seen yet."""
    chance = np.random.default_rng(seed)
    names = sorted(set(groups))
    members = {name: [index for index, each in enumerate(groups) if each == name] for name in names}
    found = []
    for _ in range(draws):
        drawn = chance.choice(names, len(names)).tolist()
        found.append(fit([index for name in drawn for index in members[name]]))
    return {key: quantile_interval([values[key] for values in found]) for key in found[0]}


def quantile_interval(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the middle 80 % of `values`."""
    low, high = np.quantile(np.array(values), [(1.0 - SHARE) / 2.0, (1.0 + SHARE) / 2.0]).tolist()
    return float(low), float(high)


def random_halves(n: int, splits: int) -> list[tuple[list[int], list[int]]]:
    """Rows to fit and rows to judge, `splits` times, each split with its own seed."""
    halves = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(n).tolist()
        halves.append((order[: n // 2], order[n // 2 :]))
    return halves


def as_rows(
    values: Values,
    intervals: Mapping[str, tuple[float, float]],
    parameters: Sequence[Parameter],
    n: int,
    source: str,
    date: str,
) -> list[Coefficient]:
    """Fitted values as rows of the coefficient table, to four digits."""
    rows = []
    for parameter in parameters:
        value = values[parameter.key]
        low, high = intervals.get(parameter.key, (value, value))
        ends = _four_digits(value), _four_digits(min(low, value)), _four_digits(max(high, value))
        rows += [
            Coefficient(name, parameter.release, parameter.name, *ends, parameter.unit, n, source, date)
            for name in parameter.accelerators
        ]
    return rows


def _four_digits(number: float) -> float:
    return float(f"{number:.4g}")
