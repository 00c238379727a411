"""The waiting room: requests that found every candidate full, first come first served among those with equal choices.

Requests that may go to the same backends wait in one line, so a full pool never holds up a request that another pool
could take. The room has a depth and a longest wait; who leaves early (the client went away) is skipped at the head.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from headrace.policy.action import RejectReason
from headrace.policy.pricing import BackendState
from headrace.policy.routing import Candidates
from headrace.policy.state import RequestState

Line = deque[RequestState]


class WaitingRoom:
    """Lines of waiting requests, one per set of candidates.

    Attributes:
        waiting: requests in the room.
    """

    def __init__(self, depth: int, timeout_s: float) -> None:
        self._depth = depth
        self._timeout_s = timeout_s
        self._lines: dict[tuple[BackendState, ...], Line] = {}
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether nobody more may enter."""
        return self.waiting >= self._depth

    def has_line(self, candidates: Candidates) -> bool:
        """Whether somebody with the same choices waits already."""
        return candidates.backends in self._lines

    def enter(self, now_s: float, request: RequestState) -> float:
        """Join the line of the backends that are left to this request; returns when its wait is over at the latest."""
        request.queued_s = now_s
        self._lines.setdefault(request.candidates.untried(request.tried), deque()).append(request)
        self.waiting += 1
        return now_s + self._timeout_s

    def leave(self, request: RequestState) -> None:
        """Leave from wherever in the line; nothing happens if it does not wait."""
        if request.queued_s is not None:
            request.queued_s = None
            self.waiting -= 1

    def heads(self) -> Iterator[RequestState]:
        """The first of each line; while the caller makes it leave, the line's next one follows."""
        for key in list(self._lines):
            line = self._lines[key]
            while (head := _head(line)) is not None:
                yield head
                if head.queued_s is not None:
                    break
            if not line:
                del self._lines[key]

    def next_free_s(self, now_s: float) -> float | None:
        """When the first backend that somebody waits for may be asked again, by its breaker; None: all may be."""
        lines = (line for line, waiting in self._lines.items() if _head(waiting) is not None)
        times = (b.breaker.allows_from_s for line in lines for b in line if not b.drained)
        return min((at_s for at_s in times if now_s < at_s < inf), default=None)

    def next_due_s(self) -> float | None:
        """When the longest-waiting request has waited too long; None if nobody waits."""
        waits = [head.queued_s for line in self._lines.values() if (head := _head(line)) is not None]
        return min((since + self._timeout_s for since in waits if since is not None), default=None)

    def overdue(self, now_s: float, request: RequestState) -> bool:
        """Whether this request has waited too long."""
        return request.queued_s is not None and request.queued_s + self._timeout_s <= now_s


def refusal(
    now_s: float, request: RequestState, room: WaitingRoom, spent_s: float | None
) -> tuple[RejectReason, float] | None:
    """Why a request may not even wait, and when to ask again; None: it may.

    Args:
        spent_s: seconds until hard budgets allow it somewhere again; None: they do now.
    """
    if not any(b.up(now_s) for b in request.candidates.untried(request.tried)):
        return RejectReason.NO_BACKEND, retry_after_s(now_s, request.candidates)
    if spent_s is not None:
        return RejectReason.BUDGET_SPENT, spent_s
    return (RejectReason.QUEUE_FULL, 1.0) if room.full else None


def retry_after_s(now_s: float, candidates: Candidates) -> float:
    """Seconds until the first candidate may be asked again, at least one."""
    waits = [b.breaker.blocked_until_s - now_s for b in candidates.backends if not b.drained]
    return max(1.0, min(waits, default=1.0))


def _head(line: Line) -> RequestState | None:
    while line and line[0].queued_s is None:
        line.popleft()
    return line[0] if line else None
