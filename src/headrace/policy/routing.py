"""Routing: which backends a request may go to, before any price is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.fleet import Fleet, Route
from headrace.policy.policies import Policy
from headrace.policy.pricing import BackendState, Side


class Candidates:
    """Backends that a request may go to, in the order of the fleet file: as a whole, and by side of the shares.

    Attributes:
        sides: each side with its backends.
        side_of: which of the `sides` a backend is in, by its index.
        indexes: of the backends of each of the `sides`.
    """

    __slots__ = ("backends", "indexes", "side_of", "sides")

    def __init__(self, backends: tuple[BackendState, ...], apart: Callable[[BackendState], str] | None = None) -> None:
        """
        Args:
            apart: what tells sides apart, besides the shares; None: nothing does.
        """
        self.backends = backends
        sides: dict[tuple[Side, str], list[BackendState]] = {}
        for backend in backends:
            sides.setdefault((backend.side, "" if apart is None else apart(backend)), []).append(backend)
        self.sides = tuple((side, tuple(members)) for (side, _), members in sides.items())
        self.side_of = {b.index: number for number, (_, members) in enumerate(self.sides) for b in members}
        self.indexes = tuple(np.array([b.index for b in members]) for _, members in self.sides)

    def untried(self, tried: int) -> tuple[BackendState, ...]:
        """Those that are not in the bit mask `tried`."""
        return tuple(b for b in self.backends if not tried >> b.index & 1)

    def later_than(self, deadline_s: float, now_s: float, input_tokens: float, output_tokens: float) -> int:
        """Those whose answer to a request of this size is expected after a deadline, as a bit mask."""
        late = 0
        for b in self.backends:
            ttft_s, tpot_s = b.latency(input_tokens, output_tokens)
            if now_s + ttft_s + (output_tokens - 1.0) * tpot_s > deadline_s:
                late |= 1 << b.index
        return late

    def named(self, names: tuple[str, ...]) -> int:
        """Those of these names, as a bit mask."""
        return sum(1 << b.index for b in self.backends if b.name in names)

    def in_pool(self, pool: str) -> int:
        """Those of one pool, as a bit mask."""
        return sum(1 << b.index for b in self.backends if b.pool == pool)


class Router:
    """First route that matches (model, tenant, class), as cached candidates."""

    def __init__(
        self, fleet: Fleet, backends: tuple[BackendState, ...], policy: Policy, apart: Callable[[BackendState], str]
    ) -> None:
        """
        Args:
            apart: see `Candidates`.
        """
        self._cache: dict[tuple[str | None, str, str], Candidates] = {}
        self._apart = apart
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
        for route, candidates in self._routes:
            if route.matches(model, tenant, workload_class):
                return candidates
        return self._nowhere

    def _candidates(self, route: Route, backends: tuple[BackendState, ...]) -> Candidates:
        pools = set(route.pools)
        allowed = tuple(b for b in backends if b.pool in pools and self._allowed(b))
        return Candidates(allowed, self._apart)

    def _allowed(self, backend: BackendState) -> bool:
        side = self._policy.inside
        return side is None or (backend.pool in self.inside_pools) is side
