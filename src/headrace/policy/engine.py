"""The policy engine: the one pure object that decides everything that happens to a request.

It is told what happened (`Event`) and answers what is to be done (`Action`); it does no I/O, never asks what time it is
and draws chance from an injected stream. The live gateway, the simulator and journal verification are drivers of this
same object, so what was simulated is what runs.

    Arrived --> Dispatch ----------------> FirstToken --> Finished ----> End(completed)
       |  \\        ^  |                        |
       |   \\       |  +-- AttemptFailed -------+--(bytes delivered, and nobody can go on)--> End(failed)
       |    \\      |            |
       |     \\     +--- retry --+--(no try left, or no backend left)--> Reject, End(failed)
       |      \\    |
       |       +-> Enqueue --(waited too long)------------------------> Reject, End(rejected)
       +--(no route, nothing up, queue full)--------------------------> Reject, End(rejected)
    ClientGone, at any point --> Cancel if an attempt is live ---------> End(cancelled)

Two rules hold it together. Every request ends exactly once and every attempt ends exactly once: both live in a table
from their first event to their end, and an event about something that is not in the table changes nothing. A decision
reads only what had happened by then: lengths are predicted, load is what we dispatched ourselves and what signals say.
A backend that is only full says when to come back: who has nowhere else to go waits for that, and it is no try.
"""

from __future__ import annotations

from random import Random

from headrace.errors import InvariantError
from headrace.fleet import Fleet
from headrace.policy.action import (
    AnyAction,
    Cancel,
    DispatchReason,
    End,
    Enqueue,
    Outcome,
    Reject,
    RejectReason,
)
from headrace.policy.admission import Admission
from headrace.policy.attempts import Attempts
from headrace.policy.backend_states import backend_states
from headrace.policy.breaker import Probe
from headrace.policy.choice import Choice
from headrace.policy.event import (
    AnyEvent,
    Arrived,
    AttemptFailed,
    ClientGone,
    FailureKind,
    Finished,
    FirstToken,
    FleetChanged,
    PeriodResumed,
    SignalReceived,
    TimerFired,
)
from headrace.policy.explain import Explained, explained
from headrace.policy.hedge import Hedging
from headrace.policy.intake import Intake
from headrace.policy.learning import learn
from headrace.policy.picked import chooser
from headrace.policy.policies import PRICES, Policy
from headrace.policy.pool_shares import share_meters
from headrace.policy.predict import LengthPredictor
from headrace.policy.pricing import BackendState
from headrace.policy.retry import PASSES, Backoff, RetryBudget
from headrace.policy.routing import Router
from headrace.policy.signals import SignalBoard
from headrace.policy.state import AttemptState, RequestState
from headrace.policy.timers import BACKOFF_TIMER, HEDGE_TIMER, QUEUE_TIMER, SIGNAL_TIMER, WAKE_TIMER, Timers
from headrace.policy.view import BackendView, EngineView, ShareView


