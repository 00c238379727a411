"""The gateway as a driver of the policy engine: real time, real sockets, the engine's decisions.

Every request becomes events for the engine, and every action that the engine answers is carried out here, in order and
at once. Nothing is awaited between the two. What happens to an attempt's bytes in between is the data plane's affair
(`attempt`, `answer`); the engine hears of the first token and of the end.

An attempt is in the ledger before its first byte is sent, and each attempt is closed there once: completed with the
backend's usage, failed, or cancelled with what is known to have been delivered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from headrace.errors import DeadlinePassed, HeadraceError, InvariantError
from headrace.fleet import Fleet
from headrace.gateway.access import Access
from headrace.gateway.attempt import Attempt
from headrace.gateway.backends import BackendLink, link_backends
from headrace.gateway.books import Books, Journal, Ledger
from headrace.gateway.controls import Controls, explanation
from headrace.gateway.fitting import Fittings
from headrace.gateway.guards import guarded
from headrace.gateway.intake import Intake
from headrace.gateway.quota_signals import quota_signals
from headrace.gateway.recognition import Recognizer
from headrace.gateway.refusals import refused, rejected
from headrace.gateway.request import GatewayRequest
from headrace.gateway.rescue import Rescue
from headrace.gateway.rescuer import Rescuer
from headrace.gateway.shelves import Shelf
from headrace.gateway.telemetry import Telemetry
from headrace.http import ROUND_S, ConnectionPool, Exchange, Rounds, header_lines
from headrace.policy import (
    EARLY_S,
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    End,
    EngineView,
    Enqueue,
    Explained,
    FailureKind,
    Finished,
    FirstToken,
    FleetReplaced,
    PeersReported,
    Reject,
    SetTimer,
    TimerFired,
)
from headrace.wire import ApiName, Usage
from headrace.wire.prompt_blocks import BLOCK_TOKENS, prompt_blocks

HTTP_ERROR = 400


class Engine(Protocol):
    """What the gateway needs of a policy engine."""

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Apply one event."""

    def view(self) -> EngineView:
        """What the engine sees now."""

    def explain(self, now_s: float, event: Arrived) -> list[Explained]:
        """What each candidate would cost a request now."""

    def report(self) -> PeersReported:
        """What other engines over the same fleet are to know of this one."""


