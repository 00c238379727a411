"""Which backends are ill beside their pool, and which fail together.

A breaker opens after failures in a row. That misses a backend that fails every third request, and one that answers ten
times as slowly as its peers. Such a one is an outlier of its pool, and its breaker opens too: with x its failure rate,
or its observed over predicted TTFT, both smoothed over about twenty attempts, and the mean m and the deviation s of the
same over the other members that are up,

    x >= floor    and    x >= 2 m    and    x > m + 1.9 s

The outlier is left out of m and s: among N equals one of them can be at most (N - 1) / sqrt(N) deviations off, so in a
small pool it would hide itself. A pool keeps at least half of its members: where all are ill it is not the members.

Backends of one vendor fail together (`Pool.failure_domain`). When most of a domain trip within `domain_window_s`, it is
suspect: the others are asked one at a time until answers begin, and retries, hedges and rescues rather go elsewhere,
until half of it is healthy again.

Source: outlier detection of Envoy (success rate, its deviation factor of 1.9, and the bound on what is ejected).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Final

from headrace.fleet import Fleet
from headrace.policy.breaker import Probe
from headrace.policy.event import AttemptFailed, FailureKind
from headrace.policy.pricing import BackendState
from headrace.policy.state import AttemptState

DEVIATIONS: Final = 1.9


class Health:
    """Keeps the breakers of all backends.

    Attributes:
        slow_from: TTFT, as a multiple of the predicted one, from which on a backend may be an outlier. An answer is of
            no concern here that probes nothing and comes from a backend below it that has not just failed.
        suspects: bit mask of the backends whose domain is suspect.
    """

    __slots__ = ("_domain_of", "_error_rate", "_pool_of", "_tripped_s", "_window_s", "slow_from", "suspects")

    def __init__(self, fleet: Fleet, backends: tuple[BackendState, ...]) -> None:
        domains = {pool.name: pool.failure_domain for pool in fleet.pools.values()}
        self._pool_of = [tuple(b for b in backends if b.pool == each.pool) for each in backends]
        self._domain_of = [tuple(b for b in backends if domains[b.pool] == domains[each.pool]) for each in backends]
        self._error_rate = fleet.limits.outlier_error_rate
        self.slow_from = fleet.limits.outlier_ttft_ratio
        self._window_s = fleet.limits.domain_window_s
        self._tripped_s = [-inf] * len(backends)
        self.suspects = 0

    def answered(self, now_s: float, attempt: AttemptState, probe: Probe) -> None:
        """An attempt's first token came, and its backend has learnt from it."""
        backend = attempt.backend
        backend.breaker.succeeded(probe)
        if probe is Probe.HEALTH:
            self._recovered(backend)
        if backend.ttft_factor >= self.slow_from:
            others = [b.ttft_factor for b in self._peers(backend)]
            if not backend.breaker.tripped and self._ejects(backend, backend.ttft_factor, self.slow_from, others):
                self._trip(now_s, backend)

    def finished(self, attempt: AttemptState) -> None:
        """An attempt's answer is complete."""
        attempt.backend.breaker.succeeded(attempt.probe)
        if attempt.probe is Probe.HEALTH:
            self._recovered(attempt.backend)

    def failed(self, now_s: float, attempt: AttemptState, event: AttemptFailed) -> None:
        """An attempt failed: by its backend's fault, or because that is full or not made for the request."""
        backend, probe = attempt.backend, attempt.probe
        breaker = backend.breaker
        if event.kind is FailureKind.OVERLOADED:
            breaker.refused(now_s, event.retry_after_s, probe)
            return
        if event.kind is FailureKind.UNFIT:
            breaker.released(probe)
            return
        was = breaker.tripped
        breaker.failed(now_s, probe)
        backend.observe_outcome(failed=True)
        if breaker.tripped:
            if not was:
                self._fell(now_s, backend)
        elif backend.failure_rate >= self._error_rate:
            others = [b.failure_rate for b in self._peers(backend)]
            if self._ejects(backend, backend.failure_rate, self._error_rate, others):
                self._trip(now_s, backend)

    def domain(self, backend: BackendState) -> int:
        """The backends that fail with this one, it included, as a bit mask."""
        return _mask(self._domain_of[backend.index])

    def _peers(self, backend: BackendState) -> list[BackendState]:
        return [b for b in self._pool_of[backend.index] if b is not backend and not b.breaker.tripped]

    def _ejects(self, backend: BackendState, value: float, floor: float, others: Sequence[float]) -> bool:
        if value < floor or 2 * len(others) < len(self._pool_of[backend.index]):
            return False
        mean = sum(others) / len(others)
        deviation = sqrt(sum((each - mean) ** 2 for each in others) / len(others))
        return value >= 2.0 * mean and value > mean + DEVIATIONS * deviation

    def _trip(self, now_s: float, backend: BackendState) -> None:
        backend.breaker.trip(now_s)
        backend.touched()
        self._fell(now_s, backend)

    def _fell(self, now_s: float, backend: BackendState) -> None:
        """A breaker has opened: see whether most of its domain did."""
        self._tripped_s[backend.index] = now_s
        members = self._domain_of[backend.index]
        fallen = [b for b in members if b.breaker.tripped and now_s - self._tripped_s[b.index] <= self._window_s]
        if len(members) == 1 or 2 * len(fallen) <= len(members):
            return
        self.suspects |= _mask(members)
        for other in members:
            if not other.breaker.tripped:
                other.breaker.pace()
                other.touched()

    def _recovered(self, backend: BackendState) -> None:
        members = self._domain_of[backend.index]
        if 2 * sum(b.breaker.tripped for b in members) <= len(members):
            self.suspects &= ~_mask(members)


def _mask(backends: Sequence[BackendState]) -> int:
    return sum(1 << backend.index for backend in backends)
