"""Linear expressions by rows, as arrays: what the constraints are written in.

    each(columns, coefficients)            one row a column
    total(columns, coefficients)           one row: the sum over all
    grouped(columns, coefficients, group)  one row a group: the sum over its columns

They add, subtract and scale; a sum of expressions with different numbers of rows raises, except that a number is added
to every row. `columns` are numbers of variables, as `plan.variables` gives them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headrace.errors import InvariantError
from headrace.plan.tables import Floats, Ints


@dataclass(frozen=True, slots=True)
class Rows:
    """`constant` (one figure a row) + the sum of `value` * x[`column`] over the terms of each `row`."""

    row: Ints
    column: Ints
    value: Floats
    constant: Floats

    def __add__(self, other: Rows | float) -> Rows:
        if not isinstance(other, Rows):
            return Rows(self.row, self.column, self.value, self.constant + other)
        if len(other.constant) != len(self.constant):
            raise InvariantError(f"{len(self.constant)} rows and {len(other.constant)} rows do not add up")
        row, column = np.concatenate([self.row, other.row]), np.concatenate([self.column, other.column])
        return Rows(row, column, np.concatenate([self.value, other.value]), self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, factor: float) -> Rows:
        return Rows(self.row, self.column, self.value * factor, self.constant * factor)

    __rmul__ = __mul__

    def __sub__(self, other: Rows | float) -> Rows:
        return self + other * -1.0


NOTHING = Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(1))


def each(columns: Ints, coefficients: ArrayLike = 1.0) -> Rows:
    """One row a column: its coefficient times it."""
    return grouped(columns, coefficients, np.arange(len(columns)), len(columns))


def total(columns: Ints, coefficients: ArrayLike = 1.0) -> Rows:
    """One row: the sum of coefficient * column over all of them."""
    return grouped(columns, coefficients, np.zeros((1,) * columns.ndim, np.int64), 1)


def grouped(columns: Ints, coefficients: ArrayLike, group: Ints, count: int) -> Rows:
    """`count` rows: the sum of coefficient * column over the columns of each group; arrays are broadcast."""
    row = np.broadcast_to(group, columns.shape).ravel()
    value = np.broadcast_to(np.asarray(coefficients, dtype=float), columns.shape).ravel()
    return Rows(row, columns.ravel(), value, np.zeros(count))
