"""The fault file: what goes wrong with a fleet, and when; checked whole, with every fault of the document at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from headrace.config.document import NotNegative, Positive, Table, Text
from headrace.config.faults import Faults
from headrace.config.fleet_file import read_document
from headrace.errors import ConfigError
from headrace.fleet import Down, Flapping, Fleet, Incident, LostAccelerator, Pool, QuotaCut, Slow, Stale
from headrace.fleet.catalog import close_matches

SCHEMA = 1
TOP_LEVEL = ("schema", "faults")


class FaultTable(Table, frozen=True, kw_only=True, tag_field="type"):
    """`[[faults]]`: whom it hits, by backend, pool or vendor of the accelerator, and from when on."""

    backends: tuple[Text, ...] = ()
    pools: tuple[Text, ...] = ()
    vendors: tuple[Text, ...] = ()
    from_s: NotNegative


class SpellTable(FaultTable, frozen=True, kw_only=True):
    """A fault that lasts; without `to_s` for good."""

    to_s: Positive | None = None

    @property
    def end_s(self) -> float:
        """When it is over."""
        return inf if self.to_s is None else self.to_s


class DownTable(SpellTable, frozen=True, kw_only=True, tag="down"):
    """`type = "down"`."""


class SlowTable(SpellTable, frozen=True, kw_only=True, tag="slow"):
    """`type = "slow"`: everything takes `factor` times as long."""

    factor: Annotated[float, Meta(ge=1, le=1e6)]


class FlappingTable(SpellTable, frozen=True, kw_only=True, tag="flapping"):
    """`type = "flapping"`: down for the first `down_fraction` of every `period_s`."""

    period_s: Annotated[float, Meta(ge=0.01)]
    down_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class QuotaTable(SpellTable, frozen=True, kw_only=True, tag="quota"):
    """`type = "quota"`: `fraction` of the rate limits of the deployment is granted."""

    fraction: Annotated[float, Meta(gt=0, lt=1)]


class StaleTable(SpellTable, frozen=True, kw_only=True, tag="stale"):
    """`type = "stale"`: signals come `delay_s` later; without it, the last ones before are said again and again."""

    delay_s: Positive | None = None


class LostAcceleratorTable(FaultTable, frozen=True, kw_only=True, tag="lost_accelerator"):
    """`type = "lost_accelerator"`: one accelerator of each backend is lost at `from_s`."""


KINDS: tuple[type[FaultTable], ...] = (
    DownTable,
    SlowTable,
    FlappingTable,
    QuotaTable,
    LostAcceleratorTable,
    StaleTable,
)


def load_incidents(path: Path, fleet: Fleet) -> tuple[Incident, ...]:
    """What the fault file at `path` says of `fleet`.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has faults; it carries all of them.
    """
    return build_incidents(read_document(path), str(path), fleet)


def build_incidents(raw: Mapping[str, object], source: str, fleet: Fleet) -> tuple[Incident, ...]:
    """What a parsed fault file says of `fleet`. Raises ConfigError with every fault that was found."""
    faults = Faults()
    for key in raw:
        if key not in TOP_LEVEL:
            faults.add(key, f"unknown setting; {close_matches(key, TOP_LEVEL)}")
    if raw.get("schema") is not SCHEMA:
        faults.add("schema", f"{raw.get('schema', 'missing')!r}; this version reads schema = {SCHEMA}")
    tables = raw.get("faults", [])
    if not isinstance(tables, list) or not tables:
        faults.add("faults", "expected an array of tables [[faults]], at least one")
        tables = []
    incidents = [_incident(item, f"faults[{index}]", fleet, faults) for index, item in enumerate(tables)]
    if len(faults):
        raise ConfigError(source, faults.all())
    return tuple(incident for incident in incidents if incident is not None)


def _incident(raw: object, path: str, fleet: Fleet, faults: Faults) -> Incident | None:
    table = faults.tagged(raw, KINDS, path)
    if not isinstance(table, FaultTable):
        return None
    backends = _backends(table, path, fleet, faults)
    if not (table.backends or table.pools or table.vendors):
        faults.add(path, "hits nobody; name backends, pools or vendors")
    if isinstance(table, SpellTable) and table.end_s <= table.from_s:
        faults.add(f"{path}.to_s", f"{table.to_s:g} is not after from_s = {table.from_s:g}")
        return None
    incident = _typed(table, backends)
    for message in () if incident is None else _objections(incident, fleet):
        faults.add(path, message)
    return incident


def _typed(table: FaultTable, backends: tuple[str, ...]) -> Incident | None:
    from_s = table.from_s
    match table:
        case DownTable():
            return Down(backends=backends, from_s=from_s, to_s=table.end_s)
        case SlowTable():
            return Slow(backends=backends, from_s=from_s, to_s=table.end_s, factor=table.factor)
        case FlappingTable():
            period_s, fraction = table.period_s, table.down_fraction
            return Flapping(
                backends=backends, from_s=from_s, to_s=table.end_s, period_s=period_s, down_fraction=fraction
            )
        case QuotaTable():
            return QuotaCut(backends=backends, from_s=from_s, to_s=table.end_s, fraction=table.fraction)
        case StaleTable():
            return Stale(backends=backends, from_s=from_s, to_s=table.end_s, delay_s=table.delay_s)
        case LostAcceleratorTable():
            return LostAccelerator(backends=backends, from_s=from_s)
    return None


def _objections(incident: Incident, fleet: Fleet) -> Iterator[str]:
    """What the fleet has nothing for."""
    hit = set(incident.backends)
    if isinstance(incident, Stale) and fleet.signals is None:
        yield "backends of this fleet publish no signals that could be stale; declare [signals]"
    pools = [pool for pool in fleet.pools.values() if hit.intersection(b.name for b in pool.backends)]
    names = dict.fromkeys(pool.deployment.name for pool in pools)
    for deployment in (fleet.deployments[name] for name in names):
        if isinstance(incident, QuotaCut) and deployment.quota is None:
            where = f"[deployments.{deployment.name}.quota]"
            yield f"deployment {deployment.name!r} has no rate limit to cut; declare {where}"
        if isinstance(incident, LostAccelerator) and deployment.spares is None:
            where = f"[deployments.{deployment.name}.spares]"
            yield f"deployment {deployment.name!r} does not say how it gets over a lost accelerator; declare {where}"


def _backends(table: FaultTable, path: str, fleet: Fleet, faults: Faults) -> tuple[str, ...]:
    """Names of the backends that are hit, in the order of the fleet file."""

    def known(setting: str, kind: str, names: Iterable[str], there: Iterable[str]) -> set[str]:
        there = list(there)
        for index, name in enumerate(names):
            if name not in there:
                faults.add(f"{path}.{setting}[{index}]", f"no {kind} {name!r}; {close_matches(name, there)}")
        return set(names)

    backends = known("backends", "backend", table.backends, (backend.name for backend in fleet.backends))
    pools = known("pools", "pool", table.pools, fleet.pools)
    vendors = known("vendors", "vendor", table.vendors, dict.fromkeys(filter(None, map(_vendor, fleet.pools.values()))))

    def hit(pool: Pool, backend: str) -> bool:
        return backend in backends or pool.name in pools or _vendor(pool) in vendors

    return tuple(b.name for pool in fleet.pools.values() for b in pool.backends if hit(pool, b.name))


def _vendor(pool: Pool) -> str | None:
    accelerator = pool.deployment.accelerator
    return None if accelerator is None else accelerator.vendor
