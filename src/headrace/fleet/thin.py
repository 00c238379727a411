"""A fleet thinned with its traffic: a fraction of every pool, in whole replicas."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.fleet.fleet import Backend, Fleet, Pool


@dataclass(frozen=True, slots=True)
class ThinnedPool:
    """What became of a pool.

    Attributes:
        whole: backends before; `exact`: the fraction of them; `kept`: the whole number that was taken, at least 1.
    """

    name: str
    whole: int
    exact: float
    kept: int

    @property
    def excess(self) -> float:
        """Capacity kept over capacity meant: 1 where nothing had to be rounded."""
        return self.kept / self.exact


def thinned(fleet: Fleet, fraction: float) -> tuple[Fleet, tuple[ThinnedPool, ...]]:
    """`fraction` of a fleet's backends, queue and hosted concurrency.

    A replica cannot be divided, so every pool keeps a whole number of backends, the nearest and at least one. A hosted
    service has no replicas behind its name: where its backends were rounded, its concurrency makes up for it.
    """
    pools: dict[str, Pool] = {}
    verdicts = []
    for name, pool in fleet.pools.items():
        exact = len(pool.backends) * fraction
        kept = max(round(exact), 1)
        verdicts.append(ThinnedPool(name, len(pool.backends), exact, kept))
        hosted = pool.deployment.observed is not None
        backends = (_narrowed(backend, exact / kept) if hosted else backend for backend in pool.backends[:kept])
        pools[name] = replace(pool, backends=tuple(backends))
    limits = replace(fleet.limits, queue_depth=max(round(fleet.limits.queue_depth * fraction), 1))
    return replace(fleet, pools=pools, limits=limits), tuple(verdicts)


def _narrowed(backend: Backend, fraction: float) -> Backend:
    return replace(backend, max_in_flight=max(round(backend.max_in_flight * fraction), 1))
