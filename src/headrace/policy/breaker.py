"""The circuit breaker of one backend, and the time for which it must not be asked.

    closed --(failures in a row reach the limit)--> open --(cooldown over)--> half-open --(probe succeeds)--> closed
                                                      ^                           |
                                                      +----(probe fails: cooldown doubles)

The rule it protects: an open breaker is never picked, and a half-open one has at most one attempt, a real request.

A backend that only says "full, come back later" is paused, not failed: it is healthy. When the pause is over there may
be a thousand who wait for it, and room for one. So it is asked as TCP asks a congested path: one attempt at a time
until an answer begins, then two, four, and so on, and from one again when it refuses. Beyond `WIDEST` nobody counts. A
breaker that has just closed lets them come in the same way, from two on. Who is an outlier of its pool is for
`health.py` to say.
Source of the slow start: V. Jacobson, "Congestion Avoidance and Control", SIGCOMM (1988).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from math import inf
from typing import Final

FULL_S = 1.0  # of a backend that is full and says no more
SHORTEST_PAUSE_S = 0.1  # whatever it says: who waits for it must not spin
WIDEST = 64  # attempts without an answer, after a refusal


class BreakerState(StrEnum):
    """Closed: healthy. Open: not asked. Half-open: one probe decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Probe(IntEnum):
    """What the answer to an attempt decides; true if it decides anything."""

    NOTHING = 0
    PACE = 1  # how many a backend that refused is asked at once
    HEALTH = 2  # whether a half-open breaker closes


# A member is looked up through its enum's metaclass, which every request would pay.
NOTHING: Final = Probe.NOTHING
HEALTH: Final = Probe.HEALTH


class Breaker:
    """Counts failures in a row and says from when on a backend may be asked.

    Attributes:
        allows_from_s: from when an attempt may be made, as things stand; infinite while a probe is out.
        blocked_until_s: no attempt before this time.
        failures: in a row, and none succeeded since.
        tripped: the next attempt is a probe.
        window: attempts that may wait for the beginning of their answer; 0: any number.
    """

    __slots__ = (
        "_base_s",
        "_cooldown_s",
        "_limit",
        "_max_s",
        "_unanswered",
        "allows_from_s",
        "blocked_until_s",
        "failures",
        "tripped",
        "window",
    )

    def __init__(self, failures: int, cooldown_s: float, cooldown_max_s: float) -> None:
        self._limit = failures
        self._base_s = cooldown_s
        self._max_s = cooldown_max_s
        self._cooldown_s = cooldown_s
        self.failures = 0
        self.allows_from_s = 0.0
        self.blocked_until_s = 0.0
        self.tripped = False
        self.window = 0
        self._unanswered = 0

    def adjust(self, failures: int, cooldown_s: float, cooldown_max_s: float) -> None:
        """Other settings from the next failure on."""
        self._limit = failures
        self._base_s = cooldown_s
        self._max_s = cooldown_max_s

    def state(self, now_s: float) -> BreakerState:
        """Closed, open or half-open at `now_s`."""
        if not self.tripped:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self.blocked_until_s else BreakerState.HALF_OPEN

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be made now."""
        return now_s >= self.allows_from_s

    def dispatched(self) -> Probe:
        """An attempt is made; returns what its answer decides."""
        if self.tripped:
            self.allows_from_s = inf
            return HEALTH
        if not self.window:
            return NOTHING
        self._unanswered += 1
        if self._unanswered >= self.window:
            self.allows_from_s = inf
        return Probe.PACE

    def succeeded(self, probe: Probe) -> None:
        """An attempt proved the backend healthy. Late successes from before the trip do not close it."""
        if self.tripped:
            if probe is not HEALTH:
                self._answered(probe)
                return
            self.tripped = False
            self.window = 2  # one answer has begun: not everybody at once
            self._cooldown_s = self._base_s
            self.allows_from_s = self.blocked_until_s
        elif probe:
            self.window = 2 * self.window if self.window < WIDEST else 0
            self._answered(probe)
        self.failures = 0

    def failed(self, now_s: float, probe: Probe) -> None:
        """An attempt failed by the backend's fault."""
        if probe is HEALTH:
            self._cooldown_s = min(2.0 * self._cooldown_s, self._max_s)
        self._answered(probe)
        if self.tripped and probe is not HEALTH:
            return
        self.failures += 1
        if probe is HEALTH or self.failures >= self._limit:
            self.trip(now_s)

    def trip(self, now_s: float) -> None:
        """Open for a cooldown; the next attempt is a probe."""
        self.tripped = True
        self.window = 0
        self.blocked_until_s = self.allows_from_s = max(self.blocked_until_s, now_s + self._cooldown_s)

    def pace(self) -> None:
        """Others that fail with this one have: it is asked one attempt at a time until an answer begins."""
        self.window = 1
        if self._unanswered:
            self.allows_from_s = inf

    def released(self, probe: Probe) -> None:
        """An attempt ended and proved nothing (it was cancelled): the next one probes."""
        if probe is HEALTH:
            self.allows_from_s = self.blocked_until_s
        self._answered(probe)

    def be_careful(self) -> None:
        """Somebody else had trouble with it: while it is closed, ask as after a refusal, but at once."""
        if self.tripped or self.window == 1:
            return
        self.window = 1
        if self._unanswered:
            self.allows_from_s = inf  # until the others are answered

    def refused(self, now_s: float, retry_after_s: float | None, probe: Probe) -> None:
        """The backend is full and asked not to be asked for so long; None: it did not say how long."""
        pause_s = FULL_S if retry_after_s is None else max(retry_after_s, SHORTEST_PAUSE_S)
        self.blocked_until_s = max(self.blocked_until_s, now_s + pause_s)
        if self.allows_from_s < self.blocked_until_s:
            self.allows_from_s = self.blocked_until_s
        self.window = 0 if self.tripped else 1
        self.released(probe)
        if self.window and self._unanswered:
            self.allows_from_s = inf  # until the others are answered

    def _answered(self, probe: Probe) -> None:
        """If it was one of those that wait for the beginning of their answer: it waits no more."""
        if probe is Probe.PACE:
            self._unanswered -= 1
            if not self.tripped and (not self.window or self._unanswered < self.window):
                self.allows_from_s = self.blocked_until_s
