"""Admission: may a request that finds no free backend wait, until when, and if not, when should it come back?

It may wait while something that could take it is up, or will be by its own deadline (a pause, a quota that refills). It
may not where waiting is of no use to it:

    no backend   nothing is up, and nothing will be in time
    budget       a hard budget has no room for it
    shed         at the rate at which its class is served of late it would wait longer than it may
    queue full   the room is full, and nobody in it is worth less

How long it may wait is `queue_timeout_s`, unless its class is *overloaded*: somebody of it has waited at any time for
`overload_s`. Then a queue is no longer a burst that will be worked off, and who waits beyond the SLO on the first token
is served too late and makes those behind it too late as well. So an overloaded class with such an SLO waits no longer
than the SLO says, and who would wait longer than a part of it (the rest is for the first token itself) is turned away
at once. A class without one is shed by `queue_timeout_s`. Since the most valuable class goes first, its line empties
and it is the last to be shed.

When to come back is as honest as the rest: the time that the line takes at its measured rate, or until a pause or a
quota ends; a constant second only where nothing is known.

Source: a queue that is never empty is a standing one, and worth nothing: K. Nichols and V. Jacobson, "Controlling Queue
Delay", ACM Queue 10 (2012); its use for servers: B. Maurer, "Fail at Scale", ACM Queue 13 (2015).
"""

from __future__ import annotations

from math import inf
from typing import Final

from headrace.fleet import Limits
from headrace.policy.action import RejectReason
from headrace.policy.choice import Chooser
from headrace.policy.state import RequestState
from headrace.policy.waiting import ClassLine, WaitingRoom, density

OF_SLO: Final = 0.5  # of the SLO on the first token: what a newcomer of an overloaded class may wait
SHORTEST_S: Final = 1.0  # of what a client is told to wait
SOONEST_S: Final = 0.001  # until the queue is served again for a quota: who waits for it must not spin

Refusal = tuple[RejectReason, float]


