"""The retry budget: retries stay a bounded fraction of the traffic, or they would finish off a failing fleet.

A bucket of `burst` retries that refills by `ratio` for each first attempt; a retry takes one. Over any span,
retries <= burst + ratio * first attempts.
Source: the retry budget of Finagle and Linkerd; Site Reliability Engineering, chapter 22 (per-client retry budget).
"""

from __future__ import annotations


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

    def inherit(self, before: RetryBudget) -> None:
        """Go on with what another had left."""
        self._left = min(before.left, self._burst)

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
