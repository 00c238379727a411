"""The catalog: accelerators and models by name, read from the tables that ship with the package.

The figures live in `headrace/data/*.csv`, each row with its source and date; units are in the column names.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from functools import cache
from importlib import resources

from headrace.errors import ConfigError, Fault
from headrace.fleet.accelerator import Accelerator, Memory
from headrace.fleet.model import Model


class UnknownName(ConfigError, LookupError):
    """The catalog has no such row. The message lists names that look alike."""


def table(file: str) -> list[dict[str, str]]:
    """The rows of one shipped table, by column name.

    Args:
        file: name of a CSV file in `headrace/data`.
    """
    text = resources.files("headrace").joinpath("data", file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


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
    try:
        return _accelerators()[name]
    except KeyError:
        raise _unknown("accelerator", "accelerators", name, _accelerators()) from None


def accelerators() -> tuple[Accelerator, ...]:
    """Every accelerator, in the order of the table."""
    return tuple(_accelerators().values())


def model(name: str) -> Model:
    """The model that is called `name`.

    Raises:
        UnknownName: the catalog has no such model.
    """
    try:
        return _models()[name]
    except KeyError:
        raise _unknown("model", "models", name, _models()) from None


def models() -> tuple[Model, ...]:
    """Every model, in the order of the table."""
    return tuple(_models().values())


def _unknown(kind: str, file: str, name: str, known: Iterable[str]) -> UnknownName:
    return UnknownName("catalog", [Fault(f"{file}.{name}", f"no {kind} {name!r}; {close_matches(name, known)}")])


@cache
def _accelerators() -> dict[str, Accelerator]:
    return {row["name"]: _accelerator(row) for row in table("accelerators.csv")}


@cache
def _models() -> dict[str, Model]:
    return {row["name"]: _model(row) for row in table("models.csv")}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _accelerator(row: dict[str, str]) -> Accelerator:
    return Accelerator(
        name=row["name"],
        vendor=row["vendor"],
        memory=Memory(row["memory"]),
        memory_kind=row["memory_kind"],
        memory_bytes=float(row["memory_bytes"]),
        memory_bandwidth_bytes_per_s=float(row["memory_bandwidth_bytes_per_s"]),
        flops_bf16=_number(row["flops_bf16"]),
        flops_fp8=_number(row["flops_fp8"]),
        flops_fp4=_number(row["flops_fp4"]),
        scale_up_bandwidth_bytes_per_s=_number(row["scale_up_bandwidth_bytes_per_s"]),
        tdp_w=_number(row["tdp_w"]),
        all_in_w=_number(row["all_in_w"]),
        price_usd_per_h=_number(row["price_usd_per_h"]),
        price_basis=row["price_basis"] or None,
        source=f"{row['spec_source']} ({row['spec_date']})",
        unverified=tuple(part.strip() for part in row["unverified"].split(";") if part.strip()),
    )


def _model(row: dict[str, str]) -> Model:
    return Model(
        name=row["name"],
        parameters=float(row["parameters"]),
        active_parameters=float(row["active_parameters"]),
        weight_bytes=float(row["weight_bytes"]),
        native_weight_bits=int(row["native_weight_bits"]),
        layers=int(row["layers"]),
        hidden_size=int(row["hidden_size"]),
        attention_heads=int(row["attention_heads"]),
        kv_heads=int(row["kv_heads"]),
        head_size=int(row["head_size"]),
        context_tokens=int(row["context_tokens"]),
        vocabulary=int(row["vocabulary"]),
        source=f"{row['source']} ({row['date']})",
        experts=int(row["experts"]),
        active_experts=int(row["active_experts"]),
        expert_weight_fraction=float(row["expert_weight_fraction"]),
        sliding_window_layers=int(row["sliding_window_layers"]),
        sliding_window_tokens=int(row["sliding_window_tokens"]),
    )
