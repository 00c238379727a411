"""The waiting room: requests that found every candidate full, first come first served among those with equal choices.

Requests that may go to the same backends wait in one line, so a full pool never holds up a request that another pool
could take. The room has a depth, and everybody in it a time by which the wait is too long; who leaves early (the client
went away) is skipped at the head.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
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

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._lines: dict[tuple[BackendState, ...], Line] = {}
        self._dues: list[tuple[float, int, RequestState]] = []  # a heap; who has left is passed over
        self._entered = 0
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether nobody more may enter."""
        return self.waiting >= self._depth

    def has_line(self, candidates: Candidates) -> bool:
        """Whether somebody with the same choices waits already."""
        return candidates.backends in self._lines

    def enter(self, now_s: float, due_s: float, request: RequestState) -> None:
        """Join the line of the backends that are left to this request; who was refused goes before later arrivals."""
        request.queued_s, request.due_s = now_s, due_s
        line = self._lines.setdefault(request.candidates.untried(request.tried), deque())
        place = len(line)
        if request.refusals:
            place = next((k for k, each in enumerate(line) if each.arrived_s > request.arrived_s), place)
        line.insert(place, request)
        self._entered += 1
        heappush(self._dues, (due_s, self._entered, request))
        self.waiting += 1

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
        """When the first of those who wait will have waited too long; None if nobody waits."""
        dues = self._dues
        while dues and not _waits(*dues[0]):
            heappop(dues)
        return dues[0][0] if dues else None

    def overdue(self, now_s: float) -> list[RequestState]:
        """Who has waited too long, in the order in which they were due."""
        late = []
        while (due_s := self.next_due_s()) is not None and due_s <= now_s:
            request = heappop(self._dues)[2]
            request.due_s = inf  # it may be there twice: it came back with the same deadline
            late.append(request)
        return late


def due(now_s: float, request: RequestState, timeout_s: float) -> float | None:
    """Until when a request may wait; None: there is nothing to wait for.

    While a backend that could take it is up, for `timeout_s`. Where all that are left asked to be left alone for a
    while, it waits for the first of them, as long as that is before its own deadline: its class's timeout.
    """
    left = request.candidates.untried(request.tried)
    if any(b.up(now_s) for b in left):
        return now_s + timeout_s
    deadline_s = request.arrived_s + request.workload_class.timeout_s
    pauses = (b.breaker.blocked_until_s for b in left if not b.drained and not b.breaker.tripped)
    return deadline_s if min(pauses, default=inf) <= deadline_s else None


def refusal(
    now_s: float, request: RequestState, room: WaitingRoom, due_s: float | None, spent_s: float | None
) -> tuple[RejectReason, float] | None:
    """Why a request may not even wait, and when to ask again; None: it may.

    Args:
        due_s: see `due`.
        spent_s: seconds until hard budgets allow it somewhere again; None: they do now.
    """
    if due_s is None:
        return no_backend(now_s, request)
    if spent_s is not None:
        return RejectReason.BUDGET_SPENT, spent_s
    return (RejectReason.QUEUE_FULL, 1.0) if room.full else None


def no_backend(now_s: float, request: RequestState) -> tuple[RejectReason, float]:
    """That nothing is up for a request, or that nothing can serve it, and when to ask again."""
    reason = RejectReason.NO_BACKEND if request.candidates.untried(request.unfit) else RejectReason.UNFIT
    return reason, retry_after_s(now_s, request.candidates)


def retry_after_s(now_s: float, candidates: Candidates) -> float:
    """Seconds until the first candidate may be asked again, at least one."""
    waits = [b.breaker.blocked_until_s - now_s for b in candidates.backends if not b.drained]
    return max(1.0, min(waits, default=1.0))


def _head(line: Line) -> RequestState | None:
    while line and line[0].queued_s is None:
        line.popleft()
    return line[0] if line else None


def _waits(due_s: float, number: int, request: RequestState) -> bool:
    return request.queued_s is not None and request.due_s == due_s
