"""The simulator's driver: the production policy engine and the model servers, in virtual time.

It does what the gateway does, without a socket: turns arrivals, first tokens and finishes into events, hands them to
the engine, and carries out its actions on simulated model servers. Every ended request and attempt is recorded once and
forgotten, so memory follows what is in flight, not the length of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from headrace.cost import MarginalCost, request_cost_usd
from headrace.errors import BackendError, CapacityError, InvariantError, ModelRangeError
from headrace.metrics import AttemptRecord, RequestRecord
from headrace.modelserver import Job, Milestone, ModelServer, Report
from headrace.policy import (
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    Dispatch,
    End,
    FailureKind,
    Finished,
    FirstToken,
    Outcome,
    SetTimer,
    TimerFired,
)
from headrace.sim.kernel import Kernel
from headrace.sim.oracle import OraclePredictor
from headrace.workload import ClosedLoop, EndedTask, Request

EligiblePools = Callable[[Request, float], tuple[tuple[str, ...], tuple[str, ...]]]


class Engine(Protocol):
    """What the driver needs of a policy engine."""

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Apply one event and return what the driver must do, in order."""


class SimulatedBackend:
    """A model server behind a backend's name.

    Attributes:
        continues: whether it can go on from an answer that broke off elsewhere.
        wakes_s: when it was last asked to be woken; None: nothing is due there.
    """

    __slots__ = ("continues", "cost", "name", "pool", "server", "wakes_s")

    def __init__(self, name: str, pool: str, server: ModelServer, cost: MarginalCost, continues: bool = True) -> None:
        self.name = name
        self.pool = pool
        self.server = server
        self.cost = cost
        self.continues = continues
        self.wakes_s: float | None = None


