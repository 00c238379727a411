"""How quickly an answer comes, measured over windows: a guard against a backend that begins well and then crawls."""

from __future__ import annotations

WINDOW_S = 5.0


class Pace:
    """Tokens per second of one answer."""

    __slots__ = ("_before", "_passed_s")

    def __init__(self, tokens: int) -> None:
        """
        Args:
            tokens: of the answer when it is first looked at.
        """
        self._before = tokens
        self._passed_s = 0.0

    def below(self, floor_per_s: float, tokens: int, passed_s: float) -> bool:
        """Whether a window has ended in which fewer tokens came than `floor_per_s` a second.

        Args:
            tokens: of the answer by now.
            passed_s: since it was asked last.
        """
        self._passed_s += passed_s
        if self._passed_s < WINDOW_S:
            return False
        slow = tokens - self._before < floor_per_s * self._passed_s
        self._before, self._passed_s = tokens, 0.0
        return slow
