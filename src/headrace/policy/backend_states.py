"""The engine's state of every backend, made from the fleet file: its speed, its price, the shares it is in."""

from __future__ import annotations

from headrace.cost import marginal_cost
from headrace.fleet import Backend, Fleet
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


def inherit_states(
    before: tuple[Fleet, tuple[BackendState, ...]], after: tuple[Fleet, tuple[BackendState, ...]]
) -> dict[int, int]:
    """Let the backends of a fleet take over what was learnt of the same ones in the fleet before.

    Returns:
        New index of each backend that is still there, by its old one.
    """
    known = {_identity(before[0], b): state for b, state in zip(before[0].backends, before[1], strict=True)}
    moved: dict[int, int] = {}
    for backend, state in zip(after[0].backends, after[1], strict=True):
        was = known.get(_identity(after[0], backend))
        if was is not None:
            state.inherit(was, after[0].limits)
            moved[was.index] = state.index
    return moved


def _identity(fleet: Fleet, backend: Backend) -> tuple[str, str, str]:
    """What makes a backend the same as one of another fleet: its name, where it is, and what it serves."""
    return backend.name, backend.url, fleet.pools[backend.pool].deployment.model.name
