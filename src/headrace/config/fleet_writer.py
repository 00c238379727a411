"""A fleet as the text of a fleet file: what `load_fleet` reads back to an equal fleet.

What is at its default is left out, and so is what the catalog knows: a model or chip of the catalog is named, another
is written with its figures. The structs of `document` say what a table holds, so a new setting needs no line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import deployment_tables
from headrace.config import document as doc
from headrace.config.build import SCHEMA
from headrace.config.serving import PERCENT
from headrace.config.toml_text import Comments, toml_text
from headrace.errors import ConfigError, Fault
from headrace.fleet import (
    Accelerator,
    Budget,
    Commitment,
    Deployment,
    Fleet,
    Hourly,
    LedgerSettings,
    Limits,
    Model,
    OperatingPoint,
    Pool,
    Quantiles,
    Share,
    Speculation,
    catalog,
)
from headrace.fleet.dates import day_of
from headrace.workload import WorkloadClass

Table = dict[str, Any]


def fleet_text(fleet: Fleet, comments: Comments | None = None, folder: Path | None = None) -> str:
    """The fleet file of `fleet`.

    Args:
        comments: by path of a table or setting; see `toml_text`.
        folder: where the file is to lie: calibration files inside it are named relative to it.

    Raises:
        ConfigError: it holds what no fleet file can say, or a comment has no place.
    """
    return toml_text(fleet_document(fleet, folder), comments)


def fleet_document(fleet: Fleet, folder: Path | None = None) -> dict[str, object]:
    """The fleet as `tomllib` would read it from its file; arguments and errors as in `fleet_text`."""
    sections: dict[str, object] = {
        "models": {name: _model(model) for name, model in fleet.models.items()},
        "accelerators": {chip.name: _accelerator(chip) for chip in _own_chips(fleet)},
        "deployments": {name: _deployment(each, folder) for name, each in fleet.deployments.items()},
        "pools": {name: _pool(pool) for name, pool in fleet.pools.items()},
        "classes": {name: _class(each) for name, each in fleet.classes.items()},
        "shares": {name: _share(share) for name, share in fleet.shares.items()},
        "commitments": {name: _commitment(each) for name, each in fleet.commitments.items()},
        "budgets": {name: _paced(doc.BudgetTable, each) for name, each in fleet.budgets.items()},
        "routes": [_table(doc.RouteTable, route) for route in fleet.routes],
        "limits": _changed(fleet.limits),
        "ledger": _changed(fleet.ledger),
        "aliases": dict(fleet.aliases),
        "fallbacks": {model: list(others) for model, others in fleet.fallbacks.items()},
    }
    head: dict[str, object] = {"schema": SCHEMA, "default_class": fleet.default_class, "policy": fleet.policy}
    return head | {name: section for name, section in sections.items() if section}


def _table(kind: type[msgspec.Struct], source: object) -> Table:
    """The settings of `kind` that `source` has as attributes, those at their default left out."""
    found: Table = {}
    for setting in msgspec.structs.fields(kind):
        value = getattr(source, setting.name, None)
        if value is None or (not setting.required and value in (setting.default, ())):
            continue
        if plain := _plain(value):
            found[setting.encode_name] = plain[0]
    return found


def _plain(value: object) -> tuple[object] | None:
    """The value as TOML knows it; None: it is an object of its own, which the caller writes."""
    if isinstance(value, Enum):
        return (str(value.value),)
    if isinstance(value, tuple):
        return (list(value),)
    return None if hasattr(value, "__dataclass_fields__") else (value,)


def _model(model: Model) -> Table:
    known = {each.name: each for each in catalog.models()}
    return {} if known.get(model.name) == model else _table(doc.ModelTable, model)


def _own_chips(fleet: Fleet) -> Iterator[Accelerator]:
    """Each chip once that is not as the catalog has it."""
    known = {chip.name: chip for chip in catalog.accelerators()}
    seen: dict[str, Accelerator] = {}
    for name, deployment in fleet.deployments.items():
        chip = deployment.accelerator
        if chip is None:
            continue
        if seen.setdefault(chip.name, chip) != chip:
            raise _unsaid(f"deployments.{name}.accelerator", f"{chip.name!r} is two different chips; name them apart")
    yield from (chip for chip in seen.values() if known.get(chip.name) != chip)


def _accelerator(chip: Accelerator) -> Table:
    """A chip of one's own: like one of the catalog that has no figure which this one lacks, and every own figure."""
    figures = _table(doc.AcceleratorTable, chip)
    absent = [each.name for each in fields(Accelerator) if getattr(chip, each.name) is None]
    absent = [name for name in absent if name not in ("availability", "speed_as")]
    for like in catalog.accelerators():
        if all(getattr(like, name) is None for name in absent):
            return {"like": like.name, **figures}
    raise _unsaid(f"accelerators.{chip.name}", f"no chip of the catalog lacks all of {', '.join(absent)}; give one")


