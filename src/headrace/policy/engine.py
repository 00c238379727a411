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
A backend that is only full says when to come back, and that is no try. Beside an attempt whose first token is late a
second one may live (`hedge.py`): the first to answer ends the other, and the failure of one is not the request's.
"""

from __future__ import annotations

from random import Random
from typing import Final

from headrace.errors import InvariantError
from headrace.fleet import Backend, Fleet
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
from headrace.policy.breaker import HEALTH, NOTHING
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
    PeerLoad,
    PeersReported,
    PeriodResumed,
    SignalReceived,
    TimerFired,
)
from headrace.policy.explain import Explained, explained
from headrace.policy.health import Health
from headrace.policy.hedge import Hedging
from headrace.policy.intake import Intake
from headrace.policy.learning import learn
from headrace.policy.peers import own_loads
from headrace.policy.picked import chooser
from headrace.policy.policies import PRICES, Policy
from headrace.policy.pool_shares import share_meters
from headrace.policy.predict import LengthPredictor
from headrace.policy.prices import ReportedShare
from headrace.policy.pricing import BackendState
from headrace.policy.retry import PASSES, Backoff, RetryBudget
from headrace.policy.routing import Router
from headrace.policy.signals import SignalBoard
from headrace.policy.state import AttemptState, RequestState
from headrace.policy.timers import BACKOFF_TIMER, HEDGE_TIMER, QUEUE_TIMER, SIGNAL_TIMER, WAKE_TIMER, Timers
from headrace.policy.view import BackendView, EngineView, ShareView

# Of every request: a member is looked up through its enum's metaclass.
FIRST: Final = DispatchReason.FIRST
COMPLETED: Final = Outcome.COMPLETED


class PolicyEngine:
    """Decides for every request of one driver. Not thread-safe; needs no thread."""

    def __init__(
        self,
        fleet: Fleet,
        rng: Random,
        policy: Policy = PRICES,
        predictor: LengthPredictor | None = None,
        *,
        before: PolicyEngine | None = None,
        first_attempt_id: int = 1,
    ) -> None:
        """
        Args:
            rng: chance for pauses before a retry, and for the policy's picker, if it draws; nothing else does.
            policy: what chooses; see `policies.POLICIES`.
            predictor: of output lengths; None: learnt online. Only a simulator can know better.
            before: the engine whose successor this is: it inherits what that has learnt (`Generations`).
        """
        self._limits = fleet.limits
        self._policy = policy
        self._rng = rng
        self._backends = backend_states(fleet)
        self._fleet = fleet
        known: tuple[ReportedShare, ...] = () if before is None else before._shares
        self._shares: tuple[ReportedShare, ...] = share_meters(fleet, policy.steers, known)
        self._chooser = chooser(fleet, self._backends, self._shares, policy, rng)
        self._router = Router(fleet, self._backends, policy, apart=self._chooser.apart)
        self._intake = Intake(fleet, self._chooser, predictor)
        self._retries = RetryBudget(fleet.limits.retry_budget, fleet.limits.retry_burst)
        self._backoff = Backoff(fleet.limits, rng)
        self._requests: dict[int, RequestState] = {}
        self._admission = Admission(fleet.limits, self._chooser)
        self._room = self._admission.room
        self._board = SignalBoard(fleet.signals, self._backends)
        self._attempts = Attempts(self._chooser, self._board, first_attempt_id)
        self._timers = Timers(fleet)
        self._health = Health(fleet, self._backends)
        self._hedging = Hedging(fleet, self._chooser, self._backends, self._attempts, self._timers)
        self._hedges = fleet.limits.hedge_budget > 0.0
        self._now_s = 0.0
        if before is not None:
            self._inherit(before)

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
        if type(event) is TimerFired:
            return self._timer_fired(now_s, event)
        return self._handle_rare(now_s, event)

    def _handle_rare(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        match event:
            case AttemptFailed():
                return self._attempt_failed(now_s, event)
            case ClientGone():
                return self._client_gone(now_s, event)
            case SignalReceived():
                return self._signal_received(now_s, event)
            case PeersReported():
                return self._peers_reported(now_s, event)
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

    # -- generations: see `Generations` ------------------------------------------------------------------------------

    @property
    def backend_names(self) -> tuple[str, ...]:
        """Every backend of its fleet."""
        return tuple(backend.name for backend in self._backends)

    @property
    def requests_live(self) -> int:
        """Requests that have not ended."""
        return len(self._requests)

    def knows(self, request_id: int) -> bool:
        """Whether a request is its own and has not ended."""
        return request_id in self._requests

    def successor(self, now_s: float, fleet: Fleet, policy: Policy, first_attempt_id: int) -> PolicyEngine:
        """An engine over another fleet that has learnt what this one has; breakers, shares and periods are both's."""
        after = PolicyEngine(
            fleet, self._rng, policy, self._intake.predictor, before=self, first_attempt_id=first_attempt_id
        )
        after._now_s = now_s
        return after

    def hand_over(self) -> list[tuple[Arrived, float]]:
        """Forget the requests that wait and were sent nowhere yet; returns them, and when each came."""
        given = [r for r in self._requests.values() if r.queued_s is not None and not r.attempts]
        for request in given:
            self._room.leave(self._now_s, request)
            del self._requests[request.request_id]
        return [(request.arrival, request.arrived_s) for request in given if request.arrival is not None]

    def adopt(self, now_s: float, event: Arrived, arrived_s: float) -> list[AnyAction]:
        """Take over a request that came to the engine before."""
        if event.workload_class not in self._fleet.classes:
            return [Reject(event.request_id, RejectReason.NO_ROUTE, 0.0), End(event.request_id, Outcome.REJECTED)]
        actions = self._arrived(now_s, event)
        request = self._requests.get(event.request_id)
        if request is not None:
            request.arrived_s = arrived_s
        return actions

    def beside(self, loads: tuple[PeerLoad, ...]) -> None:
        """Other generations have this on the same backends, and may have changed their breakers."""
        self._board.beside(loads)

    def serve(self, now_s: float) -> list[AnyAction]:
        """Dispatch who waits, if there is room now."""
        self._now_s = max(now_s, self._now_s)
        return self._serve_queue(now_s)

    def _inherit(self, before: PolicyEngine) -> None:
        """Take over what is known of what is still there, by name."""
        known = {_identity(before._fleet, b): s for b, s in zip(before._fleet.backends, before._backends, strict=True)}
        moved: dict[int, int] = {}
        for backend, state in zip(self._fleet.backends, self._backends, strict=True):
            was = known.get(_identity(self._fleet, backend))
            if was is not None:
                state.inherit(was, self._limits)
                moved[was.index] = state.index
        self._chooser.inherit(before._chooser, moved)
        self._retries.inherit(before._retries)
        self._board.inherit(before._board)

    def report(self) -> PeersReported:
        """What other engines over the same fleet are to know of this one."""
        limits = self._chooser.limits
        used = () if limits is None else limits.used()
        return PeersReported(self._now_s, 1, own_loads(self._backends), used, self._chooser.draws(self._now_s))

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
        backend, probe, attempt.probe = attempt.backend, attempt.probe, NOTHING
        waited_s = now_s - attempt.dispatched_s
        backend.first_token(attempt.prefill_s, attempt.ttft_s, waited_s, probe is HEALTH)
        if probe or backend.breaker.failures or backend.ttft_factor >= self._health.slow_from:
            self._health.answered(now_s, attempt, probe)
        request = attempt.request
        if request.lateness is not None:
            request.lateness.observe(attempt.ttft_s, waited_s)
            if request.hedge is not None:
                return self._hedging.won(now_s, attempt) + self._serve_queue(now_s)
        return self._serve_queue(now_s) if probe else []  # the breaker is closed, or the window wider

    def _finished(self, now_s: float, event: Finished) -> list[AnyAction]:
        attempt = self._attempts.live.get(event.attempt_id)
        if attempt is None:
            return []
        request = attempt.request
        lost = None if request.hedge is None else self._hedging.won(now_s, attempt)
        if attempt.probe or attempt.backend.breaker.failures:
            self._health.finished(attempt)
        learn(now_s, attempt, event, self._intake.predictor)
        used_input = event.input_tokens if event.input_tokens is not None else request.input_tokens
        used_output = event.output_tokens if event.output_tokens is not None else request.expected_output_tokens
        self._attempts.end(
            now_s, attempt, used_input, used_output, completed=True, cached_input=event.cached_input_tokens
        )
        actions = self._end(request, COMPLETED)
        if self._room.waiting:
            actions += self._serve_queue(now_s)
        return actions if lost is None else lost + actions

    def _attempt_failed(self, now_s: float, event: AttemptFailed) -> list[AnyAction]:
        attempt = self._attempts.live.get(event.attempt_id)
        if attempt is None:
            return []
        if event.kind is FailureKind.CAPPED and event.committed:
            return self._capped(now_s, attempt, event)
        request, backend = attempt.request, attempt.backend
        lost = self._hedging.won(now_s, attempt) if event.committed and request.hedge is not None else []
        self._health.failed(now_s, attempt, event)
        refused = event.kind is FailureKind.OVERLOADED
        if refused:
            self._chooser.refused(now_s, attempt)
        if event.kind is FailureKind.UNFIT:
            request.shun(request.candidates.in_pool(backend.pool))
        used_input = request.input_tokens if attempt.first_token_s is not None else 0
        self._attempts.end(now_s, attempt, used_input, event.output_tokens)
        if event.committed:
            if not (event.resumable and self._limits.rescue):
                return lost + self._end(request, Outcome.FAILED) + self._serve_after_failure(now_s, backend)
            self._resume(request, event)
            request.apart = self._health.domain(backend)
        request.failed_by(backend, event.kind in PASSES)
        if refused:
            request.not_failed_by(backend)
        if request.attempt is not None:  # the other of two goes on
            return self._serve_after_failure(now_s, backend)
        return lost + self._retry(now_s, request, refused) + self._serve_after_failure(now_s, backend)

    def _capped(self, now_s: float, attempt: AttemptState, event: AttemptFailed) -> list[AnyAction]:
        """An answer has reached a ceiling of ours: its backend did well, and is asked first, for it has it cached."""
        request, backend = attempt.request, attempt.backend
        lost = [] if request.hedge is None else self._hedging.won(now_s, attempt)
        self._health.finished(attempt)
        backend.observe_outcome(failed=False)
        used_input = request.input_tokens if event.input_tokens is None else event.input_tokens
        self._attempts.end(now_s, attempt, used_input, event.output_tokens, cached_input=event.cached_input_tokens)
        if not event.resumable:
            return lost + self._end_and_serve(now_s, request, Outcome.FAILED)
        request.not_failed_by(backend)
        self._resume(request, event)
        choice = self._chooser.choose_again(now_s, request, backend)
        if choice is None:
            return lost + self._wait_or_reject(now_s, request) + self._serve_queue(now_s)
        return lost + self._dispatch(now_s, request, choice) + self._serve_queue(now_s)

    def _resume(self, request: RequestState, event: AttemptFailed) -> None:
        """What comes next goes on from what the client has: it reads that too, and has less to write."""
        request.resume(event.output_tokens, event.kind is FailureKind.CAPPED)
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

    def _peers_reported(self, now_s: float, event: PeersReported) -> list[AnyAction]:
        believed = self._board.reported(now_s, event)
        self._chooser.drawn_elsewhere(now_s, event)
        if self._chooser.limits is not None:
            self._chooser.limits.used_elsewhere(now_s, dict(event.used))
        actions = self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if believed else []
        return actions + self._serve_queue(now_s)

    def _timer_fired(self, now_s: float, event: TimerFired) -> list[AnyAction]:
        timer_id = event.timer_id
        self._timers.fired(now_s, timer_id)
        if timer_id == HEDGE_TIMER:  # the most frequent
            return self._hedging.begin(now_s, self._health.suspects)
        if timer_id in self._timers.deadlines:
            return self._fail_late_attempts(now_s, timer_id)
        if timer_id == QUEUE_TIMER:
            return self._reject_late_waiters(now_s)
        if timer_id == WAKE_TIMER:
            return self._serve_queue(now_s)
        if timer_id == BACKOFF_TIMER:
            return self._end_pauses(now_s)
        if timer_id == SIGNAL_TIMER:
            again = self._board.weigh(now_s)
            later = self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if again else []
            return later + self._serve_queue(now_s)
        return []

    def _fleet_changed(self, now_s: float, event: FleetChanged) -> list[AnyAction]:
        for backend in self._backends:
            backend.drain(backend.name in event.drained)
        return self._serve_queue(now_s)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _dispatch(self, now_s: float, request: RequestState, choice: Choice) -> list[AnyAction]:
        if not request.attempts:
            self._retries.dispatched()
            reason = FIRST
        else:
            reason = DispatchReason.RESCUE if request.resumes else DispatchReason.RETRY
            reason = DispatchReason.CONTINUED if request.capped else reason
            request.capped = False
        attempt, dispatch = self._attempts.begin(now_s, request, choice, reason)
        actions: list[AnyAction] = [dispatch]
        self._timers.expect(now_s, attempt, actions)
        if self._hedges:
            self._hedging.expect(now_s, attempt, dispatch.cost_usd, actions)
        return actions

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
        apart = self._health.suspects | request.apart
        choice = self._chooser.choose_apart(now_s, request, apart) if apart else None
        if choice is None:
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


def _identity(fleet: Fleet, backend: Backend) -> tuple[str, str, str]:
    """What makes a backend the same as one of another fleet: its name, where it is, and what it serves."""
    return backend.name, backend.url, fleet.pools[backend.pool].deployment.model.name