class Gateway:
    """Drives one policy engine. Must be made inside a running event loop.

    Args:
        journal: is given every event with the actions it led to.
        clock: seconds that never decrease; its value now is the engine's second 0.
        run_id: first part of `x-headrace-request-id`.
        round_s: see `http.Rounds`; 0 where the event loop is shared with what must not wait.
        fittings: what says which backends cannot take a request.
        shelf: where stored answers lie; None: in this process.
        pools: what makes the pool of a link to a backend.

    Raises:
        ConfigError: a backend's key or URL cannot be used.
    """

    def __init__(
        self,
        fleet: Fleet,
        engine: Engine,
        ledger: Ledger,
        *,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
        run_id: str = "0",
        round_s: float = ROUND_S,
        fittings: type[Fittings] = Fittings,
        pools: type[ConnectionPool] = ConnectionPool,
        access: Access | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.fleet = fleet
        self.engine = engine
        self.rounds = Rounds(self._loop, round_s)
        self._pools = pools
        self.links: dict[str, BackendLink] = {}
        self.links = self.linked(fleet)
        self.fittings = fittings(fleet, self.links)
        self.recognizer = Recognizer(fleet)
        self.access = access or Access(fleet)
        self.intake = Intake(fleet, self.recognizer, self.access, shelf)
        self._sees_prefixes = _sees_prefixes(fleet)
        self.telemetry = Telemetry(fleet, run_id)
        self.run_id = run_id.encode()
        self.rescue_max_bytes = fleet.limits.rescue_max_bytes
        self._rescuer = Rescuer(self.fittings, self.telemetry)
        self._books = Books(ledger, journal, self.telemetry)
        self.rounds.before = self._books.write
        self.telemetry.sources.append(self.access.metrics)
        self._books.agree(fleet)
        ledger.defer(self.rounds.wake)
        self._clock = clock
        self._start_s = clock()
        self._requests: dict[int, GatewayRequest] = {}
        self._attempts: dict[int, Attempt] = {}
        self._timers: dict[asyncio.TimerHandle, None] = {}
        self._do: dict[type, Callable[..., None]] = {
            Dispatch: self._dispatch,
            Cancel: self._cancel,
            SetTimer: self._set_timer,
            Reject: self._reject,
            Enqueue: self._enqueue,
            End: self._end,
        }

    def linked(self, fleet: Fleet) -> dict[str, BackendLink]:
        """A link for every backend of a fleet; those that there are stay. Raises ConfigError: see `link_backends`."""
        return link_backends(fleet, self.rounds, before=self.links, pools=self._pools)

    def take(self, event: FleetReplaced, fleet: Fleet, links: dict[str, BackendLink]) -> None:
        """Serve another fleet from now on; what is under way goes on.

        Args:
            links: to its backends (`linked`).
        """
        self.fleet = fleet
        self.links = links
        self.fittings.use(fleet, links)
        self.recognizer = Recognizer(fleet)
        self.access.use(fleet)
        self.intake.use(fleet, self.recognizer)
        self._sees_prefixes = _sees_prefixes(fleet)
        self._books.agree(fleet)
        self.rescue_max_bytes = fleet.limits.rescue_max_bytes
        self.telemetry.use(fleet)
        for request in self._requests.values():
            if request.attempt is None:  # it waits, and may go to backends that there were not when it came
                self.fittings.fit(request)
        self.tell(event)

    def links_in_use(self) -> frozenset[BackendLink]:
        """Links that an attempt uses."""
        return frozenset(attempt.link for attempt in self._attempts.values())

    @property
    def requests_live(self) -> int:
        """Requests that have not ended."""
        return len(self._requests)

    @property
    def attempts_live(self) -> int:
        """Attempts that have not ended."""
        return len(self._attempts)

    @property
    def ledger_fault(self) -> str:
        """Why the usage ledger cannot be written now; empty: it can."""
        return self._books.fault

    def now_s(self) -> float:
        """Seconds since the engine started."""
        return self._clock() - self._start_s

    def tell(self, event: AnyEvent) -> None:
        """Give the engine an event and do what it answers."""
        now_s = self._clock() - self._start_s
        actions = self.engine.handle(now_s, event)
        if self._books.journal is not None:
            self._books.record(now_s, event, actions)
        for action in actions:
            self._do[type(action)](now_s, action)

    # requests

    def ask(self, api: ApiName, exchange: Exchange) -> None:
        """A request for an answer came in."""
        try:
            self._books.check()
            request = self.intake.read(api, exchange, self.now_s())
            unfit = self.fittings.fit(request)
            if self.access.counts:
                request.explained = self.access.admit(request)
        except HeadraceError as error:
            self.refuse(exchange, error, api)
            self.telemetry.never_arrived(exchange, api, self.now_s())
            return
        self._arrive(request, unfit)

    def _arrive(self, request: GatewayRequest, unfit: tuple[str, ...]) -> None:
        exchange, controls, caller = request.exchange, request.controls, request.caller
        plain = controls is None and caller is not None and caller.plain  # nobody says what its time is worth
        self._requests[request.request_id] = request
        if self.telemetry.recorder is not None:
            self.telemetry.arrived(request)
        exchange.on_gone = partial(self._client_gone, request)
        arrived = Arrived(
            request.request_id,
            request.workload_class,
            request.input_tokens,
            request.tenant,
            model=request.model,
            max_output_tokens=request.max_output_tokens,
            streamed=bool(request.head.stream),
            prefix=prompt_blocks(request.body) if self._sees_prefixes else (),
            prefix_block_tokens=BLOCK_TOKENS,
            unfit=unfit,
            value_of_time_usd_per_s=None if plain else self.access.value_of_time_usd_per_s(request),
            held_bytes=request.held_bytes(),
            resizable=self.fittings.resizable(request),
        )
        try:
            if controls is not None:
                self._controlled(request, controls, arrived)
            self.tell(arrived)
        except InvariantError as error:  # a plug-in of the user's may raise: client and operator are told
            self._loop.call_exception_handler({"message": "a request could not be decided", "exception": error})
            self.refuse(exchange, error, request.api)
            self._client_gone(request)
            self.access.settle(request)

    def _controlled(self, request: GatewayRequest, controls: Controls, arrived: Arrived) -> None:
        if controls.explain:
            rows = self.engine.explain(self.now_s(), arrived)
            request.explained += header_lines((b"x-headrace-explain", explanation(rows)))
        if controls.deadline_s is not None and request.deadline is None:
            request.deadline = self._loop.call_later(controls.deadline_s, self._too_late, request.exchange, request.api)

    def _too_late(self, exchange: Exchange, api: ApiName) -> None:
        """A deadline has passed: an answer that has not ended is worth nothing any more."""
        request = next((each for each in self._requests.values() if each.exchange is exchange), None)
        if request is None or not exchange.open:
            return
        if request.exchange.unanswered:
            self.refuse(exchange, DeadlinePassed("the deadline has passed; allow more time, or ask for less"), api)
        else:
            self._rescuer.break_off(request)
        self._client_gone(request)

    def refuse(self, exchange: Exchange, error: HeadraceError, api: ApiName = "chat") -> None:
        """Answer with an error in the shape of the API that was asked."""
        refusal = refused(error, api)
        self.telemetry.refuse(refusal.label)
        exchange.respond(*refusal[:3])

    def _client_gone(self, request: GatewayRequest) -> None:
        request.client_gone = True
        attempt = request.attempt
        self.tell(ClientGone(request.request_id, 0 if attempt is None else attempt.delivered_tokens()))

    # actions

    def _dispatch(self, now_s: float, action: Dispatch) -> None:
        request = self._requests[action.request_id]
        attempt = Attempt(action.attempt_id, request, self.links[action.backend], self)
        request.attempt = attempt
        attempt.dispatched_s = now_s
        lowered = action.max_output_tokens
        if lowered is not None:
            attempt.lowered = lowered, self.fittings.lowered(request, attempt.link, lowered)
        self._attempts[action.attempt_id] = attempt
        self._books.opened(now_s, attempt, action)
        self.telemetry.dispatched(request, attempt, action)
        attempt.send()

    def _cancel(self, now_s: float, action: Cancel) -> None:
        attempt = self._attempts.get(action.attempt_id)
        if attempt is None:
            return
        attempt.cancel()
        unwanted = attempt.request.client_gone or attempt.request.attempt is not attempt  # or the other of two won
        self._close(attempt, now_s, "cancelled" if unwanted else "failed", "cancelled")

    def _set_timer(self, now_s: float, action: SetTimer) -> None:
        def fire() -> None:
            self._timers.pop(handle, None)
            now_s = self.now_s()
            if now_s + EARLY_S < action.at_s:  # a busy loop's own clock stands still: it was set too early
                self._set_timer(now_s, action)
            else:
                self.tell(TimerFired(action.timer_id))

        handle = self._loop.call_later(max(action.at_s - now_s, 0.0), fire)
        self._timers[handle] = None

    def _reject(self, now_s: float, action: Reject) -> None:
        request = self._requests[action.request_id]
        self.telemetry.rejected(request, action.reason)
        if request.fallbacks:
            return  # another model is asked when this request has ended
        refusal = rejected(request, action)
        if refusal.label:
            self.telemetry.refuse(refusal.label)
        request.exchange.respond(*refusal[:3])

    def _enqueue(self, now_s: float, action: Enqueue) -> None:
        """The request waits in the engine: nothing to do here."""

    def _end(self, now_s: float, action: End) -> None:
        request = self._requests.pop(action.request_id, None)
        if request is None:
            return
        self.telemetry.request_ended(request, action.outcome, now_s)
        request.attempt = None
        exchange = request.exchange
        if request.fallbacks and exchange.unanswered and exchange.open and not request.client_gone:
            self._fall_back(request)
            return
        if request.grant is not None:
            self.access.settle(request)
        if request.deadline is not None:
            request.deadline.cancel()
        if exchange.open:  # whatever the engine's reason, a client is never left waiting
            self._rescuer.break_off(request)
        if request.trail is not None:
            self.telemetry.record(request.trail, exchange, action.outcome, now_s)

    def _fall_back(self, request: GatewayRequest) -> None:
        """No backend of its model could answer: ask the next model."""
        again = self.intake.again(request)
        try:
            unfit = self.fittings.fit(again)
        except HeadraceError as error:
            self.refuse(request.exchange, error, request.api)
            self.access.settle(request)
            return
        self._arrive(again, unfit)

    # attempts

    def first_token(self, attempt: Attempt) -> None:
        """The first token of an answer came."""
        attempt.request.attempt = attempt
        self.tell(FirstToken(attempt.attempt_id))
        request = attempt.request
        if attempt.rescue is not None:
            return  # the client has had its first token
        self.telemetry.first_token(request, attempt, self.now_s())

    def rate_limits(self, attempt: Attempt, status: int, headers: dict[bytes, bytes]) -> None:
        """A provider says what is left of its quota: as of the dispatch, or of now where it took nothing."""
        link = attempt.link
        as_of_s = attempt.dispatched_s if status < HTTP_ERROR else self.now_s()
        if link.quota is not None:
            for signal in quota_signals(link.name, link.dialect, link.quota, headers, as_of_s, time.time()):
                self.tell(signal)

    def finished(
        self, attempt: Attempt, usage: Usage | None, delivered_tokens: int | None, send_end: Callable[[], None]
    ) -> None:
        """The answer is complete: on record first, then for the client, then for the engine."""
        attempt_id = attempt.attempt_id
        attempt.request.attempt = attempt
        if attempt.rescue is not None and not attempt.rescue.paused:
            self.telemetry.rescued("completed")
        if usage is None:
            self._close(attempt, self.now_s(), "completed", "completed", delivered_tokens=delivered_tokens or 0)
            send_end()
            self.tell(Finished(attempt_id))
            return
        request = attempt.request
        if attempt.rescue is None:
            self.intake.learn(request, usage)
        self._close(attempt, self.now_s(), "completed", "completed", usage=usage)
        send_end()
        self.tell(Finished(attempt_id, *usage[:3]))

    def capped(self, attempt: Attempt, rescue: Rescue, usage: Usage | None) -> bool:
        """An answer has reached a lowered ceiling: it is on record, and goes on if somebody can; returns whether."""
        request, tokens = attempt.request, rescue.progress.tokens
        found = self._rescuer.pause(request, rescue)
        if not found.resumable:
            return False
        attempt_id, kind = attempt.attempt_id, FailureKind.CAPPED
        told = AttemptFailed(attempt_id, kind, True, None, tokens, True, found.unfit)
        if usage is not None:
            self.intake.learn(request, usage)
            told = AttemptFailed(
                attempt_id, kind, True, None, usage.output_tokens, True, found.unfit, usage.input_tokens, usage[2]
            )
        self._close(attempt, self.now_s(), "completed", kind.value, usage=usage, delivered_tokens=tokens)
        self.tell(told)
        return True

    def failed(self, attempt: Attempt, kind: FailureKind, retry_after_s: float | None) -> None:
        """There will be no complete answer, or none from this backend."""
        delivered = attempt.delivered_tokens()
        found = self._rescuer.look(attempt)
        if found.words is not None:
            exchange = attempt.request.exchange
            exchange.write(found.words)
            self.finished(attempt, found.usage, delivered, exchange.finish)
            return
        self._close(attempt, self.now_s(), "failed", kind.value, delivered_tokens=delivered)
        told = (attempt.committed, retry_after_s, delivered, found.resumable, found.unfit)
        self.tell(AttemptFailed(attempt.attempt_id, kind, *told))

    def _close(
        self,
        attempt: Attempt,
        now_s: float,
        status: str,
        outcome: str,
        *,
        usage: Usage | None = None,
        delivered_tokens: int | None = None,
    ) -> None:
        """Close an attempt in the ledger, the metrics and here: each attempt comes by once."""
        if self._attempts.pop(attempt.attempt_id, None) is None:
            return
        delivered = attempt.delivered_tokens() if delivered_tokens is None and usage is None else delivered_tokens
        self.telemetry.attempt_ended(attempt, outcome, now_s, usage, delivered or 0)
        attempt.forget()
        if self.access.counts or attempt.request.grant is not None:
            self.access.charge(attempt.request, attempt.link.name, status, usage, delivered or 0)
        self._books.closed(now_s, attempt.attempt_id, status, usage, delivered or 0)

    # time guards and the end

    def sweep(self, passed_s: float) -> None:
        """Fail streams whose backend is silent or slow for too long; open warm connections that are missing."""
        for attempt in list(self._attempts.values()):
            kind = guarded(attempt, self.fleet.limits, passed_s)
            if kind is not None:
                attempt.failed(kind)
        for link in self.links.values():
            link.pool.warm_up()
        self._books.maintain()
        self.access.sweep()
        self.telemetry.sweep()

    async def close(self) -> None:
        """Cancel what is still live, as if each client had gone, and close every connection to a backend."""
        for request in list(self._requests.values()):
            request.exchange.abort()
            self._client_gone(request)
        for handle in list(self._timers):
            handle.cancel()
        self._timers.clear()
        for link in self.links.values():
            await link.pool.close()


def _sees_prefixes(fleet: Fleet) -> bool:
    """Whether it is worth a look where prompts begin alike."""
    cached = any(pool.finds_prefixes for pool in fleet.pools.values())
    return cached and fleet.limits.prefix_index_entries > 0
