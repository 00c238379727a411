"""Routing: which backends a request may go to, before any price is asked."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from headrace.fleet import Fleet, Route
from headrace.policy.pricing import BackendState, Side


class PolicyName(StrEnum):
    """What chooses: prices, or one of the policies that it is compared with.

    `static` sends a fixed fraction of the requests to the share's pools at random; `gpu_only` prices as always, outside
    the share's pools only; `fast_only` inside only.
    """

    PRICES = "prices"
    STATIC = "static"
    GPU_ONLY = "gpu_only"
    FAST_ONLY = "fast_only"


class Candidates:
    """Backends that a request may go to, in the order of the fleet file: as a whole, and by side of the shares.

    Attributes:
        indexes: of the backends of each of the `sides`.
    """

    __slots__ = ("backends", "indexes", "sides")

    def __init__(self, backends: tuple[BackendState, ...]) -> None:
        self.backends = backends
        sides: dict[Side, list[BackendState]] = {}
        for backend in backends:
            sides.setdefault(backend.side, []).append(backend)
        self.sides = tuple((side, tuple(members)) for side, members in sides.items())
        self.indexes = tuple(np.array([b.index for b in members]) for _, members in self.sides)

    def untried(self, tried: int) -> tuple[BackendState, ...]:
        """Those that are not in the bit mask `tried`."""
        return tuple(b for b in self.backends if not tried >> b.index & 1)


class Router:
    """First route that matches (model, tenant, class), as cached candidates."""

    def __init__(self, fleet: Fleet, backends: tuple[BackendState, ...], policy: PolicyName) -> None:
        self._cache: dict[tuple[str | None, str, str], Candidates] = {}
        share = fleet.steered_share()
        self.inside_pools = frozenset(share.pools) if share else frozenset[str]()
        self._policy = policy
        self._routes = tuple((route, self._candidates(route, backends)) for route in fleet.routes)
        self._nowhere = Candidates(())

    def candidates(self, model: str | None, tenant: str, workload_class: str) -> Candidates:
        """Backends that this request may go to; none if no route serves it."""
        key = (model, tenant, workload_class)
        found = self._cache.get(key)
        if found is None:
            found = self._find(*key)
            if len(self._cache) < 4096:  # tenants come from outside: the cache must not grow with them
                self._cache[key] = found
        return found

    def _find(self, model: str | None, tenant: str, workload_class: str) -> Candidates:
        found = (c for route, c in self._routes if route.matches(model, tenant, workload_class))
        return next(found, self._nowhere)

    def _candidates(self, route: Route, backends: tuple[BackendState, ...]) -> Candidates:
        pools = set(route.pools)
        return Candidates(tuple(b for b in backends if b.pool in pools and self._allowed(b)))

    def _allowed(self, backend: BackendState) -> bool:
        if self._policy is PolicyName.GPU_ONLY:
            return backend.pool not in self.inside_pools
        if self._policy is PolicyName.FAST_ONLY:
            return backend.pool in self.inside_pools
        return True
