"""Faults on a timeline: what incidents do to a simulated fleet, seen as a gateway would see it.

The engine is told nothing of an incident. It hears what comes out of it: a connection that is refused, one that breaks
(before the first token another backend may take over, after it the answer is lost), an answer that is slow, a 429. All
that is known besides, which pools were up and when, is recorded for the share's judgement alone.

Changes of the same instant are applied together: first every backend that goes down refuses, then connections break, so
that nobody is sent from one backend of a pool to the next while the whole pool goes.

Law: an incident that hits nobody changes no byte, and pending changes do not keep a run going.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from math import inf, prod
from typing import NamedTuple

from headrace.errors import InvariantError
from headrace.fleet import Down, Flapping, Fleet, Incident, LostAccelerator, Pool, QuotaCut, Slow, Stale
from headrace.modelserver import FragileServer, ImpairedServer, model_server
from headrace.perf import speed_curve
from headrace.sim.driver import EligiblePools, SimulatedBackend, SimulationDriver
from headrace.workload import Request


class _Change(NamedTuple):
    """Incident number `number` begins, or ends."""

    at_s: float
    number: int
    begins: bool


class _Target:
    """A backend that some incident hits, and the numbers of those that hold now."""

    __slots__ = ("active", "backend", "factor", "fraction", "server")

    def __init__(self, backend: SimulatedBackend, server: ImpairedServer) -> None:
        self.backend = backend
        self.server = server
        self.active: dict[int, Incident] = {}
        self.factor = 1.0
        self.fraction = 1.0

    def held_down(self, now_s: float) -> bool:
        """Whether an incident, or a loss that it has not got over, keeps it down."""
        down = any(isinstance(each, Down | Flapping) for each in self.active.values())
        return down or now_s < self.server.recovered_s()


class FaultTimeline:
    """Applies incidents to the backends of one run."""

    def __init__(
        self, fleet: Fleet, backends: Iterable[SimulatedBackend], incidents: tuple[Incident, ...], seed: int
    ) -> None:
        """
        Args:
            backends: those that are hit get servers that can be impaired.
            incidents: stale signals are none of a server's: `sim.signals` sees to them.

        Raises:
            InvariantError: an incident hits a backend that is not there, or loses what has no spares declared.
        """
        incidents = tuple(each for each in incidents if not isinstance(each, Stale))
        self._fleet = fleet
        self._incidents = incidents
        self._targets = _targets(fleet, backends, incidents, seed)
        self._changes = merge(*(_changes(number, each) for number, each in enumerate(incidents)))
        self._next: _Change | None = next(self._changes, None)
        self._down_from_s: list[float] = [-inf]
        self._down: list[frozenset[str]] = [frozenset()]

    def start(self, driver: SimulationDriver) -> None:
        """Let the incidents happen while `driver` runs."""
        self._driver = driver
        self._schedule_next()

    def up_when_dispatched(self, routed: EligiblePools) -> EligiblePools:
        """Of the pools that routes allow, those that were up at the time of dispatch, and those that were down."""

        def pools(request: Request, dispatch_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
            allowed, _ = routed(request, dispatch_s)
            down = self._down[bisect_right(self._down_from_s, dispatch_s) - 1]
            if not down:
                return allowed, ()
            return tuple(n for n in allowed if n not in down), tuple(n for n in allowed if n in down)

        return pools

    def _schedule_next(self) -> None:
        if self._next is not None:
            self._driver.kernel.in_background(self._next.at_s, self._change)

    def _change(self, now_s: float) -> None:
        """Apply every change that is due."""
        touched: dict[str, _Target] = {}
        lost: list[_Target] = []
        while (change := self._next) is not None and change.at_s <= now_s:
            self._next = next(self._changes, None)
            incident = self._incidents[change.number]
            for target in (self._targets[name] for name in incident.backends):
                touched[target.backend.name] = target
                if isinstance(incident, LostAccelerator):
                    lost.append(target)
                elif change.begins:
                    target.active[change.number] = incident
                else:
                    del target.active[change.number]
        self._apply(now_s, list(touched.values()), lost)
        self._schedule_next()

    def _apply(self, now_s: float, targets: list[_Target], lost: Collection[_Target] = ()) -> None:
        for target in targets:
            self._driver.settle(now_s, target.backend)
        for target in targets:
            _set_speed(now_s, target)
            target.server.reachable = target not in lost and not target.held_down(now_s)
        self._record(now_s)
        down = [target.backend for target in targets if not target.server.reachable]
        if down:
            self._driver.break_connections(now_s, down)
        for target in lost:
            target.server.lose_accelerator(now_s)
        for target in targets:
            self._go_on(now_s, target)

    def _go_on(self, now_s: float, target: _Target) -> None:
        """See what comes next; a backend that recovers is looked at again when it should have."""
        target.server.reachable = not target.held_down(now_s)
        self._record(now_s)
        self._driver.settle(now_s, target.backend)
        recovered_s = target.server.recovered_s()
        if now_s < recovered_s < inf:
            self._driver.kernel.in_background(recovered_s, lambda at_s: self._apply(at_s, [target]))

    def _record(self, now_s: float) -> None:
        """Note which pools are down from now on."""
        up = {name for name, pool in self._fleet.pools.items() if any(map(self._is_up, _names(pool)))}
        down = frozenset(name for name in self._fleet.pools if name not in up)
        if self._down_from_s[-1] == now_s:
            self._down[-1] = down
        elif down != self._down[-1]:
            self._down_from_s.append(now_s)
            self._down.append(down)

    def _is_up(self, backend: str) -> bool:
        target = self._targets.get(backend)
        return target is None or target.server.reachable


def _set_speed(now_s: float, target: _Target) -> None:
    """Slow it down, and cut its quota, as everything that holds now says together."""
    active = target.active.values()
    factor = prod(each.factor for each in active if isinstance(each, Slow))
    fraction = prod(each.fraction for each in active if isinstance(each, QuotaCut))
    if factor != target.factor:
        target.server.slow(now_s, factor)
    if fraction != target.fraction:
        target.server.grant(now_s, fraction)
    target.factor, target.fraction = factor, fraction


def _changes(number: int, incident: Incident) -> Iterator[_Change]:
    for start_s, end_s in incident.spells():
        yield _Change(start_s, number, True)
        if end_s < inf and not isinstance(incident, LostAccelerator):
            yield _Change(end_s, number, False)


def _targets(
    fleet: Fleet, backends: Iterable[SimulatedBackend], incidents: tuple[Incident, ...], seed: int
) -> dict[str, _Target]:
    """The backends that are hit, each with a server that can be."""
    there = {backend.name: backend for backend in backends}
    hit = dict.fromkeys(name for each in incidents for name in each.backends)
    missing = [name for name in hit if name not in there]
    if missing:
        raise InvariantError(f"faults hit backends that the fleet does not have: {', '.join(missing)}")
    fragile = {name for each in incidents if isinstance(each, LostAccelerator) for name in each.backends}
    targets = {}
    for name in hit:
        backend = there[name]
        if name in fragile:
            backend.server = _fragile(fleet.pools[backend.pool], name, seed)
        backend.server = server = ImpairedServer(backend.server)
        targets[name] = _Target(backend, server)
    return targets


def _fragile(pool: Pool, backend: str, seed: int) -> FragileServer:
    deployment = pool.deployment
    if deployment.spares is None:
        raise InvariantError(f"deployment {deployment.name!r} loses an accelerator and does not say what spares it has")
    curve = speed_curve(deployment)
    return FragileServer(lambda: model_server(curve, deployment, seed, backend), deployment.spares)


def _names(pool: Pool) -> Iterator[str]:
    return (backend.name for backend in pool.backends)
