"""The catalog: accelerators, systems, models by name, and list prices, read from the tables that ship with the package.

The figures live in `headrace/data/*.csv`, each row with its source and date; units are in the column names. A column
that is named like an attribute becomes that attribute, and an empty cell leaves it at None or at its default.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import msgspec

from headrace.errors import ConfigError, Fault
from headrace.fleet.accelerator import Accelerator
from headrace.fleet.list_price import ListPrice
from headrace.fleet.model import Model
from headrace.fleet.system import System

T = TypeVar("T")
LISTS = ("aliases", "unverified")


class UnknownName(ConfigError, LookupError):
    """The catalog has no such row. The message lists names that look alike."""


def table(file: str) -> list[dict[str, str]]:
    """The rows of one shipped table, by column name.

    Args:
        file: name of a CSV file in `headrace/data`.
    """
    text = resources.files("headrace").joinpath("data", file).read_text(encoding="utf-8")
    rows = csv.reader(text.splitlines())
    columns = next(rows)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def close_matches(name: str, known: Iterable[str]) -> str:
    """Advice for a name that is not known: the names that look alike, or all of them when none does."""
    by_lower = {each.lower(): each for each in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if matches:
        return "did you mean " + " or ".join(repr(by_lower[match]) for match in matches) + "?"
    return "known: " + ", ".join(by_lower.values()) if by_lower else "none is declared"


def accelerator(name: str) -> Accelerator:
    """The accelerator that users call `name`.

    Raises:
        UnknownName: the catalog has no such accelerator.
    """
    return _named("accelerator", name, _accelerators())


def accelerators() -> tuple[Accelerator, ...]:
    """Every accelerator, in the order of the table."""
    return tuple(_accelerators().values())


def system(name: str) -> System:
    """The node, rack, slice or instance that is called `name`.

    Raises:
        UnknownName: the catalog has no such system.
    """
    return _named("system", name, _systems())


def systems() -> tuple[System, ...]:
    """Every system, in the order of the table."""
    return tuple(_systems().values())


def model(name: str) -> Model:
    """The model that is called `name`.

    Raises:
        UnknownName: the catalog has no such model.
    """
    return _named("model", name, _models())


def models() -> tuple[Model, ...]:
    """Every model, in the order of the table."""
    return tuple(_models().values())


def find_model(name: str) -> Model:
    """The model that is known as `name` anywhere: by its name here or by an alias, whatever the case.

    A checkpoint in another precision resolves to its architecture: say the precision where it is deployed.

    Raises:
        UnknownName: no model of the catalog has this name or alias.
    """
    found = _models_by_alias().get(name.lower())
    return model(name) if found is None else found


def prices(model_name: str | None = None) -> tuple[ListPrice, ...]:
    """List prices of one model, known by name or alias, or of all; those that no list holds any more among them.

    Raises:
        UnknownName: no model of the catalog has this name or alias.
    """
    if model_name is None:
        return _prices()
    wanted = find_model(model_name).name
    return tuple(price for price in _prices() if price.model == wanted)


def _named(kind: str, name: str, known: Mapping[str, T]) -> T:
    try:
        return known[name]
    except KeyError:
        fault = Fault(f"{kind}s.{name}", f"no {kind} {name!r}; {close_matches(name, known)}")
        raise UnknownName("catalog", [fault]) from None


@cache
def _accelerators() -> dict[str, Accelerator]:
    return {row["name"]: _record(Accelerator, _with_spec_source(row)) for row in table("accelerators.csv")}


@cache
def _systems() -> dict[str, System]:
    return {row["name"]: _record(System, row) for row in table("systems.csv")}


@cache
def _models() -> dict[str, Model]:
    return {row["name"]: _record(Model, row) for row in table("models.csv")}


@cache
def _prices() -> tuple[ListPrice, ...]:
    return tuple(_record(ListPrice, row) for row in table("prices.csv"))


@cache
def _models_by_alias() -> dict[str, Model]:
    return {alias.lower(): each for each in models() for alias in (each.name, *each.aliases)}


def _with_spec_source(row: Mapping[str, str]) -> dict[str, str]:
    return {**row, "source": row["spec_source"], "date": row["spec_date"]}


def _record(kind: type[T], row: Mapping[str, str]) -> T:
    """One row as a `kind`: its columns by attribute, its date beside its source."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    cells: dict[str, Any] = {column: cell for column, cell in row.items() if column in names and cell != ""}
    cells |= {column: _parts(row[column]) for column in LISTS if column in names}
    cells["source"] = f"{row['source']} ({row['date']})"
    return msgspec.convert(cells, kind, strict=False)


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())
