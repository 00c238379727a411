"""Estimates: a predicted number never comes alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted number with its interval.

    Attributes:
        low, high: 80 % interval.
        why: the binding resource.
        source: the coefficient rows used.
    """

    value: float
    low: float
    high: float
    unit: str
    why: str
    source: str
