"""A fleet thinned with its traffic: a fraction of every pool, in whole replicas."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.fleet.deployment import Deployment
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
    """`fraction` of a fleet's backends, queue, hosted concurrency, commitments and budgets.

    A replica cannot be divided, so every pool keeps a whole number of backends, the nearest and at least one. A hosted
    service has no replicas behind its name: where its backends were rounded, its concurrency and rate limits make up
    for it.
    """
    pools: dict[str, Pool] = {}
    verdicts = []
    for name, pool in fleet.pools.items():
        exact = len(pool.backends) * fraction
        kept = max(round(exact), 1)
        verdicts.append(ThinnedPool(name, len(pool.backends), exact, kept))
        hosted = pool.deployment.observed is not None
        backends = (_narrowed(backend, exact / kept) if hosted else backend for backend in pool.backends[:kept])
        deployment = _limited(pool.deployment, exact / kept) if hosted else pool.deployment
        pools[name] = replace(pool, deployment=deployment, backends=tuple(backends))
    limits = replace(fleet.limits, queue_depth=max(round(fleet.limits.queue_depth * fraction), 1))
    commitments = {k: replace(each, amount=each.amount * fraction) for k, each in fleet.commitments.items()}
    budgets = {k: replace(each, usd=each.usd * fraction) for k, each in fleet.budgets.items()}
    thin = replace(fleet, pools=pools, limits=limits, commitments=commitments, budgets=budgets)
    return thin, tuple(verdicts)


def _limited(deployment: Deployment, fraction: float) -> Deployment:
    """The same service with a fraction of its rate limits."""
    quota = deployment.quota
    if quota is None:
        return deployment
    rates = ("requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_day")
    scaled = {name: limit * fraction for name in rates if (limit := getattr(quota, name)) is not None}
    most = None if quota.max_in_flight is None else max(round(quota.max_in_flight * fraction), 1)
    return replace(deployment, quota=replace(quota, max_in_flight=most, **scaled))


def _narrowed(backend: Backend, fraction: float) -> Backend:
    return replace(backend, max_in_flight=max(round(backend.max_in_flight * fraction), 1))