class _Live:
    """A request that has not ended.

    Attributes:
        attempts: those of its attempts that are live.
        output_tokens: that its client has; those of attempts that broke off are read by whoever goes on from them.
    """

    __slots__ = ("attempts", "cost_usd", "first_token_s", "last_token_s", "output_tokens", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.attempts = 0
        self.cost_usd = 0.0
        self.first_token_s: float | None = None
        self.last_token_s: float | None = None
        self.output_tokens = 0

    @property
    def input_tokens(self) -> int:
        """What an attempt reads now."""
        return self.request.input_tokens + self.output_tokens

    @property
    def left_tokens(self) -> int:
        """What an attempt has to write now."""
        return max(self.request.output_tokens - self.output_tokens, 1)


class _Attempt(NamedTuple):
    """An attempt that is live: its request, where it is, dispatched when and why.

    Attributes:
        lowered_tokens: its ceiling on output, if that is lower than the client's.
    """

    live: _Live
    backend: SimulatedBackend
    dispatch_s: float
    reason: str
    lowered_tokens: int | None

    @property
    def output_tokens(self) -> int:
        """What it writes."""
        left = self.live.left_tokens
        return left if self.lowered_tokens is None else min(left, self.lowered_tokens)


class SimulationDriver:
    """Runs one policy engine over simulated backends."""

    def __init__(
        self,
        engine: Engine,
        backends: Iterable[SimulatedBackend],
        on_request: Callable[[RequestRecord], None],
        on_attempt: Callable[[AttemptRecord], None],
        eligible_pools: EligiblePools,
        oracle: OraclePredictor | None = None,
        on_step: Callable[[float, AnyEvent, list[AnyAction]], None] | None = None,
        on_task: Callable[[EndedTask], None] | None = None,
        resizable: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            eligible_pools: what an independent feasibility check may assign a request to, if it is dispatched then,
                and what it could have, were it not down.
            oracle: told every true length before its arrival.
            on_step: called with every event and the engine's answer (a journal).
            on_task: called with every task of sessions when it is over.
            resizable: backends that may be given a lower ceiling on output than a request's.
        """
        self.kernel = Kernel()
        self.backends = {backend.name: backend for backend in backends}
        self._not_going_on = tuple(name for name, backend in self.backends.items() if not backend.continues)
        self._engine = engine
        self._on_request = on_request
        self._on_attempt = on_attempt
        self._eligible_pools = eligible_pools
        self._oracle = oracle
        self._resizable = resizable
        self._on_step = on_step
        self.sessions = ClosedLoop(self.kernel.at, self._arrive, on_task)
        self._live: dict[int, _Live] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._wakes = {name: partial(self._wake, backend) for name, backend in self.backends.items()}
        self._next_request_id = 1
        self._all_came = False

    @property
    def over(self) -> bool:
        """Whether every request has come and ended: what is left are timers that find nothing."""
        return self._all_came and not self._live and not self.sessions.waiting

    def run(self, requests: Iterator[Request]) -> float:
        """Run every request to its end; returns the virtual time of the last event, in seconds.

        Raises:
            InvariantError: requests do not come in order of arrival, or some did not end.
        """
        kernel = self.kernel
        for request in requests:
            if request.arrival_s < kernel.now_s:
                raise InvariantError(f"arrivals are out of order at {request}")
            kernel.run_until(request.arrival_s)
            if request.turn is None:
                self._arrive(request)
            else:
                self.sessions.offer(request)
        self._all_came = True
        kernel.run()
        self.sessions.check_ended()
        if self._live:
            raise InvariantError(f"{len(self._live)} requests never ended, the first: {next(iter(self._live))}")
        return kernel.now_s

    def _arrive(self, request: Request) -> None:
        request_id = self._next_request_id
        self._next_request_id = request_id + 1
        self._live[request_id] = _Live(request)
        if self._oracle is not None:
            self._oracle.tell(request_id, request.output_tokens)
        arrived = Arrived(
            request_id,
            request.workload_class,
            request.input_tokens,
            request.tenant,
            request.model,
            request.max_output_tokens,
            resizable=self._resizable,
        )
        if request.turn is not None or request.prefix is not None:
            arrived = _with_context(arrived, request)
        self._handle(self.kernel.now_s, arrived)

    def _handle(self, now_s: float, event: AnyEvent) -> None:
        actions = self._engine.handle(now_s, event)
        if self._on_step is not None:
            self._on_step(now_s, event, actions)
        for action in actions:
            if type(action) is Dispatch:
                self._dispatch(now_s, action)
            elif type(action) is End:
                self._end(now_s, action)
            elif type(action) is SetTimer:
                self._set_timer(action)
            elif type(action) is Cancel:
                self._cancel(now_s, action.attempt_id)
            # Reject: nobody listens, and the End that follows is recorded. Enqueue: the engine holds the request.

    def _dispatch(self, now_s: float, action: Dispatch) -> None:
        live = self._live[action.request_id]
        backend = self.backends[action.backend]
        live.attempts += 1
        attempt = _Attempt(live, backend, now_s, action.reason.value, action.max_output_tokens)
        self._attempts[action.attempt_id] = attempt
        if backend.wakes_s is not None and backend.wakes_s <= now_s:
            self._report(backend.server.advance(now_s))
        try:
            backend.server.submit(now_s, _job(action.attempt_id, attempt))
        except ModelRangeError:
            self.kernel.at(now_s, lambda at_s: self._fail(at_s, action.attempt_id, FailureKind.SERVER_ERROR))
        except BackendError:
            self.kernel.at(now_s, lambda at_s: self._fail(at_s, action.attempt_id, FailureKind.REFUSED))
        except CapacityError as error:
            wait_s = error.retry_after_s
            self.kernel.at(now_s, lambda at_s: self._fail(at_s, action.attempt_id, FailureKind.OVERLOADED, wait_s))
        self._wake_later(backend)

    def _set_timer(self, action: SetTimer) -> None:
        event = TimerFired(action.timer_id)
        self.kernel.at(action.at_s, lambda at_s: self._handle(at_s, event))

    def _fail(self, now_s: float, attempt_id: int, kind: FailureKind, retry_after_s: float | None = None) -> None:
        """The model server did not take the job: it can never fit, not now, or there is nobody."""
        if attempt_id not in self._attempts:
            return  # cancelled, or cut off, at the same instant
        self._close_attempt(now_s, attempt_id, 0, 0)
        self._handle(now_s, AttemptFailed(attempt_id, kind, retry_after_s=retry_after_s))

    def tell(self, now_s: float, event: AnyEvent) -> None:
        """Tell the engine of something that no request brought about, and do what it answers."""
        self._handle(now_s, event)

    def settle(self, now_s: float, backend: SimulatedBackend) -> None:
        """Tell what is due on a backend, before something changes there; then see what comes next."""
        self._report(backend.server.advance(now_s))
        self._wake_later(backend)

    def break_connections(self, now_s: float, backends: Collection[SimulatedBackend]) -> None:
        """Every connection to these breaks: an answer that has begun is lost, any other attempt may be retried."""
        hit = [attempt_id for attempt_id, attempt in self._attempts.items() if attempt.backend in backends]
        for attempt_id in hit:
            if attempt_id in self._attempts:
                self._break(now_s, attempt_id)

    def _break(self, now_s: float, attempt_id: int) -> None:
        """An attempt's connection breaks: what its client has of the answer may be gone on from elsewhere."""
        live = self._attempts[attempt_id].live
        committed = live.first_token_s is not None
        produced = self._drop(now_s, attempt_id)
        unfit: tuple[str, ...] = ()
        if committed:
            live.output_tokens += produced
            unfit = self._not_going_on
        reset = FailureKind.RESET
        failed = AttemptFailed(attempt_id, reset, committed, None, produced, resumable=committed, unfit=unfit)
        self._handle(now_s, failed)

    def _cancel(self, now_s: float, attempt_id: int) -> None:
        self._drop(now_s, attempt_id)

    def _drop(self, now_s: float, attempt_id: int) -> int:
        """End an attempt where it is; returns the tokens that it had produced."""
        live, backend, *_ = self._attempts[attempt_id]
        produced = backend.server.produced(now_s, attempt_id)
        backend.server.abort(now_s, attempt_id)
        self._close_attempt(now_s, attempt_id, live.input_tokens if produced else 0, produced)
        self._wake_later(backend)
        return produced

    def _wake_later(self, backend: SimulatedBackend) -> None:
        next_s = backend.server.next_s()
        if next_s is None:
            backend.wakes_s = None
        elif next_s != backend.wakes_s:
            backend.wakes_s = next_s
            self.kernel.at(next_s, self._wakes[backend.name])

    def _wake(self, backend: SimulatedBackend, now_s: float) -> None:
        if backend.wakes_s is None or now_s < backend.wakes_s:
            return  # an older appointment: something changed since
        backend.wakes_s = None
        self._report(backend.server.advance(now_s))
        self._wake_later(backend)

    def _report(self, reports: list[Report]) -> None:
        now_s = self.kernel.now_s
        for report in reports:
            attempt_id = report.job_id
            attempt = self._attempts.get(attempt_id)
            if attempt is None:
                continue
            live = attempt.live
            if report.milestone is Milestone.FIRST_TOKEN:
                if live.first_token_s is None:
                    live.first_token_s = now_s
                self._handle(now_s, FirstToken(attempt_id))
            else:
                read, written, cached = live.input_tokens, attempt.output_tokens, report.cached_input_tokens
                capped = written < live.left_tokens
                if not live.request.output_tokens:
                    written = 0
                live.last_token_s = now_s
                self._close_attempt(now_s, attempt_id, read, written, cached)
                live.output_tokens += written
                if capped:
                    self._handle(now_s, self._capped(attempt_id, (read, written, cached)))
                else:
                    self._handle(now_s, Finished(attempt_id, read, written, cached))

    def _capped(self, attempt_id: int, used: tuple[int, int, int]) -> AttemptFailed:
        """An answer has reached a lowered ceiling, and goes on where somebody can."""
        read, written, cached = used
        going_on = len(self._not_going_on) < len(self.backends)
        capped = FailureKind.CAPPED
        return AttemptFailed(attempt_id, capped, True, None, written, going_on, self._not_going_on, read, cached)

    def _close_attempt(
        self, now_s: float, attempt_id: int, input_tokens: int, output_tokens: int, cached: int = 0
    ) -> None:
        live, backend, dispatch_s, reason, _ = self._attempts.pop(attempt_id)
        live.attempts -= 1
        cost_usd = request_cost_usd(backend.cost, input_tokens, output_tokens, cached)
        live.cost_usd += cost_usd
        pools, down = self._eligible_pools(live.request, dispatch_s)
        self._on_attempt(
            AttemptRecord(
                backend.pool,
                dispatch_s,
                now_s,
                input_tokens,
                output_tokens,
                cost_usd,
                pools,
                cached,
                live.request.workload_class,
                reason,
                down,
            )
        )

    def _end(self, now_s: float, action: End) -> None:
        live = self._live.pop(action.request_id)
        if live.attempts:
            raise InvariantError(f"request {action.request_id} ended with {live.attempts} live attempts")
        request = live.request
        ttft_s = tpot_s = e2e_s = None
        if action.outcome is Outcome.COMPLETED and live.first_token_s is not None and live.last_token_s is not None:
            ttft_s = live.first_token_s - request.arrival_s
            e2e_s = live.last_token_s - request.arrival_s
            if live.output_tokens >= 2:
                tpot_s = (live.last_token_s - live.first_token_s) / (live.output_tokens - 1)
        self._on_request(
            RequestRecord(
                request.workload_class,
                action.outcome,
                request.arrival_s,
                request.input_tokens,
                live.output_tokens,
                ttft_s,
                tpot_s,
                e2e_s,
                live.cost_usd,
            )
        )
        if request.turn is not None:
            self.sessions.ended(request, now_s, action.outcome is Outcome.COMPLETED)


def _with_context(arrived: Arrived, request: Request) -> Arrived:
    """The same arrival, with what the request shares with earlier ones: its session and the blocks of its input."""
    prefix, session = request.prefix, None if request.turn is None else request.turn.session
    blocks, tokens = ((), 0) if prefix is None else (tuple(prefix.blocks), prefix.block_tokens)
    return msgspec.structs.replace(arrived, prefix=blocks, prefix_block_tokens=tokens, session=session)


def _job(attempt_id: int, attempt: _Attempt) -> Job:
    """The request as a model server sees it."""
    live = attempt.live
    request = live.request
    prefix, ceiling = request.prefix, request.max_output_tokens
    left = None if ceiling is None else max(ceiling - live.output_tokens, 1)
    return Job(
        attempt_id,
        live.input_tokens,
        attempt.output_tokens,
        () if prefix is None else prefix.blocks,
        0 if prefix is None else prefix.block_tokens,
        left if attempt.lowered_tokens is None else attempt.lowered_tokens,
    )
