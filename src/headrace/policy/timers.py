"""The timers of one engine: one of each kind, whatever number of requests or attempts it serves."""

from __future__ import annotations

from math import inf
from typing import Final

from headrace.fleet import Limits
from headrace.policy.action import AnyAction, SetTimer
from headrace.policy.deadline import Deadlines
from headrace.policy.state import AttemptState

FIRST_BYTE_TIMER: Final = 1
QUEUE_TIMER: Final = 2
ANSWER_TIMER: Final = 3
WAKE_TIMER: Final = 4
SIGNAL_TIMER: Final = 5


class Timers:
    """Which timers are set, and for when.

    Attributes:
        deadlines: of attempts, by the timer that guards them.
        wakes_s: when the queue is next served, whatever happens.
    """

    __slots__ = ("_gives_up_s", "_set", "deadlines", "wakes_s")

    def __init__(self, limits: Limits) -> None:
        self.deadlines = {
            FIRST_BYTE_TIMER: Deadlines(limits.first_byte_timeout_s),
            ANSWER_TIMER: Deadlines(limits.answer_timeout_s),
        }
        self._set: set[int] = set()
        self.wakes_s = inf
        self._gives_up_s = inf  # when who waited too long is next looked for

    def expect(self, now_s: float, attempt: AttemptState) -> list[AnyAction]:
        """Note by when an attempt's first byte must have come: its first token, or its whole answer."""
        timer_id = FIRST_BYTE_TIMER if attempt.request.streamed else ANSWER_TIMER
        first_s = self.deadlines[timer_id].add(now_s, attempt)
        return [] if timer_id in self._set else self.set(timer_id, first_s)

    def set(self, timer_id: int, at_s: float) -> list[AnyAction]:
        """Ask for a timer, unless one of its kind is set: that one fires first and sets the next."""
        if timer_id in self._set:
            return []
        self._set.add(timer_id)
        return [SetTimer(timer_id, at_s)]

    def wake(self, at_s: float | None) -> list[AnyAction]:
        """Serve the queue at that time, unless it is served before; None: no need."""
        if at_s is None or at_s >= self.wakes_s:
            return []
        self.wakes_s = at_s
        return [SetTimer(WAKE_TIMER, at_s)]

    def give_up(self, at_s: float | None) -> list[AnyAction]:
        """Look at that time for who waited too long, unless that is done before; None: nobody waits."""
        if at_s is None or at_s >= self._gives_up_s:
            return []
        self._gives_up_s = at_s
        return [SetTimer(QUEUE_TIMER, at_s)]

    def fired(self, now_s: float, timer_id: int) -> None:
        """A timer is due: it is set no more."""
        self._set.discard(timer_id)
        if timer_id == WAKE_TIMER:
            self.wakes_s = inf
        elif timer_id == QUEUE_TIMER and now_s >= self._gives_up_s:
            self._gives_up_s = inf
