"""From the tables of commitments and budgets to the objects of `headrace.fleet`."""

from __future__ import annotations

from datetime import date

from headrace.config import document as doc
from headrace.config.faults import Faults
from headrace.fleet import Budget, Commitment, CommittedUnit
from headrace.fleet.dates import unix_s


def commitments(raw: object, faults: Faults) -> dict[str, Commitment]:
    """Those that could be built; what is wrong with the others is noted."""
    tables = faults.tables(raw, doc.CommitmentTable, "commitments")
    found = {name: _commitment(name, table, faults) for name, table in tables.items() if table is not None}
    return {name: each for name, each in found.items() if each is not None}


def budgets(raw: object, faults: Faults) -> dict[str, Budget]:
    """Those that could be built; what is wrong with the others is noted."""
    tables = faults.tables(raw, doc.BudgetTable, "budgets")
    return {name: _budget(name, table) for name, table in tables.items() if table is not None}


def _commitment(name: str, table: doc.CommitmentTable, faults: Faults) -> Commitment | None:
    amounts = [(unit, getattr(table, unit)) for unit in CommittedUnit]
    given = [(unit, amount) for unit, amount in amounts if amount is not None]
    if len(given) != 1:
        units = ", ".join(CommittedUnit)
        faults.add(f"commitments.{name}", f"{len(given)} of {units} are set; say what is promised by exactly one")
        return None
    ((unit, amount),) = given
    pools, start = tuple(table.pools), table.starting_price_usd
    return Commitment(name, pools, amount, unit, table.per, _unix_s(table.from_date), start)


def _budget(name: str, table: doc.BudgetTable) -> Budget:
    return Budget(
        name,
        table.usd,
        table.per,
        tuple(table.pools),
        tuple(table.classes),
        table.hard,
        _unix_s(table.from_date),
        table.starting_price_usd,
    )


def _unix_s(day: date | None) -> float | None:
    return None if day is None else unix_s(day)
