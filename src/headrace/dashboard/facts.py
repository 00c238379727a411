"""Facts of a fleet that do not change from second to second: what a pool is, holds and costs."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.cost import MarginalCost, capacity_cost_usd, marginal_cost, replica_rate, request_cost_usd, share_rates
from headrace.errors import HeadraceError
from headrace.fleet import Fleet, Hourly, Pool
from headrace.metrics import Rates, WorkRate
from headrace.perf import SpeedCurve, speed_curve
from headrace.units import SECONDS_PER_HOUR
from headrace.workload import Slo

OTHER = "(gone)"  # the pool of a backend that the fleet has no more


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """One pool.

    Attributes:
        memory: `sram`, `external`, or `hosted` where nobody knows the chip; `memory_kind`: e.g. HBM3.
        kv_capacity_tokens: of all its replicas; None: unknown.
        held_usd_per_h: what its hours cost, used or not; 0 under per-token terms.
        busy: seconds in which a request keeps a replica busy; None where time is not what is bought.
        curve: speed of one replica.
        quota: name of the quota that its backends share; None: each has its own, or none.
    """

    accelerator: str
    accelerators: int
    memory: str
    memory_kind: str
    replicas: int
    kv_capacity_tokens: float | None
    held_usd_per_h: float
    cost: MarginalCost
    busy: WorkRate | None
    curve: SpeedCurve
    quota: str | None

    def predicted_tpot_s(self, in_flight: int, kv_tokens: float) -> float:
        """What the speed model says of one answer's TPOT while the pool has so much to do, evenly over its replicas."""
        return self.curve.tpot_s(round(in_flight / self.replicas), kv_tokens / in_flight if in_flight else 0.0)


class FleetFacts:
    """One fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.pools = {name: _pool(pool) for name, pool in fleet.pools.items()}
        self.rates: dict[str, Rates] = {name: share_rates(fleet, share) for name, share in fleet.shares.items()}
        self.emulated = any(backend.emulated for backend in fleet.backends)
        self._pool_of = {backend.name: backend.pool for backend in fleet.backends}

    def pool_of(self, backend: str) -> str:
        """The pool of a backend."""
        return self._pool_of.get(backend, OTHER)

    def slo(self, workload_class: str) -> Slo | None:
        """The thresholds of a class; None: the fleet has it no more."""
        found = self.fleet.classes.get(workload_class)
        return None if found is None else found.slo

    def usd(self, pool: str, input_tokens: int, output_tokens: int, cached_input_tokens: int) -> float:
        """Marginal cost of so many tokens there."""
        facts = self.pools.get(pool)
        if facts is None:
            return 0.0
        return request_cost_usd(facts.cost, input_tokens, output_tokens, cached_input_tokens)


def _pool(pool: Pool) -> PoolFacts:
    deployment = pool.deployment
    curve, chip = speed_curve(deployment), deployment.accelerator
    replicas = len(pool.backends) * deployment.decoding_replicas
    return PoolFacts(
        accelerator="hosted API" if chip is None else chip.name,
        accelerators=deployment.count * replicas,
        memory="hosted" if chip is None else chip.memory.value,
        memory_kind="" if chip is None else chip.memory_kind,
        replicas=replicas,
        kv_capacity_tokens=None if curve.kv_capacity_tokens is None else curve.kv_capacity_tokens * replicas,
        held_usd_per_h=capacity_cost_usd(pool, SECONDS_PER_HOUR * replicas),
        cost=marginal_cost(pool, curve),
        busy=_busy(pool),
        curve=curve,
        quota=None if deployment.quota is None else deployment.quota.name,
    )


def _busy(pool: Pool) -> WorkRate | None:
    if not isinstance(pool.price, Hourly):
        return None
    try:
        return replica_rate(pool)
    except HeadraceError:
        return None