class Admission:
    """Who may wait in the room of one engine."""

    __slots__ = ("_chooser", "_limits", "room")

    def __init__(self, limits: Limits, chooser: Chooser) -> None:
        self.room = WaitingRoom()
        self._limits = limits
        self._chooser = chooser

    def admit(self, now_s: float, request: RequestState) -> tuple[Refusal | None, RequestState | None]:
        """Let a request wait, or say why it may not and when it should come back; with who goes in its place."""
        due_s = self.due_s(now_s, request)
        if due_s is None:
            return self.no_backend(now_s, request), None
        spent_s = self._chooser.refused_s(now_s, request)
        if spent_s is not None:
            return (RejectReason.BUDGET_SPENT, spent_s), None
        line = self.room.line(now_s, request)
        overloaded = line is not None and self._overloaded(now_s, line)
        if line is not None and self._too_long(now_s, line, request, overloaded):
            return (RejectReason.SHED, self.come_back_s(now_s, request)), None
        fits = self.room.held_bytes + request.held_bytes <= self._limits.queue_bytes
        full = self.room.waiting >= self._limits.queue_depth
        evicted = self._evicted(now_s, request) if full and fits else None
        if not fits or (full and evicted is None):
            return (RejectReason.QUEUE_FULL, self.come_back_s(now_s, request)), None
        if evicted is not None:
            self.room.leave(now_s, evicted)
        due_s = min(due_s, request.deadline_s, now_s + _slo_s(request) if overloaded else inf)
        self.room.enter(now_s, due_s, request)
        return None, evicted

    def come_back_s(self, now_s: float, request: RequestState) -> float:
        """Seconds after which one that waits, or would, should ask again."""
        line = request.line.of if request.line is not None else self.room.line(now_s, request)
        wait_s = None if line is None else line.wait_s(now_s, request.tenant)
        if wait_s is None or wait_s == inf:
            return self._soonest_s(now_s, request)
        return max(wait_s, SHORTEST_S)

    def no_backend(self, now_s: float, request: RequestState) -> Refusal:
        """That nothing is up for a request, or that nothing can serve it, and when to ask again."""
        reason = RejectReason.NO_BACKEND if request.candidates.untried(request.unfit) else RejectReason.UNFIT
        return reason, self._soonest_s(now_s, request)

    def next_free_s(self, now_s: float) -> float | None:
        """When the first backend that somebody waits for may be asked again, by its breaker or quota; None: all may."""
        quotas, soonest_s = self._chooser.quotas, inf
        for backends, head in self.room.fronts(now_s):
            for backend in backends:
                if not backend.drained and now_s < backend.breaker.allows_from_s:
                    soonest_s = min(soonest_s, backend.breaker.allows_from_s)
            if quotas is not None:
                room_s = quotas.room_s(now_s, head, [b for b in backends if b.free(now_s)])
                if room_s is not None:
                    soonest_s = min(soonest_s, now_s + max(room_s, SOONEST_S))
        return soonest_s if soonest_s < inf else None

    def due_s(self, now_s: float, request: RequestState) -> float | None:
        """Until when a request may wait; None: there is nothing to wait for.

        While a backend that could take it is up, for `queue_timeout_s`. Where all that are left asked to be left alone
        for a while, or have no room in their quota, it waits for the first of them, as long as that is before its own
        deadline: its class's timeout.
        """
        left, quotas = request.candidates.untried(request.tried), self._chooser.quotas
        up = [backend for backend in left if backend.up(now_s)]
        room_s = None if quotas is None or not up else quotas.room_s(now_s, request, up)
        if up and room_s is None:
            return now_s + self._limits.queue_timeout_s
        deadline_s = request.arrived_s + request.workload_class.timeout_s
        pauses = (b.breaker.blocked_until_s for b in left if not b.drained and not b.breaker.tripped)
        free_s = min(pauses, default=inf) if room_s is None else now_s + room_s
        return deadline_s if free_s <= deadline_s else None

    def _overloaded(self, now_s: float, line: ClassLine) -> bool:
        """Whether a class has waited without a break for so long; if so, those who wait are hurried once."""
        if now_s - line.since_s < self._limits.overload_s:
            return False
        if not line.hurried:
            line.hurried = True
            for each in line.requests():
                if each.queued_s is not None and each.queued_s + _slo_s(each) < each.due_s:
                    self.room.give(each, max(each.queued_s + _slo_s(each), now_s))
        return True

    def _too_long(self, now_s: float, line: ClassLine, request: RequestState, overloaded: bool) -> bool:
        """Whether a newcomer would wait longer than it may; who comes back from a backend is none."""
        if request.attempts:
            return False
        wait_s, longest_s = line.wait_s(now_s, request.tenant), self._limits.queue_timeout_s
        return wait_s is not None and wait_s > (min(longest_s, OF_SLO * _slo_s(request)) if overloaded else longest_s)

    def _evicted(self, now_s: float, request: RequestState) -> RequestState | None:
        """Who goes where the room is full and this one wants in: the last of the longest line of the class that is
        worth least, if it is worth less than this one or takes more than its share of the class. None: nobody.
        """
        line = self.room.cheapest()
        if line is None:
            return None
        longest = max(line.tenants.values(), key=lambda each: each.waiting)
        last = longest.last()
        if line.name == request.workload_class.name:
            own = line.tenants.get(request.tenant)
            goes = longest.waiting > (0 if own is None else own.waiting) + 1
        else:
            goes = density(request) > last.density
        return last if goes and not last.attempts else None

    def _soonest_s(self, now_s: float, request: RequestState) -> float:
        """Seconds until the first candidate may be asked again, by its breaker and quota; at least one."""
        quotas, waits = self._chooser.quotas, []
        for backend in request.candidates.untried(request.unfit) or request.candidates.backends:
            if not backend.drained:
                wait_s = max(backend.breaker.blocked_until_s - now_s, 0.0)
                room_s = None if quotas is None else quotas.room_s(now_s, request, (backend,))
                waits.append(max(wait_s, room_s or 0.0))
        return max(SHORTEST_S, min(waits, default=SHORTEST_S))


def _slo_s(request: RequestState) -> float:
    """The SLO of its class on the first token; infinite without one."""
    slo_s = request.workload_class.slo.ttft_s
    return inf if slo_s is None else slo_s
