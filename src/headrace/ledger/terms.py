"""What a fleet's attempts are billed by, as the ledger records it."""

from __future__ import annotations

from headrace.cost import marginal_cost
from headrace.fleet import Fleet
from headrace.metrics.usage import Terms
from headrace.perf import speed_curve


def fleet_terms(fleet: Fleet) -> list[Terms]:
    """Pool, model and prices of every backend; `UsageLedger.agree` numbers them.

    Raises:
        ConfigError: see `cost.marginal_cost`.
    """
    found = []
    for pool in fleet.pools.values():
        cost = marginal_cost(pool, speed_curve(pool.deployment))
        for backend in pool.backends:
            found.append(Terms(0, 0, backend.name, pool.name, pool.deployment.model.name, *cost))
    return found
