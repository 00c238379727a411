"""Several gateway workers over one fleet: several engines, each with a view of its own.

A gateway that uses more than one core is several processes, each with its own engine. The kernel deals connections to
them (SO_REUSEPORT), so every worker gets a random part of the requests. Each counts the attempts that it dispatched
itself, learns lengths and speeds from its own, opens its own breakers, spends its own retry budget, and steers its own
part of the traffic to the whole share target. What they tell each other (`policy/peers.py`) goes through `exchange`;
without it each keeps every limit for itself, and W workers let W times `max_in_flight` attempts into a backend.

To the driver `Workers` is one engine. Requests are numbered by the driver; attempts and timers are numbered by each
engine from 1, and here so that they differ: number * workers + worker.

Source of the dealing: Linux, socket(7), SO_REUSEPORT (a hash of the connection's addresses and ports, which for clients
that open a connection for each request is a random draw).
"""

from __future__ import annotations

from random import Random

import msgspec

from headrace.errors import InvariantError
from headrace.policy import (
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    End,
    Finished,
    FirstToken,
    FleetChanged,
    FleetReplaced,
    PeersReported,
    PeriodResumed,
    PolicyEngine,
    SetTimer,
    SignalReceived,
    TimerFired,
    signed,
    summed,
)


class Workers:
    """Drives as one engine those of all workers."""

    def __init__(self, engines: tuple[PolicyEngine, ...], dealt: Random) -> None:
        """
        Args:
            dealt: draws the worker of each request.

        Raises:
            InvariantError: there is no engine.
        """
        if not engines:
            raise InvariantError("a gateway needs at least one worker")
        self.engines = engines
        self._dealt = dealt
        self._worker_of: dict[int, int] = {}
        self._said: list[PeersReported] = self._reports()

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Give an event to the worker that it concerns, or a change of the fleet to all of them.

        `PeersReported` says that it is time: each is told what the others said the last time.
        """
        if isinstance(event, FleetChanged | FleetReplaced | SignalReceived | PeriodResumed):
            return [action for worker in range(len(self.engines)) for action in self._ask(now_s, worker, event)]
        if isinstance(event, PeersReported):
            return self._exchange(now_s)
        if isinstance(event, Arrived):
            worker = self._worker_of[event.request_id] = self._dealt.randrange(len(self.engines))
            return self._ask(now_s, worker, event)
        if isinstance(event, ClientGone):
            known = self._worker_of.get(event.request_id)
            return [] if known is None else self._ask(now_s, known, event)
        return self._ask(now_s, *self._unnumbered(event))

    def _exchange(self, now_s: float) -> list[AnyAction]:
        said, self._said = self._said, self._reports()
        actions: list[AnyAction] = []
        for worker in range(len(self.engines)):
            others = [report for number, report in enumerate(said) if number != worker]
            as_of_s = min((each.as_of_s for each in others), default=now_s)
            actions += self._ask(now_s, worker, summed(as_of_s, others, str(worker)))
        return actions

    def _reports(self) -> list[PeersReported]:
        return [signed(engine.report(), str(worker)) for worker, engine in enumerate(self.engines)]

    def _unnumbered(self, event: FirstToken | Finished | AttemptFailed | TimerFired) -> tuple[int, AnyEvent]:
        """The worker of an event, and the event as that worker numbers it."""
        if isinstance(event, TimerFired):
            timer_id, worker = divmod(event.timer_id, len(self.engines))
            return worker, TimerFired(timer_id)
        attempt_id, worker = divmod(event.attempt_id, len(self.engines))
        return worker, msgspec.structs.replace(event, attempt_id=attempt_id)

    def _ask(self, now_s: float, worker: int, event: AnyEvent) -> list[AnyAction]:
        return [self._numbered(worker, action) for action in self.engines[worker].handle(now_s, event)]

    def _numbered(self, worker: int, action: AnyAction) -> AnyAction:
        """The action with the numbers that the driver knows."""
        if isinstance(action, Dispatch | Cancel):
            number = action.attempt_id * len(self.engines) + worker
            return msgspec.structs.replace(action, attempt_id=number)
        if isinstance(action, SetTimer):
            return SetTimer(action.timer_id * len(self.engines) + worker, action.at_s)
        if isinstance(action, End):
            del self._worker_of[action.request_id]
        return action
