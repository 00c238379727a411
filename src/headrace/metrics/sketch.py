"""Quantiles of a stream in bounded memory.

A sorted list would give exact quantiles and grow with the run. A `QuantileSketch` counts values in buckets whose bounds
grow geometrically, so the relative width of a bucket is the same everywhere: every quantile is right to 0.5 % of its
value, whatever the distribution, and two sketches add up bucket by bucket.
Source of the idea: Masson, Rim, Lee, "DDSketch", PVLDB 12 (2019).
"""

from __future__ import annotations

from math import ceil, exp, inf, log
from typing import Final

from headrace.errors import InvariantError

RELATIVE_ERROR: Final = 0.005
SMALLEST: Final = 1e-9  # what lies below counts as 0
LARGEST: Final = 1e9  # what lies above counts as this

_LOG_GAMMA: Final = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_PER_LOG: Final = 1 / _LOG_GAMMA
_OFFSET: Final = (
    ceil(-log(SMALLEST) * _PER_LOG) + 1
)  # bucket of the value 1; keeps every index positive, bucket 0 is for zeros
_BUCKETS: Final = int(log(LARGEST) * _PER_LOG + _OFFSET) + 1


class QuantileSketch:
    """Counts of non-negative values in log-spaced buckets: quantiles within 0.5 % between 1e-9 and 1e9."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self.count = 0
        self._counts = [0] * _BUCKETS

    def add(self, value: float) -> None:
        """Count one value. Raises InvariantError for a negative, infinite or undefined one."""
        if SMALLEST < value < LARGEST:
            self._counts[int(log(value) * _PER_LOG + _OFFSET)] += 1
        else:
            self._counts[_edge_bucket(value)] += 1
        self.count += 1

    def quantile(self, q: float) -> float | None:
        """The value of rank `q * (count - 1)`, rounded down to a sample; None without samples. `q` is in [0, 1]."""
        if not self.count:
            return None
        rank = int(q * (self.count - 1))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen > rank:
                return _value(bucket)
        raise InvariantError(f"sketch: {seen} values in the buckets, {self.count} counted")

    def merge(self, other: QuantileSketch) -> None:
        """Add everything that `other` has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count


def _edge_bucket(value: float) -> int:
    if not 0 <= value < inf:
        raise InvariantError(f"sketch: {value!r} is not a finite non-negative number; look for what measured it")
    return 0 if value <= SMALLEST else _BUCKETS - 1


def _value(bucket: int) -> float:
    """Estimate for a bucket: the point with the same relative distance to both bounds."""
    if bucket == 0:
        return 0.0
    return exp((bucket - _OFFSET) * _LOG_GAMMA) * (1 + RELATIVE_ERROR)
