"""Speed coefficients: how much of a chip's peak a model server gets, and what each layer costs besides.

Every figure comes from `headrace/data/coefficients.csv`: value, 80 % interval, unit, sample count, source, date. Rows
for the accelerator `*` hold for every chip that has no row of its own. None of these numbers stands in code.

The software that drives a chip moves its speed, so a row may name a **release**, a date like `2024-10`: it holds from
then until a newer row of the same name. A row without one holds always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, catalog

ANY = "*"


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One fitted or assumed number. `n` is 0 where it is assumed; `release` is None where it holds for all."""

    accelerator: str
    release: str | None
    name: str
    value: float
    low: float
    high: float
    unit: str
    n: int
    source: str
    date: str

    def __str__(self) -> str:
        since = f" since {self.release}" if self.release else ""
        interval = f"[{self.low:g}, {self.high:g}]"
        return (
            f"{self.name} of {self.accelerator}{since} = {self.value:g} {self.unit} {interval}, "
            f"n={self.n}: {self.source}"
        )


def coefficient(chip: Accelerator, name: str, release: str | None = None) -> Coefficient:
    """The coefficient `name` of an accelerator, as of a software release; None: the newest.

    Raises:
        ModelRangeError: neither the chip nor `*` has such a row, or every row is of a later release.
    """
    rows = _rows(chip, name)
    if not rows:
        raise ModelRangeError(f"no coefficient {name!r} for accelerator {chip.name!r}: its speed cannot be predicted")
    if release is None:
        return rows[-1]
    held = [row for row in rows if row.release is None or row.release <= release]
    if not held:
        raise ModelRangeError(
            f"accelerator {chip.name!r}: release {release} is older than the first, {rows[0].release}"
        )
    return held[-1]


def coefficients_of(chip: Accelerator, names: Iterable[str], release: str | None = None) -> dict[str, Coefficient]:
    """Several coefficients of an accelerator by name, each as `coefficient` finds it."""
    return {name: coefficient(chip, name, release) for name in names}


def has_coefficient(chip: Accelerator, name: str) -> bool:
    """Whether the chip itself has a row `name`; one of `*` does not count."""
    return (_own(chip), name) in _coefficients()


def has_coefficients(chip: Accelerator) -> bool:
    """Whether any row is of this accelerator, or of the one that it is as fast as."""
    return any(accelerator == _own(chip) for accelerator, _ in _coefficients())


def releases(chip: Accelerator) -> tuple[str, ...]:
    """Software releases that moved the speed of this accelerator, oldest first."""
    named = {row.release for row in coefficients() if row.accelerator == _own(chip) and row.release is not None}
    return tuple(sorted(named))


def coefficients() -> tuple[Coefficient, ...]:
    """Every coefficient, in the order of the table."""
    return tuple(row for rows in _coefficients().values() for row in rows)


def _own(chip: Accelerator) -> str:
    return chip.speed_as or chip.name


def _rows(chip: Accelerator, name: str) -> tuple[Coefficient, ...]:
    """Oldest release first."""
    table = _coefficients()
    return table.get((_own(chip), name)) or table.get((ANY, name)) or ()


@cache
def _coefficients() -> dict[tuple[str, str], tuple[Coefficient, ...]]:
    grouped: dict[tuple[str, str], list[Coefficient]] = {}
    for row in catalog.table("coefficients.csv"):
        read = _coefficient(row)
        grouped.setdefault((read.accelerator, read.name), []).append(read)
    return {key: tuple(sorted(rows, key=lambda row: row.release or "")) for key, rows in grouped.items()}


def _coefficient(row: dict[str, str]) -> Coefficient:
    return Coefficient(
        accelerator=row["accelerator"],
        release=row["release"] or None,
        name=row["name"],
        value=float(row["value"]),
        low=float(row["low"]),
        high=float(row["high"]),
        unit=row["unit"],
        n=int(row["n"]),
        source=row["source"],
        date=row["date"],
    )
