"""Routing: which backends a request may go to, before any price is asked."""

from __future__ import annotations

from headrace.fleet import Fleet
from headrace.policy.policies import Policy
from headrace.policy.pricing import BackendState


class Router:
    """First route that matches (model, tenant, class), as a cached tuple of backends."""

    def __init__(self, fleet: Fleet, backends: tuple[BackendState, ...], policy: Policy) -> None:
        self._routes = fleet.routes
        self._backends = backends
        self._cache: dict[tuple[str | None, str, str], tuple[BackendState, ...]] = {}
        share = fleet.steered_share()
        self.inside_pools = frozenset(share.pools) if share else frozenset[str]()
        self._policy = policy

    def candidates(self, model: str | None, tenant: str, workload_class: str) -> tuple[BackendState, ...]:
        """Backends that this request may go to; empty if no route serves it."""
        key = (model, tenant, workload_class)
        found = self._cache.get(key)
        if found is None:
            found = self._find(*key)
            if len(self._cache) < 4096:  # tenants come from outside: the cache must not grow with them
                self._cache[key] = found
        return found

    def _find(self, model: str | None, tenant: str, workload_class: str) -> tuple[BackendState, ...]:
        for route in self._routes:
            if route.matches(model, tenant, workload_class):
                pools = set(route.pools)
                return tuple(b for b in self._backends if b.pool in pools and self._allowed(b))
        return ()

    def _allowed(self, backend: BackendState) -> bool:
        side = self._policy.inside
        return side is None or (backend.pool in self.inside_pools) is side
