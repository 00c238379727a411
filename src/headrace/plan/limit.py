"""A limit as the scenario names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the scenario's and the rows that are made of it.

    Attributes:
        kind, name: as the scenario calls it.
        rows: name of its rows in the model.
        unit, per_row: what the limit is counted in, and how many of them one unit of a row's right-hand side is.
        where: stage or period of each row; empty: there is one row.
        lasting: a unit lasts for the seconds of the period: rows are all periods.
        contract: the limit is there once this contract is signed; None: it needs none.
        reason: why the scenario asks for it, in its own words.
    """

    kind: str
    name: str
    rows: str
    unit: str = ""
    per_row: float = 1.0
    where: tuple[str, ...] = ()
    lasting: bool = False
    contract: str | None = None
    reason: str = ""
