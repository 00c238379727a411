"""A bucket: a limit on how much is taken in a window of time, as providers count their rate limits.

It holds `limit` when nothing was taken for long enough. What was taken comes back evenly, `limit` in every window (a
token bucket), or all at once when the window is over, as the provider does it. Whoever keeps the provider's side
(`modelserver.quota`) and whoever keeps our estimate of it (`policy.quota`) count with this same object, so that they
differ by what is not known and by nothing else.

Law: with even refill, in any window of length w no more than limit * (1 + w / window) is taken and kept; who waits as
long as `wait_s` says finds enough if nobody came in between.

Source: the leaky bucket as a meter, J. Turner, "New Directions in Communications", IEEE Communications Magazine (1986).
"""

from __future__ import annotations

from typing import Final

ROUNDING: Final = 1e-9


class Bucket:
    """One limit.

    Attributes:
        limit: what fits, and what comes back in `window_s` seconds.
        window_s: its window.
    """

    __slots__ = ("_as_of_s", "_at_once", "_declared", "_level", "_per_s", "_renews_s", "limit", "window_s")

    def __init__(self, limit: float, window_s: float, at_once: bool = False) -> None:
        """
        Args:
            at_once: it is full again when its window is over; windows begin at second 0 unless `renews` says when.
        """
        self.limit = limit
        self.window_s = window_s
        self._declared = limit
        self._per_s = limit / window_s
        self._level = limit
        self._as_of_s = 0.0
        self._at_once = at_once
        self._renews_s = window_s

    def grant(self, now_s: float, fraction: float, pace: float) -> None:
        """From now on `fraction` of the declared limit, refilled `pace` times as fast as on this clock."""
        level = self.level(now_s)
        self.limit = self._declared * fraction
        self._per_s = self.limit / self.window_s * pace
        self._level = min(level, self.limit)
        self._as_of_s = now_s

    def level(self, now_s: float) -> float:
        """What is there now; negative when more was used than had been reserved."""
        if self._at_once:
            return self.limit if now_s >= self._renews_s else self._level
        return min(self.limit, self._level + (now_s - self._as_of_s) * self._per_s)

    def wait_s(self, now_s: float, amount: float) -> float:
        """Seconds until `amount` is there; 0 if it is."""
        missing = amount - self.level(now_s)
        if missing <= ROUNDING * self.limit:
            return 0.0
        return self.left_s(now_s) if self._at_once else missing / self._per_s

    def take(self, now_s: float, amount: float) -> None:
        """Take `amount`, or give back a negative one."""
        self.set(now_s, self.level(now_s) - amount)

    def set(self, now_s: float, level: float) -> None:
        """So much is there now, and never more than the limit."""
        if self._at_once and now_s >= self._renews_s:
            self._renews_s = now_s + self.left_s(now_s)
        self._level = min(self.limit, level)
        self._as_of_s = now_s

    def refill(self, seconds: float) -> float:
        """What comes back evenly in so many seconds."""
        return 0.0 if self._at_once else seconds * self._per_s

    def renews(self, now_s: float, left_s: float) -> None:
        """Its window ends `left_s` seconds from now; nothing changes where refill is even."""
        level = self.level(now_s)
        self._renews_s = now_s + left_s
        self.set(now_s, level)

    def left_s(self, now_s: float) -> float:
        """Seconds until it is whole again if no more is taken; where that happens at once, until its window ends."""
        if not self._at_once:
            return (self.limit - self.level(now_s)) / self._per_s
        late_s = now_s - self._renews_s
        return -late_s if late_s < 0.0 else self.window_s - late_s % self.window_s
