"""Retries: how many there may be, and how long to wait before the same backend is asked again.

The budget protects the fleet: retries stay a bounded fraction of the traffic, or they would finish off what is failing.
A bucket of `burst` retries refills by `ratio` for each first attempt; a retry takes one. Over any span,

    retries <= burst + ratio * first attempts

The pause protects a backend that nobody can take the place of: those whom one failure hit must not all come back at
once. Before try n it is drawn evenly from all that backing off exponentially allows (full jitter):

    pause ~ U(0, min(cap, base * 2**(n - 1)))

Sources: the retry budget of Finagle and Linkerd; Site Reliability Engineering, chapter 22 (per-client retry budget).
M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).
"""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

from headrace.fleet import Limits
from headrace.policy.event import FailureKind
from headrace.policy.state import RequestState

PASSES = frozenset(
    (FailureKind.REFUSED, FailureKind.RESET, FailureKind.SERVER_ERROR, FailureKind.CUT, FailureKind.STALLED)
)  # the same backend may do better a moment later


class RetryBudget:
    """Allows a retry only while it has one to spend."""

    __slots__ = ("_burst", "_left", "_ratio")

    def __init__(self, ratio: float, burst: int) -> None:
        self._ratio = ratio
        self._burst = float(burst)
        self._left = float(burst)

    @property
    def left(self) -> float:
        """Retries that may be spent now."""
        return self._left

    def dispatched(self) -> None:
        """A first attempt was made: earn a fraction of a retry."""
        left = self._left + self._ratio
        self._left = left if left < self._burst else self._burst

    def take(self) -> bool:
        """Spend one retry, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Backoff:
    """Requests that wait for their pause to end. Who ended meanwhile is passed over."""

    __slots__ = ("_base_s", "_cap_s", "_entered", "_heap", "_rng")

    def __init__(self, limits: Limits, rng: Random) -> None:
        self._base_s = limits.backoff_base_s
        self._cap_s = limits.backoff_cap_s
        self._rng = rng
        self._heap: list[tuple[float, int, RequestState]] = []
        self._entered = 0

    def enter(self, now_s: float, request: RequestState) -> bool:
        """Wait for a pause, and for the first breaker of what may be asked again; False: that would be too late."""
        again = [b for b in request.candidates.backends if request.passing >> b.index & 1 and not b.drained]
        if not again:
            return False
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** (request.tries - 1))
        closed_s = max(now_s, min(b.breaker.blocked_until_s for b in again))
        at_s = closed_s + self._rng.uniform(0.0, ceiling_s)
        late = request.late(at_s)
        if all(late >> b.index & 1 for b in again):
            return False
        self._entered += 1
        request.backs_off_s = at_s
        heappush(self._heap, (at_s, self._entered, request))
        return True

    def next_s(self) -> float | None:
        """When the first pause ends; None: nobody waits."""
        heap = self._heap
        while heap and heap[0][2].backs_off_s != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def over(self, now_s: float) -> list[RequestState]:
        """Those whose pause is over: what failed them may be asked again."""
        found = []
        while (at_s := self.next_s()) is not None and at_s <= now_s:
            request = heappop(self._heap)[2]
            request.backs_off_s = None
            request.tried &= ~request.passing
            found.append(request)
        return found
