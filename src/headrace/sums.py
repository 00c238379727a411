"""Sums from left to right: the same bits in every build and on every version of Python.

The built-in `sum` compensates for rounding from Python 3.12 on; before, and in a compiled loop, it does not. What is
simulated or decided must not depend on that, so floats are summed here.
"""

from __future__ import annotations

from collections.abc import Iterable


def float_sum(values: Iterable[float]) -> float:
    """The sum of all; 0 of none."""
    found = 0.0
    for value in values:
        found += value
    return found
