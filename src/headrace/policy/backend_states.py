"""The engine's state of every backend, made from the fleet file: its speed, its price, the shares it is in."""

from __future__ import annotations

from headrace.cost import marginal_cost
from headrace.fleet import Fleet
from headrace.perf import speed_curve
from headrace.policy.pricing import BackendState, first_step_s


def backend_states(fleet: Fleet) -> tuple[BackendState, ...]:
    """A state for every backend, in the order of the fleet file, with its pool's speed and cost."""
    states: list[BackendState] = []
    stale = bytearray(b"\1" * len(fleet.backends))
    steered = [not share.report_only for share in fleet.shares.values()]
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        cost = marginal_cost(pool, curve)
        inside = tuple(pool.name in share.pools for share in fleet.shares.values())
        side = tuple(i and s for i, s in zip(inside, steered, strict=True))
        whole = curve.spread(pool.deployment.decoding_replicas)
        most = min(whole.max_batch, max((b.max_in_flight for b in pool.backends), default=0))
        starts_s = tuple(first_step_s(whole, in_flight) for in_flight in range(most + 1))
        for backend in pool.backends:
            states.append(
                BackendState(
                    len(states),
                    backend,
                    whole,
                    cost,
                    starts_s,
                    inside=inside,
                    side=side,
                    limits=fleet.limits,
                    stale=stale,
                )
            )
    return tuple(states)
