"""The timers of one engine: one of each kind, whatever number of requests or attempts it serves."""

from __future__ import annotations

from math import inf
from typing import Final

from headrace.fleet import Fleet
from headrace.policy.action import EARLY_S, AnyAction, SetTimer
from headrace.policy.deadline import Deadlines
from headrace.policy.state import AttemptState

FIRST_BYTE_TIMER: Final = 1
QUEUE_TIMER: Final = 2
ANSWER_TIMER: Final = 3
WAKE_TIMER: Final = 4
SIGNAL_TIMER: Final = 5
BACKOFF_TIMER: Final = 6
HEDGE_TIMER: Final = 7
CLASS_TIMERS: Final = 100  # from here on: one for each TTFT timeout of a class


class Timers:
    """Which timers are set, and for when.

    Attributes:
        deadlines: of attempts, by the timer that guards them.
    """

    __slots__ = ("_due_s", "_first_byte_timers", "_set", "deadlines")

    def __init__(self, fleet: Fleet) -> None:
        limits = fleet.limits
        self.deadlines = {
            FIRST_BYTE_TIMER: Deadlines(limits.first_byte_timeout_s),
            ANSWER_TIMER: Deadlines(limits.answer_timeout_s),
        }
        timeouts_s = sorted({c.ttft_timeout_s for c in fleet.classes.values() if c.ttft_timeout_s is not None})
        self.deadlines |= {CLASS_TIMERS + k: Deadlines(timeout_s) for k, timeout_s in enumerate(timeouts_s)}
        self._first_byte_timers = {
            name: FIRST_BYTE_TIMER if c.ttft_timeout_s is None else CLASS_TIMERS + timeouts_s.index(c.ttft_timeout_s)
            for name, c in fleet.classes.items()
        }
        self._set: set[int] = set()
        self._due_s: dict[int, float] = {}  # of timers that are set anew when something is due earlier

    def expect(self, now_s: float, attempt: AttemptState, actions: list[AnyAction]) -> None:
        """Note by when an attempt's first byte must have come: its first token, or its whole answer.

        Args:
            actions: a timer is added, where one must be set.
        """
        request = attempt.request
        timer_id = self._first_byte_timers[request.workload_class.name] if request.streamed else ANSWER_TIMER
        first_s = self.deadlines[timer_id].add(now_s, attempt)
        if timer_id not in self._set:
            actions += self.set(timer_id, first_s)

    def set(self, timer_id: int, at_s: float) -> list[AnyAction]:
        """Ask for a timer, unless one of its kind is set: that one fires first and sets the next."""
        if timer_id in self._set:
            return []
        self._set.add(timer_id)
        return [SetTimer(timer_id, at_s)]

    def by(self, timer_id: int, at_s: float | None) -> list[AnyAction]:
        """Ask for a timer by that time, unless one of its kind is due before; None: there is no need."""
        if at_s is None or at_s >= self._due_s.get(timer_id, inf):
            return []
        self._due_s[timer_id] = at_s
        return [SetTimer(timer_id, at_s)]

    def due_s(self, timer_id: int) -> float:
        """When the next one of its kind is due that was asked for by `by`; infinite: none is."""
        return self._due_s.get(timer_id, inf)

    def fired(self, now_s: float, timer_id: int) -> None:
        """A timer is due: it is set no more. One that was overtaken by an earlier one means nothing."""
        self._set.discard(timer_id)
        if now_s + EARLY_S >= self._due_s.get(timer_id, inf):
            del self._due_s[timer_id]
