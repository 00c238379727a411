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
from headrace.fleet import Fleet
from headrace.policy.action import (
    AnyAction,
    Cancel,
    End,
    Outcome,
    Reject,
    RejectReason,
)
from headrace.policy.attempts import Attempts
from headrace.policy.backend_states import backend_states, inherit_states
from headrace.policy.breaker import HEALTH, NOTHING
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
from headrace.policy.requests import Requests
from headrace.policy.retry import PASSES
from headrace.policy.routing import Router
from headrace.policy.signals import SignalBoard
from headrace.policy.state import AttemptState, RequestState
from headrace.policy.timers import BACKOFF_TIMER, HEDGE_TIMER, QUEUE_TIMER, SIGNAL_TIMER, WAKE_TIMER, Timers
from headrace.policy.view import BackendView, EngineView, ShareView

COMPLETED: Final = Outcome.COMPLETED  # of every request: a member is looked up through its enum's metaclass


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
        self._board = SignalBoard(fleet.signals, self._backends)
        self._attempts = Attempts(self._chooser, self._board, first_attempt_id)
        self._timers = Timers(fleet)
        self._health = Health(fleet, self._backends)
        self._hedging = Hedging(fleet, self._chooser, self._backends, self._attempts, self._timers)
        hedging = self._hedging if fleet.limits.hedge_budget > 0.0 else None
        parts = self._chooser, self._attempts, self._timers, self._health, hedging
        self._requests = Requests(fleet, rng, *parts)
        self._live = self._requests.live
        self._room = self._requests.room
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
            requests_live=len(self._live),
            queued=self._room.waiting,
            retries_left=self._requests.retries.left,
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
        return len(self._live)

    def knows(self, request_id: int) -> bool:
        """Whether a request is its own and has not ended."""
        return request_id in self._live

    def successor(self, now_s: float, fleet: Fleet, policy: Policy, first_attempt_id: int) -> PolicyEngine:
        """An engine over another fleet that has learnt what this one has; breakers, shares and periods are both's."""
        after = PolicyEngine(
            fleet, self._rng, policy, self._intake.predictor, before=self, first_attempt_id=first_attempt_id
        )
        after._now_s = now_s
        return after

    def hand_over(self) -> list[tuple[Arrived, float]]:
        """Forget the requests that wait and were sent nowhere yet; returns them, and when each came."""
        return self._requests.hand_over(self._now_s)

    def adopt(self, now_s: float, event: Arrived, arrived_s: float) -> list[AnyAction]:
        """Take over a request that came to the engine before."""
        if event.workload_class not in self._fleet.classes:
            return [Reject(event.request_id, RejectReason.NO_ROUTE, 0.0), End(event.request_id, Outcome.REJECTED)]
        actions = self._arrived(now_s, event)
        request = self._live.get(event.request_id)
        if request is not None:
            request.arrived_s = arrived_s
        return actions

    def beside(self, loads: tuple[PeerLoad, ...]) -> None:
        """Other generations have this on the same backends, and may have changed their breakers."""
        self._board.beside(loads)

    def serve(self, now_s: float) -> list[AnyAction]:
        """Dispatch who waits, if there is room now."""
        self._now_s = max(now_s, self._now_s)
        return self._requests.serve(now_s)

    def _inherit(self, before: PolicyEngine) -> None:
        """Take over what is known of what is still there, by name."""
        moved = inherit_states((before._fleet, before._backends), (self._fleet, self._backends))
        self._chooser.inherit(before._chooser, moved)
        self._requests.retries.inherit(before._requests.retries)
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
        if request_id in self._live:
            return []
        class_name, tenant = event.workload_class, event.tenant
        candidates = self._router.candidates(event.model, tenant, class_name)
        if not candidates.backends:
            return [Reject(request_id, RejectReason.NO_ROUTE, 0.0), End(request_id, Outcome.REJECTED)]
        request = self._intake.request(now_s, event, candidates)
        self._live[request_id] = request
        if not self._room.waiting or self._room.goes_first(now_s, request):
            choice = self._chooser.choose(now_s, request)
            if choice is not None:
                return self._requests.dispatch(now_s, request, choice)
        return self._requests.wait_or_reject(now_s, request)

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
                return self._hedging.won(now_s, attempt) + self._requests.serve(now_s)
        return self._requests.serve(now_s) if probe else []  # the breaker is closed, or the window wider

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
        actions = self._requests.end(now_s, request, COMPLETED)
        if self._room.waiting:
            actions += self._requests.serve(now_s)
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
                return (
                    lost
                    + self._requests.end(now_s, request, Outcome.FAILED)
                    + self._requests.serve_after_failure(now_s, backend)
                )
            self._resume(request, event)
            request.apart = self._health.domain(backend)
        request.failed_by(backend, event.kind in PASSES)
        if refused:
            request.not_failed_by(backend)
        if request.attempt is not None:  # the other of two goes on
            return self._requests.serve_after_failure(now_s, backend)
        return lost + self._requests.retry(now_s, request, refused) + self._requests.serve_after_failure(now_s, backend)

    def _capped(self, now_s: float, attempt: AttemptState, event: AttemptFailed) -> list[AnyAction]:
        """An answer has reached a ceiling of ours: its backend did well, and is asked first, for it has it cached."""
        request, backend = attempt.request, attempt.backend
        lost = [] if request.hedge is None else self._hedging.won(now_s, attempt)
        self._health.finished(attempt)
        backend.observe_outcome(failed=False)
        used_input = request.input_tokens if event.input_tokens is None else event.input_tokens
        self._attempts.end(now_s, attempt, used_input, event.output_tokens, cached_input=event.cached_input_tokens)
        if not event.resumable:
            return lost + self._requests.end_and_serve(now_s, request, Outcome.FAILED)
        request.not_failed_by(backend)
        self._resume(request, event)
        choice = self._chooser.choose_again(now_s, request, backend)
        if choice is None:
            return lost + self._requests.wait_or_reject(now_s, request) + self._requests.serve(now_s)
        return lost + self._requests.dispatch(now_s, request, choice) + self._requests.serve(now_s)

    def _resume(self, request: RequestState, event: AttemptFailed) -> None:
        """What comes next goes on from what the client has: it reads that too, and has less to write."""
        request.resume(event.output_tokens, event.kind is FailureKind.CAPPED)
        request.work = self._chooser.work(request.input_tokens, request.expected_output_tokens)
        request.shun(request.candidates.named(event.unfit))

    def _client_gone(self, now_s: float, event: ClientGone) -> list[AnyAction]:
        request = self._live.get(event.request_id)
        if request is None:
            return []
        actions: list[AnyAction] = []
        for attempt in (request.hedge, request.attempt):
            if attempt is not None:
                actions.append(self._attempts.cancel(now_s, attempt, event.output_tokens))
        return actions + self._requests.end_and_serve(now_s, request, Outcome.CANCELLED)

    def _signal_received(self, now_s: float, event: SignalReceived) -> list[AnyAction]:
        believed = self._board.received(now_s, event)
        if self._chooser.told(now_s, event):
            return self._requests.serve(now_s)
        return self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if believed else []

    def _peers_reported(self, now_s: float, event: PeersReported) -> list[AnyAction]:
        believed = self._board.reported(now_s, event)
        self._chooser.drawn_elsewhere(now_s, event)
        if self._chooser.limits is not None:
            self._chooser.limits.used_elsewhere(now_s, dict(event.used))
        actions = self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if believed else []
        return actions + self._requests.serve(now_s)

    def _timer_fired(self, now_s: float, event: TimerFired) -> list[AnyAction]:
        timer_id = event.timer_id
        self._timers.fired(now_s, timer_id)
        if timer_id == HEDGE_TIMER:  # the most frequent
            return self._hedging.begin(now_s, self._health.suspects)
        if timer_id in self._timers.deadlines:
            return self._fail_late_attempts(now_s, timer_id)
        if timer_id == QUEUE_TIMER:
            return self._requests.reject_late_waiters(now_s)
        if timer_id == WAKE_TIMER:
            return self._requests.serve(now_s)
        if timer_id == BACKOFF_TIMER:
            return self._requests.end_pauses(now_s)
        if timer_id == SIGNAL_TIMER:
            again = self._board.weigh(now_s)
            later = self._timers.set(SIGNAL_TIMER, now_s + self._board.interval_s) if again else []
            return later + self._requests.serve(now_s)
        return []

    def _fleet_changed(self, now_s: float, event: FleetChanged) -> list[AnyAction]:
        for backend in self._backends:
            backend.drain(backend.name in event.drained)
        return self._requests.serve(now_s)

    def _fail_late_attempts(self, now_s: float, timer_id: int) -> list[AnyAction]:
        """Give up on attempts whose first byte is overdue; set the timer for the next one."""
        actions: list[AnyAction] = []
        deadlines = self._timers.deadlines[timer_id]
        for attempt in deadlines.overdue(now_s):
            actions.append(Cancel(attempt.attempt_id))
            actions += self._attempt_failed(now_s, AttemptFailed(attempt.attempt_id, FailureKind.TIMEOUT))
        next_s = deadlines.next_s()
        return actions if next_s is None else actions + self._timers.set(timer_id, next_s)
