"""Generations: an engine whose fleet is replaced while it serves.

A new fleet is a new engine, made by the same constructor as any other, so nothing of it is half old. It inherits what
was learnt of what is still there: length predictor, breakers, speeds, shares and their debt, what periods have used,
prefixes, retry budget. Requests that wait go over to it; the engine before it goes on with what it has dispatched,
retries and rescues included, on the backends that are still there, until its last request has ended.

Both serve the same backends meanwhile. So each knows exactly what the other has there (`PolicyEngine.beside`), at any
time and without a message; breakers, shares and periods are the same objects for both. To the driver they are one
engine: attempts are numbered apart by `STRIDE`, timers by `TIMERS`, and the first generation's are as they always were.

The rule that it protects: a request ends once, in the generation where it was dispatched, and a journal that holds the
text of each fleet runs again to identical actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from headrace.fleet import Fleet
from headrace.policy.action import AnyAction, SetTimer
from headrace.policy.engine import PolicyEngine
from headrace.policy.event import (
    AnyEvent,
    Arrived,
    AttemptFailed,
    ClientGone,
    Finished,
    FirstToken,
    FleetChanged,
    FleetReplaced,
    PeerLoad,
    PeersReported,
    TimerFired,
)
from headrace.policy.explain import Explained
from headrace.policy.peers import summed
from headrace.policy.policies import Policy
from headrace.policy.view import EngineView

STRIDE: Final = 2**32  # attempts of one generation
TIMERS: Final = 2**10

ReadFleet = Callable[[FleetReplaced], tuple[Fleet, Policy]]


class Generations:
    """Drives as one engine the newest and those that still have requests."""

    def __init__(self, engine: PolicyEngine, read: ReadFleet) -> None:
        """
        Args:
            read: the fleet and the policy of a text that was found to be without fault before.
        """
        self._newest = engine
        self._number = 0
        self._older: dict[int, PolicyEngine] = {}
        self._read = read
        self._drained: tuple[str, ...] = ()

    @property
    def generation(self) -> int:
        """How many fleets came before the present one."""
        return self._number

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Apply one event, as an engine does."""
        if type(event) is FleetReplaced:
            return self._replace(now_s, event)
        if type(event) is FleetChanged:
            self._drained = event.drained
        if not self._number:
            return self._newest.handle(now_s, event)
        return self._handle(now_s, event)

    def view(self) -> EngineView:
        """What all generations see, on the newest one's backends."""
        view = self._newest.view()
        live = view.requests_live + sum(engine.requests_live for engine in self._older.values())
        held = {load.backend: load.in_flight for load in self.report().loads}
        backends = [msgspec.structs.replace(b, in_flight=held.get(b.name, 0)) for b in view.backends]
        return msgspec.structs.replace(view, requests_live=live, backends=backends)

    def explain(self, now_s: float, event: Arrived) -> list[Explained]:
        """What each candidate would cost this request now; changes nothing."""
        return self._newest.explain(now_s, event)

    def report(self) -> PeersReported:
        """What other engines over the same fleet are to know of this one: periods are the newest's, shared with all."""
        newest = self._newest.report()
        if not self._older:
            return newest
        loads = summed(newest.as_of_s, [newest, *(each.report() for each in self._older.values())]).loads
        return msgspec.structs.replace(newest, loads=loads)

    def _handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        number = self._generation_of(event)
        if number == self._number:
            if type(event) is not FleetChanged:
                return self._ask(now_s, number, event)
            actions = [a for older in tuple(self._older) for a in self._ask(now_s, older, self._drains(older))]
            return actions + self._ask(now_s, number, event)
        if number not in self._older:
            return []  # it is over: late and repeated events change nothing
        self._older[number].beside(self._newest.report().loads)
        actions = self._ask(now_s, number, event)
        if not self._older[number].requests_live:
            del self._older[number]
        return actions + self._settle(now_s)

    def _replace(self, now_s: float, event: FleetReplaced) -> list[AnyAction]:
        """Another fleet from now on."""
        fleet, policy = self._read(event)
        before, self._number = self._newest, self._number + 1
        self._newest = before.successor(now_s, fleet, policy, self._number * STRIDE + 1)
        waiting = before.hand_over()
        if before.requests_live:
            self._older[self._number - 1] = before
        actions = [action for older in tuple(self._older) for action in self._ask(now_s, older, self._drains(older))]
        actions += self._ask(now_s, self._number, FleetChanged(self._drained))
        self._newest.beside(self._loads_of_older())
        for arrived, arrived_s in waiting:
            actions += self._numbered(self._number, self._newest.adopt(now_s, arrived, arrived_s))
        return actions

    def _drains(self, number: int) -> FleetChanged:
        """What an older generation may use no more: what is drained, and what is gone."""
        here = set(self._newest.backend_names)
        gone = tuple(name for name in self._older[number].backend_names if name not in here)
        return FleetChanged((*self._drained, *gone))

    def _settle(self, now_s: float) -> list[AnyAction]:
        """An older generation has changed what it has: the newest one may serve who waits."""
        self._newest.beside(self._loads_of_older())
        return self._numbered(self._number, self._newest.serve(now_s))

    def _loads_of_older(self) -> tuple[PeerLoad, ...]:
        return summed(0.0, [each.report() for each in self._older.values()]).loads

    def _generation_of(self, event: AnyEvent) -> int:
        if isinstance(event, FirstToken | Finished | AttemptFailed):
            return event.attempt_id // STRIDE
        if isinstance(event, TimerFired):
            return event.timer_id // TIMERS
        if isinstance(event, ClientGone):
            found = (n for n, engine in self._older.items() if engine.knows(event.request_id))
            return next(found, self._number)
        return self._number

    def _ask(self, now_s: float, number: int, event: AnyEvent) -> list[AnyAction]:
        engine = self._newest if number == self._number else self._older[number]
        if type(event) is TimerFired:
            event = TimerFired(event.timer_id % TIMERS)
        return self._numbered(number, engine.handle(now_s, event))

    def _numbered(self, number: int, actions: list[AnyAction]) -> list[AnyAction]:
        """Timers by the generation that asks for them; attempts are numbered so from the start."""
        if not number:
            return actions
        return [SetTimer(a.timer_id + number * TIMERS, a.at_s) if type(a) is SetTimer else a for a in actions]
