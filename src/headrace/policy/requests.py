"""The table of live requests, and what moves one on: a dispatch, the queue, another try, the end.

    Arrived --> dispatch <--------------------------+
       |                                            |
       +------> wait (`admission`) --> serve -------+
                                                    |
       attempt failed --> retry --> another backend-+
                            |                       |
                            +-----> wait, or pause -+
                            |
                            +-----> reject: no try, no budget, no backend

The rule that it protects: a request is in the table from its arrival to its end, so it ends once, and all that ends it
passes by `end`. Who waits is served whenever something has changed that may have made room.
"""

from __future__ import annotations

from random import Random
from typing import Final

from headrace.fleet import Fleet
from headrace.policy.action import AnyAction, DispatchReason, End, Enqueue, Outcome, Reject, RejectReason
from headrace.policy.admission import Admission
from headrace.policy.attempts import Attempts
from headrace.policy.choice import Choice, Chooser
from headrace.policy.event import Arrived
from headrace.policy.health import Health
from headrace.policy.hedge import Hedging
from headrace.policy.pricing import BackendState
from headrace.policy.retry import Backoff, RetryBudget
from headrace.policy.state import RequestState
from headrace.policy.timers import BACKOFF_TIMER, QUEUE_TIMER, WAKE_TIMER, Timers

FIRST: Final = DispatchReason.FIRST  # of every request: a member is looked up through its enum's metaclass