class PolicyEngine:
    """Decides for every request of one driver. Not thread-safe; needs no thread."""

    def __init__(
        self, fleet: Fleet, rng: Random, policy: Policy = PRICES, predictor: LengthPredictor | None = None
    ) -> None:
        """
        Args:
            rng: chance for pauses before a retry, and for the policy's picker, if it draws; nothing else does.
            policy: what chooses; see `policies.POLICIES`.
            predictor: of output lengths; None: learnt online. Only a simulator can know better.
        """
        self._limits = fleet.limits
        self._policy = policy
        self._backends = backend_states(fleet)
        self._shares = share_meters(fleet, steer=policy.steers)
        self._chooser = chooser(fleet, self._backends, self._shares, policy, rng)
        self._router = Router(fleet, self._backends, policy, apart=self._chooser.apart)
        self._intake = Intake(fleet, self._chooser, predictor)
        self._retries = RetryBudget(fleet.limits.retry_budget, fleet.limits.retry_burst)
        self._backoff = Backoff(fleet.limits, rng)
        self._requests: dict[int, RequestState] = {}
        self._admission = Admission(fleet.limits, self._chooser)
        self._room = self._admission.room
        self._board = SignalBoard(fleet.signals, self._backends)
        self._attempts = Attempts(self._chooser, self._board)
        self._timers = Timers(fleet)
        self._hedging = Hedging(fleet, self._chooser, self._backends) if fleet.limits.hedge_budget else None
        self._now_s = 0.0

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Apply one event and return what the driver must do, in order.

        Args:
            now_s: seconds since the engine started; never decreases.

        Raises:
            InvariantError: `now_s` went backwards, or a signal is newer than now. Late or repeated events are ignored.
        """
        if now_s < self._now_s:
            raise InvariantError(f"time went backwards: {now_s} after {self._now_s}, at {event!r}")
        self._now_s = now_s
        if type(event) is Arrived:  # by identity, the most frequent first: every request comes by three times
            return self._arrived(now_s, event)
        if type(event) is FirstToken:
            return self._first_token(now_s, event)
        if type(event) is Finished:
            return self._finished(now_s, event)
        return self._handle_rare(now_s, event)

    def _handle_rare(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        match event:
            case AttemptFailed():
                return self._attempt_failed(now_s, event)
            case ClientGone():
                return self._client_gone(now_s, event)
            case SignalReceived():
                return self._signal_received(now_s, event)
            case TimerFired():
                return self._timer_fired(now_s, event)
            case FleetChanged():
                return self._fleet_changed(now_s, event)
            case PeriodResumed():
                self._chooser.resumed(now_s, event)
                return []
        raise InvariantError(f"no such event: {event!r}")

    def view(self) -> EngineView:
        """What the engine sees and asks now, for people and metrics."""
        return EngineView(
            now_s=self._now_s,
            policy=self._policy.name,
            requests_live=len(self._requests),
            queued=self._room.waiting,
            retries_left=self._retries.left,
            backends=[BackendView.of(backend, self._now_s) for backend in self._backends],
            shares=[ShareView.of(share) for share in self._shares],
            limits=self._chooser.limit_views(self._now_s),
        )

    def explain(self, now_s: float, event: Arrived) -> list[Explained]:
        """What each candidate would cost this request now, the cheapest first; changes nothing."""
        candidates = self._router.candidates(event.model, event.tenant, event.workload_class)
        if not candidates.backends:
            return []
        return explained(now_s, self._intake.request(now_s, event, candidates), self._chooser)

    # -- events ------------------------------------------------------------------------------------------------------

    def _arrived(self, now_s: float, event: Arrived) -> list[AnyAction]:
        request_id = event.request_id
        if request_id in self._requests:
            return []
        class_name, tenant = event.workload_class, event.tenant
        candidates = self._router.candidates(event.model, tenant, class_name)
        if not candidates.backends:
            return [Reject(request_id, RejectReason.NO_ROUTE, 0.0), End(request_id, Outcome.REJECTED)]
        request = self._intake.request(now_s, event, candidates)
        self._requests[request_id] = request
        if not self._room.waiting or self._room.goes_first(now_s, request):
            choice = self._chooser.choose(now_s, request)
            if choice is not None:
                return self._dispatch(now_s, request, choice)
        return self._wait_or_reject(now_s, request)

    def _first_token(self, now_s: float, event: FirstToken) -> list[AnyAction]:
        attempt = self._attempts.live.get(event.attempt_id)
        if attempt is None or not attempt.waits:
            return []
        attempt.first_token_s = now_s
        attempt.waits = False
        backend, probe, attempt.probe = attempt.backend, attempt.probe, Probe.NOTHING
        backend.first_token(attempt.prefill_s, attempt.ttft_s, now_s - attempt.dispatched_s)
        backend.breaker.succeeded(probe)
        if self._hedging is not None:
            self._hedging.answered(attempt, now_s - attempt.dispatched_s)
        if attempt.request.hedge is not None:
            return self._won(now_s, attempt) + self._serve_queue(now_s)
        return self._serve_queue(now_s) if probe else []  # the breaker is closed, or the window wider

    def _finished(self, now_s: float, event: Finished) -> list[AnyAction]:
        attempt = self._attempts.live.get(event.attempt_id)
        if attempt is None:
            return []
        request = attempt.request
        lost = [] if request.hedge is None else self._won(now_s, attempt)
        attempt.backend.breaker.succeeded(attempt.probe)
        learn(now_s, attempt, event, self._intake.predictor)
        used_input = event.input_tokens if event.input_tokens is not None else request.input_tokens
        used_output = event.output_tokens if event.output_tokens is not None else request.expected_output_tokens
        self._attempts.end(
            now_s, attempt, used_input, used_output, completed=True, cached_input=event.cached_input_tokens
        )
        ended = self._end_and_serve(now_s, request, Outcome.COMPLETED)
        return lost + ended if lost else ended

    def _attempt_failed(self, now_s: float, event: AttemptFailed) -> list[AnyAction]:
        attempt = self._attempts.live.get(event.attempt_id)
        if attempt is None:
            return []
        request, backend = attempt.request, attempt.backend
        lost = self._won(now_s, attempt) if event.committed and request.hedge is not None else []
        refused = event.kind is FailureKind.OVERLOADED
        if refused:
            backend.breaker.refused(now_s, event.retry_after_s, attempt.probe)
            self._chooser.refused(now_s, attempt)
        elif event.kind is FailureKind.UNFIT:
            backend.breaker.released(attempt.probe)
            request.shun(request.candidates.in_pool(backend.pool))
        else:
            backend.breaker.failed(now_s, attempt.probe)
            backend.observe_outcome(failed=True)
        used_input = request.input_tokens if attempt.first_token_s is not None else 0
        self._attempts.end(now_s, attempt, used_input, event.output_tokens)
        if event.committed:
            if not (event.resumable and self._limits.rescue):
                return lost + self._end(request, Outcome.FAILED) + self._serve_after_failure(now_s, backend)
            self._resume(request, event)
        request.failed_by(backend, event.kind in PASSES)
        if refused:
            request.refused_by(backend)
        if request.attempt is not None:  # the other of two goes on
            return self._serve_after_failure(now_s, backend)
        return lost + self._retry(now_s, request, refused) + self._serve_after_failure(now_s, backend)

    def _resume(self, request: RequestState, event: AttemptFailed) -> None:
        """What comes next goes on from what the client has: it reads that too, and has less to write."""
        request.resume(event.output_tokens)
        request.work = self._chooser.work(request.input_tokens, request.expected_output_tokens)
        request.shun(request.candidates.named(event.unfit))

    def _client_gone(self, now_s: float, event: ClientGone) -> list[AnyAction]:
        request = self._requests.get(event.request_id)
        if request is None:
            return []
        actions: list[AnyAction] = []
        for attempt in (request.hedge, request.attempt):
            if attempt is not None:
                actions.append(self._attempts.cancel(now_s, attempt, event.output_tokens))
        return actions + self._end_and_serve(now_s, request, Outcome.CANCELLED)

    def _signal_received(self, now_s: float, event: SignalReceived) -> list[AnyAction]:
        believed = self._board.received(now_s, event)
        if self._chooser.told(now_s, event):
            return self._serve_queue(now_s)
        return self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if believed else []

    def _timer_fired(self, now_s: float, event: TimerFired) -> list[AnyAction]:
        timer_id = event.timer_id
        self._timers.fired(now_s, timer_id)
        if timer_id in self._timers.deadlines:
            return self._fail_late_attempts(now_s, timer_id)
        if timer_id == QUEUE_TIMER:
            return self._reject_late_waiters(now_s)
        if timer_id == WAKE_TIMER:
            return self._serve_queue(now_s)
        if timer_id == BACKOFF_TIMER:
            return self._end_pauses(now_s)
        if timer_id == HEDGE_TIMER and self._hedging is not None:
            return self._hedge(now_s, self._hedging)
        if timer_id == SIGNAL_TIMER and self._board.weigh(now_s):
            return self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s)
        return []

    def _fleet_changed(self, now_s: float, event: FleetChanged) -> list[AnyAction]:
        for backend in self._backends:
            backend.drain(backend.name in event.drained)
        return self._serve_queue(now_s)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _dispatch(self, now_s: float, request: RequestState, choice: Choice) -> list[AnyAction]:
        if not request.attempts:
            self._retries.dispatched()
            reason = DispatchReason.FIRST
        else:
            reason = DispatchReason.RESCUE if request.resumes else DispatchReason.RETRY
        attempt, dispatch = self._attempts.begin(now_s, request, choice, reason)
        actions = [dispatch, *self._timers.expect(now_s, attempt)]
        if self._hedging is not None:
            late_s = self._hedging.expect(now_s, attempt, dispatch.cost_usd)
            if late_s is not None:
                actions += self._timers.by(HEDGE_TIMER, late_s)
        return actions

    def _hedge(self, now_s: float, hedging: Hedging) -> list[AnyAction]:
        """Dispatch a second attempt beside each one that is late, where that is worth it; see when the next is."""
        actions: list[AnyAction] = []
        for attempt in hedging.late(now_s):
            request = attempt.request
            choice = hedging.choose(now_s, attempt, 0) if request.tries < self._limits.max_attempts else None
            if choice is not None:
                hedge, dispatch = self._attempts.begin(now_s, request, choice, DispatchReason.HEDGE)
                actions += [dispatch, *self._timers.expect(now_s, hedge)]
        return actions + self._timers.by(HEDGE_TIMER, hedging.next_s())

    def _won(self, now_s: float, attempt: AttemptState) -> list[AnyAction]:
        """Of two attempts this one answers: the other is cancelled."""
        request = attempt.request
        loser = request.attempt if request.hedge is attempt else request.hedge
        if loser is None:
            return []
        if self._hedging is not None:
            self._hedging.lost(now_s, loser, attempt)
        return [self._attempts.cancel(now_s, loser)]

    # -- waiting, retrying, ending -----------------------------------------------------------------------------------

    def _wait_or_reject(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Queue a request while something that could take it is up, or will be by its deadline; else turn it away."""
        refused, evicted = self._admission.admit(now_s, request)
        if refused is not None:
            return self._reject(request, *refused)
        actions: list[AnyAction] = [Enqueue(request.request_id)]
        if evicted is not None:
            actions += self._reject(evicted, RejectReason.QUEUE_FULL, self._admission.come_back_s(now_s, evicted))
        return [*actions, *self._timers.by(QUEUE_TIMER, self._room.next_due_s()), *self._wake_later(now_s)]

    def _refused(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Turn a request away that hard budgets allow nowhere; nothing if they allow it somewhere."""
        spent_s = self._chooser.refused_s(now_s, request)
        return [] if spent_s is None else self._reject(request, RejectReason.BUDGET_SPENT, spent_s)

    def _serve_queue(self, now_s: float) -> list[AnyAction]:
        """Dispatch from the head of each line for as long as a head finds a free backend."""
        if not self._room.waiting:
            return []
        actions: list[AnyAction] = []
        for request in self._room.heads(now_s):
            choice = self._chooser.choose(now_s, request)
            if choice is not None:
                self._room.leave(now_s, request, served=True)
                actions += self._dispatch(now_s, request, choice)
            else:
                actions += self._refused(now_s, request)
        return actions + self._wake_later(now_s)

    def _serve_after_failure(self, now_s: float, backend: BackendState) -> list[AnyAction]:
        """Give a place to those who wait, or see to it that they are served when the backend may be asked again.

        Nothing but this backend has changed: when a vendor is lost, not every failure may cost a look at every line.
        """
        if backend.free(now_s):
            return self._serve_queue(now_s)
        return self._wake_later(now_s) if backend.breaker.allows_from_s < self._timers.due_s(WAKE_TIMER) else []

    def _wake_later(self, now_s: float) -> list[AnyAction]:
        """Serve the queue again when a cooldown or a pause ends: nothing else may happen then."""
        return self._timers.by(WAKE_TIMER, self._admission.next_free_s(now_s))

    def _retry(self, now_s: float, request: RequestState, refused: bool) -> list[AnyAction]:
        """Another try while tries and budget last; else the request has failed."""
        if refused and not any(b.free(now_s) for b in request.candidates.untried(request.tried)):
            return self._wait_or_reject(now_s, request)
        if request.tries < self._limits.max_attempts and self._retries.take():
            return self._try_again(now_s, request)
        return self._reject(request, *self._admission.no_backend(now_s, request))

    def _try_again(self, now_s: float, request: RequestState) -> list[AnyAction]:
        """Another backend that can end in time, now or when one is free; else, after a pause, one that failed it."""
        request.tried |= request.late(now_s)
        choice = self._chooser.choose(now_s, request)
        if choice is not None:
            return self._dispatch(now_s, request, choice)
        other = self._admission.due_s(now_s, request) is not None
        if other or not self._backoff.enter(now_s, request):
            return self._wait_or_reject(now_s, request)
        return [Enqueue(request.request_id), *self._timers.by(BACKOFF_TIMER, self._backoff.next_s())]

    def _end_pauses(self, now_s: float) -> list[AnyAction]:
        """Try again for those who backed off for long enough; set the timer for the next one."""
        actions: list[AnyAction] = []
        for request in self._backoff.over(now_s):
            actions += self._try_again(now_s, request)
        return actions + self._timers.by(BACKOFF_TIMER, self._backoff.next_s())

    def _fail_late_attempts(self, now_s: float, timer_id: int) -> list[AnyAction]:
        """Give up on attempts whose first byte is overdue; set the timer for the next one."""
        actions: list[AnyAction] = []
        deadlines = self._timers.deadlines[timer_id]
        for attempt in deadlines.overdue(now_s):
            actions.append(Cancel(attempt.attempt_id))
            actions += self._attempt_failed(now_s, AttemptFailed(attempt.attempt_id, FailureKind.TIMEOUT))
        next_s = deadlines.next_s()
        return actions if next_s is None else actions + self._timers.set(timer_id, next_s)

    def _reject_late_waiters(self, now_s: float) -> list[AnyAction]:
        """Turn away requests that waited too long; set the timer for the next one."""
        actions = self._serve_queue(now_s)
        for request in self._room.overdue(now_s):
            actions += self._reject(request, RejectReason.QUEUE_TIMEOUT, self._admission.come_back_s(now_s, request))
        return actions + self._timers.by(QUEUE_TIMER, self._room.next_due_s())

    def _reject(self, request: RequestState, reason: RejectReason, retry_s: float) -> list[AnyAction]:
        if request.resumes:  # its client has a part of an answer: nothing can be said but that it breaks off
            return self._end(request, Outcome.FAILED)
        outcome = Outcome.FAILED if request.tries else Outcome.REJECTED
        return [Reject(request.request_id, reason, retry_s), *self._end(request, outcome)]

    def _end_and_serve(self, now_s: float, request: RequestState, outcome: Outcome) -> list[AnyAction]:
        """End a request whose attempt is over, and give its place to those who wait."""
        actions = self._end(request, outcome)
        return actions + self._serve_queue(now_s) if self._room.waiting else actions

    def _end(self, request: RequestState, outcome: Outcome) -> list[AnyAction]:
        if request.queued_s is not None:
            self._room.leave(self._now_s, request)
        request.backs_off_s = None
        if self._chooser.limits is not None and outcome in (Outcome.REJECTED, Outcome.FAILED):
            self._chooser.limits.lost(request)
        del self._requests[request.request_id]
        return [End(request.request_id, outcome)]
