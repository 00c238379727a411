"""Backends say how loaded they are: measured every `interval_s`, known to every gateway worker `delay_s` later.

What is published is what a model server's /metrics would say: requests running and waiting, and the fraction of the KV
room in use, with the time at which it was true. The rule that it protects: a value leaves with the time of its
measurement and arrives no earlier than the delay after it, so nobody knows anything sooner than he could.

Backends are measured one after the other, spread evenly over an interval. One that is out of reach says nothing. A
service behind an API publishes no load. While a `Stale` incident holds, measurements arrive later by its delay; or, if
it has none, what was measured last before it is said again and again, with the time of *that* measurement.

Publishing alone does not keep a run going, and ends with the last request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.fleet import Fleet, Incident, Signals, Stale
from headrace.modelserver import ImpairedServer, kv_room_tokens
from headrace.policy import KV_CACHE_USAGE, REQUESTS_RUNNING, REQUESTS_WAITING, SignalReceived
from headrace.sim.driver import SimulatedBackend, SimulationDriver

Measured = tuple[SignalReceived, ...]


@dataclass(slots=True)
class _Source:
    """A backend that publishes.

    Attributes:
        room_tokens: its KV room.
        last: what it measured last, while nothing held it; `leaves_s`: when that may be said.
    """

    backend: SimulatedBackend
    room_tokens: float | None
    stale: Sequence[Stale]
    last: Measured = ()
    leaves_s: float = 0.0


class SignalFeed:
    """Publishes the load of a run's backends."""

    def __init__(
        self, fleet: Fleet, settings: Signals, backends: Iterable[SimulatedBackend], incidents: Iterable[Incident] = ()
    ) -> None:
        self._settings = settings
        stale = [each for each in incidents if isinstance(each, Stale)]
        deployments = {pool.name: pool.deployment for pool in fleet.pools.values()}
        rooms = {name: kv_room_tokens(each) for name, each in deployments.items() if each.observed is None}
        self._sources = [
            _Source(backend, rooms[backend.pool], [each for each in stale if backend.name in each.backends])
            for backend in backends
            if backend.pool in rooms
        ]

    def start(self, driver: SimulationDriver) -> None:
        """Publish while `driver` runs."""
        self._driver = driver
        step_s = self._settings.interval_s / max(len(self._sources), 1)
        for number, source in enumerate(self._sources):
            self._measure_at(number * step_s, source)

    def _measure_at(self, at_s: float, source: _Source) -> None:
        def measure(now_s: float) -> None:
            if not self._driver.over:
                self._measure(now_s, source)
                self._measure_at(at_s + self._settings.interval_s, source)

        self._driver.kernel.in_background(at_s, measure)

    def _measure(self, now_s: float, source: _Source) -> None:
        holds = [each for each in source.stale if each.from_s <= now_s < each.to_s]
        if any(each.delay_s is None for each in holds):
            self._send(max(now_s, source.leaves_s), source.last)
            return
        server = source.backend.server
        if isinstance(server, ImpairedServer) and not server.reachable:
            return
        self._driver.settle(now_s, source.backend)
        source.last = _measured(now_s, source)
        source.leaves_s = now_s + sum(each.delay_s or 0.0 for each in holds)
        self._send(source.leaves_s, source.last)

    def _send(self, from_s: float, measured: Measured) -> None:
        if not measured:
            return

        def arrive(now_s: float) -> None:
            for signal in measured:
                self._driver.tell(now_s, signal)

        self._driver.kernel.in_background(from_s + self._settings.delay_s, arrive)


def _measured(now_s: float, source: _Source) -> Measured:
    backend = source.backend
    values = {REQUESTS_RUNNING: float(backend.server.running), REQUESTS_WAITING: float(backend.server.waiting)}
    if source.room_tokens:
        values[KV_CACHE_USAGE] = backend.server.kv_tokens / source.room_tokens
    return tuple(SignalReceived(backend.name, name, value, now_s) for name, value in values.items())