class Requests:
    """Every request between `Arrived` and `End`.

    Attributes:
        live: those requests, by id.
        room: where they wait.
        retries: what may be tried again.
    """

    __slots__ = (
        "_admission",
        "_attempts",
        "_backoff",
        "_chooser",
        "_health",
        "_hedging",
        "_max_attempts",
        "_timers",
        "live",
        "retries",
        "room",
    )

    def __init__(
        self,
        fleet: Fleet,
        rng: Random,
        chooser: Chooser,
        attempts: Attempts,
        timers: Timers,
        health: Health,
        hedging: Hedging | None,
    ) -> None:
        """
        Args:
            rng: chance for pauses before a retry.
            hedging: None: there is none.
        """
        limits = fleet.limits
        self.live: dict[int, RequestState] = {}
        self.retries = RetryBudget(limits.retry_budget, limits.retry_burst)
        self._max_attempts = limits.max_attempts
        self._backoff = Backoff(limits, rng)
        self._admission = Admission(limits, chooser)
        self.room = self._admission.room
        self._chooser = chooser
        self._attempts = attempts
        self._timers = timers
        self._health = health
        self._hedging = hedging

    def dispatch(self, now_s: float, request: RequestState, choice: Choice) -> list[AnyAction]:
        """Begin an attempt where `choice` says, and see to it that somebody looks when it is late."""
        if not request.attempts:
            self.retries.dispatched()
            reason = FIRST
        else:
            reason = DispatchReason.RESCUE if request.resumes else DispatchReason.RETRY
            reason = DispatchReason.CONTINUED if request.capped else reason
            request.capped = False
        attempt, dispatch = self._attempts.begin(now_s, request, choice, reason)
        actions: list[AnyAction] = [dispatch]
        self._timers.expect(now_s, attempt, actions)
        if self._hedging is not None:
            self._hedging.expect(now_s, attempt, dispatch.cost_usd, actions)
        return actions

    def wait_or_reject(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Queue a request while something that could take it is up, or will be by its deadline; else turn it away."""
        refused, evicted = self._admission.admit(now_s, request)
        if refused is not None:
            return self._reject(now_s, request, *refused)
        actions: list[AnyAction] = [Enqueue(request.request_id)]
        if evicted is not None:
            retry_s = self._admission.come_back_s(now_s, evicted)
            actions += self._reject(now_s, evicted, RejectReason.QUEUE_FULL, retry_s)
        return [*actions, *self._timers.by(QUEUE_TIMER, self.room.next_due_s()), *self._wake_later(now_s)]

    def _refused(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Turn a request away that hard budgets allow nowhere; nothing if they allow it somewhere."""
        spent_s = self._chooser.refused_s(now_s, request)
        return [] if spent_s is None else self._reject(now_s, request, RejectReason.BUDGET_SPENT, spent_s)

    def serve(self, now_s: float) -> list[AnyAction]:
        """Dispatch from the head of each line for as long as a head finds a free backend."""
        if not self.room.waiting:
            return []
        actions: list[AnyAction] = []
        for request in self.room.heads(now_s):
            choice = self._chooser.choose(now_s, request)
            if choice is not None:
                self.room.leave(now_s, request, served=True)
                actions += self.dispatch(now_s, request, choice)
            else:
                actions += self._refused(now_s, request)
        return actions + self._wake_later(now_s)

    def serve_after_failure(self, now_s: float, backend: BackendState) -> list[AnyAction]:
        """Give a place to those who wait, or see to it that they are served when the backend may be asked again.

        Nothing but this backend has changed: when a vendor is lost, not every failure may cost a look at every line.
        """
        if backend.free(now_s):
            return self.serve(now_s)
        return self._wake_later(now_s) if backend.breaker.allows_from_s < self._timers.due_s(WAKE_TIMER) else []

    def _wake_later(self, now_s: float) -> list[AnyAction]:
        """Serve the queue again when a cooldown or a pause ends: nothing else may happen then."""
        return self._timers.by(WAKE_TIMER, self._admission.next_free_s(now_s))

    def retry(self, now_s: float, request: RequestState, refused: bool) -> list[AnyAction]:
        """Another try while tries and budget last; else the request has failed."""
        if refused and not any(b.free(now_s) for b in request.candidates.untried(request.tried)):
            return self.wait_or_reject(now_s, request)
        if request.tries < self._max_attempts and self.retries.take():
            return self._try_again(now_s, request)
        return self._reject(now_s, request, *self._admission.no_backend(now_s, request))

    def _try_again(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Another backend that can end in time, now or when one is free; else, after a pause, one that failed it."""
        request.tried |= request.late(now_s)
        apart = self._health.suspects | request.apart
        choice = self._chooser.choose_apart(now_s, request, apart) if apart else None
        if choice is None:
            choice = self._chooser.choose(now_s, request)
        if choice is not None:
            return self.dispatch(now_s, request, choice)
        other = self._admission.due_s(now_s, request) is not None
        if other or not self._backoff.enter(now_s, request):
            return self.wait_or_reject(now_s, request)
        return [Enqueue(request.request_id), *self._timers.by(BACKOFF_TIMER, self._backoff.next_s())]

    def end_pauses(self, now_s: float) -> list[AnyAction]:
        """Try again for those who backed off for long enough; set the timer for the next one."""
        actions: list[AnyAction] = []
        for request in self._backoff.over(now_s):
            actions += self._try_again(now_s, request)
        return actions + self._timers.by(BACKOFF_TIMER, self._backoff.next_s())

    def reject_late_waiters(self, now_s: float) -> list[AnyAction]:
        """Turn away requests that waited too long; set the timer for the next one."""
        actions = self.serve(now_s)
        for request in self.room.overdue(now_s):
            retry_s = self._admission.come_back_s(now_s, request)
            actions += self._reject(now_s, request, RejectReason.QUEUE_TIMEOUT, retry_s)
        return actions + self._timers.by(QUEUE_TIMER, self.room.next_due_s())

    def _reject(self, now_s: float, request: RequestState, reason: RejectReason, retry_s: float) -> list[AnyAction]:
        if request.resumes:  # its client has a part of an answer: nothing can be said but that it breaks off
            return self.end(now_s, request, Outcome.FAILED)
        outcome = Outcome.FAILED if request.tries else Outcome.REJECTED
        return [Reject(request.request_id, reason, retry_s), *self.end(now_s, request, outcome)]

    def end_and_serve(self, now_s: float, request: RequestState, outcome: Outcome) -> list[AnyAction]:
        """End a request whose attempt is over, and give its place to those who wait."""
        actions = self.end(now_s, request, outcome)
        return actions + self.serve(now_s) if self.room.waiting else actions

    def end(self, now_s: float, request: RequestState, outcome: Outcome) -> list[AnyAction]:
        """A request is over."""
        if request.queued_s is not None:
            self.room.leave(now_s, request)
        request.backs_off_s = None
        if self._chooser.limits is not None and outcome in (Outcome.REJECTED, Outcome.FAILED):
            self._chooser.limits.lost(request)
        del self.live[request.request_id]
        return [End(request.request_id, outcome)]

    def hand_over(self, now_s: float) -> list[tuple[Arrived, float]]:
        """Forget those that wait and were sent nowhere yet; returns them, and when each came."""
        given = [r for r in self.live.values() if r.queued_s is not None and not r.attempts]
        for request in given:
            self.room.leave(now_s, request)
            del self.live[request.request_id]
        return [(request.arrival, request.arrived_s) for request in given if request.arrival is not None]
