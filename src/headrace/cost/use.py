"""What a request uses of the pool that serves it: busy seconds of a replica, USD, joules.

    replica seconds = input * prefill seconds + output * (step at the full batch / batch)    cached input: nothing
    spend, USD      = marginal cost + USD per second of a replica * replica seconds          per token: the list price
    power, J        = watts of a replica at the meter * replica seconds

The hours of a pool are paid whether it is busy or not. Spend attributes them by the seconds that a replica is busy with
a request, at the batch for which it is meant: what a filled pool costs for each of its requests. So the spend of all
requests on a pool that is idle half of the time is about half of its bill. The watts are attributed likewise.

This is what shares of `spend` and `power`, commitments and budgets count. What a request *adds* (`marginal`) is another
question, and the one that scores ask.
"""

from __future__ import annotations

from headrace.cost.marginal import marginal_cost
from headrace.errors import ConfigError, Fault
from headrace.fleet import CommittedUnit, Fleet, Hourly, Pool, Share, ShareUnit
from headrace.metrics import PoolRates, Rates, WorkRate
from headrace.perf import compute_rate, speed_curve, work_rate
from headrace.units import SECONDS_PER_HOUR


def replica_rate(pool: Pool) -> WorkRate:
    """Seconds in which a request keeps one replica of the pool busy."""
    rate = compute_rate(pool.deployment)
    return rate._replace(cached_saves=rate.per_input_token)


def spend_rate(pool: Pool) -> WorkRate:
    """USD of a request at the pool's terms, its part of the hours included.

    Raises:
        ConfigError: as `marginal_cost` does.
    """
    cost = marginal_cost(pool, speed_curve(pool.deployment))
    saves = cost.usd_per_input_token - cost.usd_per_cached_input_token
    adds = WorkRate(0.0, cost.usd_per_input_token, cost.usd_per_output_token, saves)
    if not isinstance(pool.price, Hourly):
        return adds
    usd_per_s = pool.price.usd_per_accelerator_hour * pool.deployment.count / SECONDS_PER_HOUR
    hours = _scaled(replica_rate(pool), usd_per_s)
    return WorkRate(*(a + b for a, b in zip(adds, hours, strict=True)))


def energy_rate(pool: Pool) -> WorkRate:
    """Joules of a request at the meter.

    Raises:
        ConfigError: nobody knows the pool's power, and none is assumed.
    """
    if pool.power_w is None:
        raise ConfigError(f"pool {pool.name}", [Fault(f"pools.{pool.name}.assumed_w", "missing; its power is unknown")])
    return _scaled(replica_rate(pool), pool.power_w)


def share_rates(fleet: Fleet, share: Share) -> Rates:
    """What a request counts for in `share`: the same everywhere, or by pool. Raises as the rates do."""
    if not share.of.by_pool:
        return work_rate(share)
    rate = spend_rate if share.of is ShareUnit.SPEND else energy_rate
    return {name: rate(pool) for name, pool in fleet.pools.items()}


def period_rates(fleet: Fleet) -> dict[str, PoolRates]:
    """What a request uses of each commitment and each budget on the pools that it covers, by the setting's path."""
    committed: dict[str, PoolRates] = {
        f"commitments.{name}": {pool: _committed(fleet.pools[pool], each.unit) for pool in each.pools}
        for name, each in fleet.commitments.items()
    }
    budgeted: dict[str, PoolRates] = {
        f"budgets.{name}": {pool: spend_rate(fleet.pools[pool]) for pool in each.pools or fleet.pools}
        for name, each in fleet.budgets.items()
    }
    return committed | budgeted


def _committed(pool: Pool, unit: CommittedUnit) -> WorkRate:
    if unit is CommittedUnit.USD:
        return spend_rate(pool)
    if unit is CommittedUnit.TOKENS:
        return WorkRate(0.0, 1.0, 1.0)
    return _scaled(replica_rate(pool), pool.deployment.count / SECONDS_PER_HOUR)


def _scaled(rate: WorkRate, factor: float) -> WorkRate:
    return WorkRate(*(figure * factor for figure in rate))
