"""Speed coefficients: how much of a chip's peak a model server gets, and what each layer costs besides.

Every figure comes from `headrace/data/coefficients.csv`: value, 80 % interval, unit, sample count, source, date. Rows
for the accelerator `*` hold for every chip that has no row of its own. None of these numbers stands in code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, catalog

ANY = "*"


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One fitted or assumed number. `n` is 0 where it is assumed."""

    accelerator: str
    name: str
    value: float
    low: float
    high: float
    unit: str
    n: int
    source: str
    date: str


def coefficient(chip: Accelerator, name: str) -> Coefficient:
    """The coefficient `name` of an accelerator.

    Raises:
        ModelRangeError: neither the chip nor `*` has such a row.
    """
    table = _coefficients()
    row = table.get((chip.speed_as or chip.name, name)) or table.get((ANY, name))
    if row is None:
        raise ModelRangeError(f"no coefficient {name!r} for accelerator {chip.name!r}: its speed cannot be predicted")
    return row


def has_coefficients(chip: Accelerator) -> bool:
    """Whether the speed of this accelerator can be predicted."""
    return (chip.speed_as or chip.name) in {row.accelerator for row in coefficients()}


def coefficients() -> tuple[Coefficient, ...]:
    """Every coefficient, in the order of the table."""
    return tuple(_coefficients().values())


@cache
def _coefficients() -> dict[tuple[str, str], Coefficient]:
    rows = (
        Coefficient(
            accelerator=row["accelerator"],
            name=row["name"],
            value=float(row["value"]),
            low=float(row["low"]),
            high=float(row["high"]),
            unit=row["unit"],
            n=int(row["n"]),
            source=row["source"],
            date=row["date"],
        )
        for row in catalog.table("coefficients.csv")
    )
    return {(row.accelerator, row.name): row for row in rows}
