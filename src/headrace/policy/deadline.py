"""Deadlines of attempts: by when a first byte must have come, with one timer for all of a kind.

Deadlines of one kind are equally far ahead, so they come due in the order in which they were made, and a queue holds
them. What has ended or begun to answer is passed over at its head. Behind one that waits long it would pile up, with
all that an attempt holds: so whenever the queue has doubled, whatever waits no more is taken out of it. That costs a
few steps per deadline, and the queue never holds more than twice what waits, and a few.
"""

from __future__ import annotations

from collections import deque

from headrace.policy.state import AttemptState

FEW = 64


class Deadlines:
    """Deadlines of one kind, each `timeout_s` after its attempt was made."""

    __slots__ = ("_full_at", "_queue", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._queue: deque[tuple[float, AttemptState]] = deque()
        self._full_at = FEW  # so many deadlines are looked through

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, now_s: float, attempt: AttemptState) -> float:
        """Set the deadline of an attempt that was just made; returns the earliest one."""
        queue = self._queue
        while queue and not queue[0][1].waits:
            queue.popleft()
        if len(queue) >= self._full_at:
            self._queue = queue = deque(each for each in queue if each[1].waits)
            self._full_at = FEW + 2 * len(queue)
        queue.append((now_s + self._timeout_s, attempt))
        return queue[0][0]

    def overdue(self, now_s: float) -> list[AttemptState]:
        """Attempts whose deadline has passed while they wait; they are forgotten here."""
        late: list[AttemptState] = []
        while self._pass_over() and self._queue[0][0] <= now_s:
            late.append(self._queue.popleft()[1])
        return late

    def next_s(self) -> float | None:
        """The earliest deadline of one that waits."""
        return self._queue[0][0] if self._pass_over() else None

    def _pass_over(self) -> bool:
        """Drop from the head what waits no more; returns whether anything is left."""
        while self._queue and not self._queue[0][1].waits:
            self._queue.popleft()
        return bool(self._queue)
