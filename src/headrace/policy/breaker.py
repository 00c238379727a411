"""The circuit breaker of one backend, and the time for which it must not be asked.

    closed --(failures in a row reach the limit)--> open --(cooldown over)--> half-open --(probe succeeds)--> closed
                                                      ^                           |
                                                      +----(probe fails: cooldown doubles)

The rule it protects: an open breaker is never picked, and a half-open one has at most one attempt, a real request. A
backend that only says "full, come back later" is paused, not failed: it is healthy.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf


class BreakerState(StrEnum):
    """Closed: healthy. Open: not asked. Half-open: one probe decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts failures in a row and says from when on a backend may be asked.

    Attributes:
        allows_from_s: from when an attempt may be made, as things stand; infinite while a probe is out.
        blocked_until_s: no attempt before this time.
        tripped: the next attempt is a probe.
    """

    __slots__ = (
        "_base_s",
        "_cooldown_s",
        "_failures",
        "_limit",
        "_max_s",
        "allows_from_s",
        "blocked_until_s",
        "tripped",
    )

    def __init__(self, failures: int, cooldown_s: float, cooldown_max_s: float) -> None:
        self._limit = failures
        self._base_s = cooldown_s
        self._max_s = cooldown_max_s
        self._cooldown_s = cooldown_s
        self._failures = 0
        self.allows_from_s = 0.0
        self.blocked_until_s = 0.0
        self.tripped = False

    def state(self, now_s: float) -> BreakerState:
        """Closed, open or half-open at `now_s`."""
        if not self.tripped:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self.blocked_until_s else BreakerState.HALF_OPEN

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be made now."""
        return now_s >= self.allows_from_s

    def dispatched(self) -> bool:
        """An attempt is made; returns whether it is the probe."""
        if self.tripped:
            self.allows_from_s = inf
        return self.tripped

    def succeeded(self, probe: bool) -> None:
        """An attempt proved the backend healthy. Late successes from before the trip do not close it."""
        if self.tripped:
            if not probe:
                return
            self.tripped = False
            self._cooldown_s = self._base_s
            self.allows_from_s = self.blocked_until_s
        self._failures = 0

    def failed(self, now_s: float, probe: bool) -> None:
        """An attempt failed by the backend's fault."""
        if probe:
            self._cooldown_s = min(2.0 * self._cooldown_s, self._max_s)
        elif self.tripped:
            return
        self._failures += 1
        if probe or self._failures >= self._limit:
            self.tripped = True
            self.blocked_until_s = self.allows_from_s = max(self.blocked_until_s, now_s + self._cooldown_s)

    def released(self, probe: bool) -> None:
        """An attempt ended and proved nothing (it was cancelled): the next one probes."""
        if probe:
            self.allows_from_s = self.blocked_until_s

    def pause(self, until_s: float) -> None:
        """The backend asked not to be asked before `until_s`."""
        self.blocked_until_s = max(self.blocked_until_s, until_s)
        if self.allows_from_s < self.blocked_until_s:
            self.allows_from_s = self.blocked_until_s
