"""From the tables of a deployment that say how it serves to the objects of `headrace.fleet`."""

from __future__ import annotations

import msgspec

from headrace.config import deployment_tables
from headrace.fleet import KvCache, OperatingPoint, Quantiles, Quota, Replicas, Spares, Speculation, Split

PERCENT = 100


def kv_cache(table: deployment_tables.KvCacheTable | None) -> KvCache | None:
    """How the KV cache is managed; None where nothing is said."""
    return None if table is None else KvCache(**msgspec.structs.asdict(table))


def quota(table: deployment_tables.QuotaTable | None) -> Quota | None:
    """The rate limits; None without any."""
    return None if table is None else Quota(**msgspec.structs.asdict(table))


def replicas(table: deployment_tables.ReplicasTable | None) -> Replicas | None:
    """How many replicas there are; None where nothing is said: one."""
    if table is None:
        return None
    given = msgspec.structs.asdict(table)
    return Replicas(
        **given
        | {"max_replicas": table.max_replicas or table.min_replicas, "target_in_flight": table.target_in_flight or 0.0}
    )


def split(table: deployment_tables.SplitTable | None) -> Split | None:
    """Prefill and decode apart; None: together."""
    return None if table is None else Split(**msgspec.structs.asdict(table))


def spares(table: deployment_tables.SparesTable | None) -> Spares | None:
    """What stands by for a lost accelerator; None where nothing is said."""
    return None if table is None else Spares(**msgspec.structs.asdict(table))


def operating_point(table: deployment_tables.ObservedTable | None) -> OperatingPoint | None:
    """What was measured of a service; None where its speed is predicted."""
    if table is None:
        return None
    return OperatingPoint(
        table.ttft_s,
        table.input_tokens_per_s,
        table.tpot_s,
        table.batch,
        table.cache_ttl_s,
        _quantiles(table.ttft_quantiles_s),
        _quantiles(table.tpot_quantiles_s),
    )


def _quantiles(table: deployment_tables.QuantilesTable | None) -> Quantiles | None:
    """`p50` is level 0.5; an empty table gives no quantile, which `fleet.check` reports."""
    if table is None:
        return None
    given = [(name, value) for name, value in msgspec.structs.asdict(table).items() if value is not None]
    levels = tuple(int(name.removeprefix("p")) / PERCENT for name, _ in given)
    return Quantiles(levels, tuple(value for _, value in given))


def speculation(table: deployment_tables.SpeculationTable | bool) -> Speculation | bool:
    """What a draft brings; or only whether the tables say it."""
    return table if isinstance(table, bool) else Speculation(**msgspec.structs.asdict(table))
