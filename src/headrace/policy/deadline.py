"""Deadlines of attempts: by when a first byte must have come, with one timer for all of a kind.

Deadlines of one kind are equally far ahead, so they come due in the order in which they were made, and a queue holds
them. What has ended or begun to answer is passed over at its head, so the queue never outgrows what is live by much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Deadlines:
    """Deadlines of one kind.

    Args:
        timeout_s: how far ahead they lie.
        waits: whether an attempt, by its id, still waits for what has the deadline.
    """

    __slots__ = ("_queue", "_timeout_s", "_waits")

    def __init__(self, timeout_s: float, waits: Callable[[int], bool]) -> None:
        self._timeout_s = timeout_s
        self._waits = waits
        self._queue: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, now_s: float, attempt_id: int) -> float:
        """Set the deadline of an attempt that was just made; returns the earliest one."""
        self._pass_over()
        self._queue.append((now_s + self._timeout_s, attempt_id))
        return self._queue[0][0]

    def overdue(self, now_s: float) -> list[int]:
        """Attempts whose deadline has passed while they wait; they are forgotten here."""
        late: list[int] = []
        while self._pass_over() and self._queue[0][0] <= now_s:
            late.append(self._queue.popleft()[1])
        return late

    def next_s(self) -> float | None:
        """The earliest deadline of one that waits."""
        return self._queue[0][0] if self._pass_over() else None

    def _pass_over(self) -> bool:
        """Drop from the head what waits no more; returns whether anything is left."""
        queue, waits = self._queue, self._waits
        while queue and not waits(queue[0][1]):
            queue.popleft()
        return bool(queue)