def _deployment(deployment: Deployment, folder: Path | None) -> Table:
    found: Table = {"model": deployment.model.name}
    if deployment.accelerator is not None:
        found["accelerator"] = deployment.accelerator.name
    found |= _table(deployment_tables.DeploymentTable, deployment)
    if deployment.calibrated is not None:
        found.pop("max_batch", None)  # the calibration says it
        found["calibrated"] = _relative(deployment.calibrated.source, folder)
    if isinstance(deployment.speculation, Speculation):
        found["speculation"] = _table(deployment_tables.SpeculationTable, deployment.speculation)
    if deployment.observed is not None:
        found["observed"] = _observed(f"deployments.{deployment.name}.observed", deployment.observed)
    for name, kind in SERVING.items():
        options = getattr(deployment, name)
        if options is not None:
            found[name] = _table(kind, options)
    if deployment.replicas is not None and not deployment.replicas.target_in_flight:
        found["replicas"].pop("target_in_flight", None)
    return found


SERVING: dict[str, type[msgspec.Struct]] = {
    "kv_cache": deployment_tables.KvCacheTable,
    "quota": deployment_tables.QuotaTable,
    "replicas": deployment_tables.ReplicasTable,
    "split": deployment_tables.SplitTable,
    "spares": deployment_tables.SparesTable,
}


def _relative(file: str, folder: Path | None) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if folder is not None and path.is_relative_to(folder) else file


def _observed(path: str, point: OperatingPoint) -> Table:
    found = _table(deployment_tables.ObservedTable, point)
    for name, quantiles in (("ttft", point.ttft_quantiles), ("tpot", point.tpot_quantiles)):
        if quantiles is not None:
            found[f"{name}_quantiles_s"] = _quantiles(f"{path}.{name}_quantiles_s", quantiles)
    return found


def _quantiles(path: str, quantiles: Quantiles) -> Table:
    known = {int(name.removeprefix("p")) / PERCENT: name for name in deployment_tables.QuantilesTable.__struct_fields__}
    unsaid = [level for level in quantiles.levels if level not in known]
    if unsaid:
        raise _unsaid(path, f"no quantile of a fleet file is at {unsaid[0]}; use {', '.join(known.values())}")
    return {known[level]: value for level, value in zip(quantiles.levels, quantiles.values, strict=True)}


def _pool(pool: Pool) -> Table:
    kind = doc.HourlyTable if isinstance(pool.price, Hourly) else doc.PerTokenTable
    price = {"type": str(kind.__struct_config__.tag), **_table(kind, pool.price)}
    found = {"deployment": pool.deployment.name, **_table(doc.PoolTable, pool)}
    found.pop("backends", None)  # written last, each as a table
    return found | {"price": price, "backends": [_table(doc.BackendTable, backend) for backend in pool.backends]}


def _class(each: WorkloadClass) -> Table:
    found = _table(doc.ClassTable, each)
    slo, match = _table(doc.SloTable, each.slo), _table(doc.MatchTable, each.match)
    match |= {"headers": dict(each.match.headers)} if each.match.headers else {}
    return found | {name: table for name, table in (("slo", slo), ("match", match)) if table}


def _share(share: Share) -> Table:
    found = _table(doc.ShareTable, share)
    return found if share.reference is None else found | {"reference": share.reference.name}


def _commitment(each: Commitment) -> Table:
    return _paced(doc.CommitmentTable, each) | {str(each.unit): each.amount}


def _paced(kind: type[msgspec.Struct], each: Commitment | Budget) -> Table:
    found = _table(kind, each)
    return found if each.from_unix_s is None else found | {"from": day_of(each.from_unix_s)}


def _changed(settings: Limits | LedgerSettings) -> Table:
    """The settings that differ from their defaults."""
    default = type(settings)()
    found = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return {
        name: str(value) if isinstance(value, Enum) else value
        for name, value in found.items()
        if value != getattr(default, name)
    }


def _unsaid(path: str, message: str) -> ConfigError:
    return ConfigError("fleet", [Fault(path, message)])
