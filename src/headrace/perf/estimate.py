"""Estimates: a predicted number, the interval that it lies in, and what decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from headrace.perf.coefficients import Coefficient


class Bound(Enum):
    """At which end of their intervals the coefficients are taken."""

    FAST = "low"
    EXPECTED = "value"
    SLOW = "high"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted number with its interval.

    Attributes:
        low, high: an 80 % interval.
        why: the binding resource.
        source: the coefficient rows used.
    """

    value: float
    low: float
    high: float
    unit: str
    why: str
    source: str


def largest(parts: Mapping[str, float]) -> str:
    """The name of the largest part; of equal ones, the first."""
    return max(parts, key=lambda name: parts[name])


def sources(rows: Iterable[Coefficient]) -> str:
    """Coefficient rows as the text of an estimate's source."""
    return "; ".join(str(row) for row in rows)
