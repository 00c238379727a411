"""Peers: what engines over one fleet tell each other, and what an engine makes of it.

Every gateway worker is an engine with a view of its own. What it dispatched it knows at once; what the others did it is
told by them, every fraction of a second (`headrace.peers`), as their sum. That is better than what `signals.py` infers
from what backends say: an engine's own counts are exact, name their sizes, and are there for every backend, hosted
services too.

- Load. What the others have on a backend is added to our own in every price, weighed by its age as a signal is.
- Limits. `max_in_flight` L is for all engines together. Each of n may always use an even part of it. What is free
  beyond that they all see at once, so each takes a part of that, too:

      free = L - theirs - ours        limit = max(L // n, ours + ceil(free / n) if free > 0 else L - theirs)

  at least 1. So nobody starves while another holds everything, the sum comes back to L as fast as attempts end, and
  those who reach for the last place together are at most n - 1 too many.
- Budgets and commitments. What the others used of a period's amount is used.
- Quotas of providers. What the others took of them is taken (`shared_limit.py`). Of this alone each one's is told
  apart: who comes or goes must not look as if somebody had taken or given back all that he ever took.
- Breakers. That a peer has opened a breaker is a hint, no verdict: it may be the peer's own network. So the backend is
  asked here as one that has just refused (`breaker.py`): one attempt at a time until an answer begins, then two, four.

A share needs none of this: an engine that keeps its own traffic at the target keeps all traffic there, for the sum of
deviations within a tolerance of each one's work is within that tolerance of everybody's work.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.policy.event import PeerDraw, PeerLoad, PeersReported
from headrace.policy.pricing import BackendState


def own_loads(backends: Iterable[BackendState]) -> tuple[PeerLoad, ...]:
    """What an engine tells of its own load: of backends with nothing to tell, nothing."""
    return tuple(
        PeerLoad(b.name, b.in_flight, b.kv_tokens, b.prefill_backlog_s, b.breaker.tripped)
        for b in backends
        if b.in_flight or b.breaker.tripped
    )


def signed(report: PeersReported, engine: str) -> PeersReported:
    """What an engine says of itself, with its name in it."""
    draws = tuple(msgspec.structs.replace(draw, engine=engine) for draw in report.draws)
    return msgspec.structs.replace(report, draws=draws) if draws else report


def summed(as_of_s: float, reports: Iterable[PeersReported], told: str = "") -> PeersReported:
    """What several engines told of themselves, as one event.

    Args:
        as_of_s: when the oldest of it was true, on the clock of the engine that is told.
        told: the name of that engine.
    """
    engines = 0
    loads: dict[str, PeerLoad] = {}
    used: dict[str, float] = {}
    draws: list[PeerDraw] = []
    for report in reports:
        engines += report.engines
        draws += report.draws
        for load in report.loads:
            held = loads.get(load.backend)
            loads[load.backend] = load if held is None else _added(held, load)
        for path, amount in report.used:
            used[path] = used.get(path, 0.0) + amount
    in_order = tuple(loads[name] for name in sorted(loads))
    draws.sort(key=lambda draw: (draw.engine, draw.limit))
    return PeersReported(as_of_s, engines, in_order, tuple(sorted(used.items())), tuple(draws), told)


def _added(one: PeerLoad, other: PeerLoad) -> PeerLoad:
    return PeerLoad(
        one.backend,
        one.in_flight + other.in_flight,
        one.kv_tokens + other.kv_tokens,
        one.prefill_s + other.prefill_s,
        one.tripped or other.tripped,
    )


class PeerBoard:
    """What the others said last, and the limits that follow from it."""

    def __init__(self, backends: Iterable[BackendState]) -> None:
        self._backends = tuple(backends)
        self._whole = tuple(backend.limit for backend in self._backends)
        self._report = PeersReported(0.0, 0)
        self._loads: dict[str, PeerLoad] = {}
        self._beside: dict[str, PeerLoad] = {}
        self._hinted: frozenset[str] = frozenset()

    def inherit(self, before: PeerBoard) -> None:
        """Know what another knew."""
        self._report, self._loads, self._hinted = before._report, before._loads, before._hinted

    @property
    def as_of_s(self) -> float:
        """When what they said was true."""
        return self._report.as_of_s

    @property
    def engines(self) -> int:
        """How many others there are."""
        return self._report.engines

    def load(self, backend: BackendState) -> PeerLoad | None:
        """What they have there."""
        return self._loads.get(backend.name)

    def beside(self, loads: Iterable[PeerLoad]) -> None:
        """Other generations of this engine have this, exactly."""
        self._beside = {load.backend: load for load in loads}

    def load_beside(self, backend: BackendState) -> PeerLoad | None:
        """What other generations of this engine have there."""
        return self._beside.get(backend.name)

    def received(self, report: PeersReported) -> None:
        """Keep what they say, and be careful where one of them has just opened a breaker."""
        self._report = report
        self._loads = {load.backend: load for load in report.loads}
        tripped = frozenset(load.backend for load in report.loads if load.tripped)
        for backend in self._backends:
            if backend.name in tripped and backend.name not in self._hinted:
                backend.be_careful()
        self._hinted = tripped

    def share_limits(self, trust: float) -> None:
        """Set every backend's limit; `trust`: how far what they said is believed, 0 to 1."""
        for backend, set_limit in zip(self._backends, self._whole, strict=True):
            load, beside = self._loads.get(backend.name), self._beside.get(backend.name)
            theirs = 0 if load is None else load.in_flight
            whole = set_limit if beside is None else max(set_limit - beside.in_flight, 0)
            limit = whole if trust <= 0.0 else _limit(whole, theirs, backend.in_flight, self._report.engines + 1)
            if limit != backend.allowed:
                backend.limit_to(limit)


def _limit(whole: int, theirs: int, ours: int, engines: int) -> int:
    """How many attempts one of so many engines may have there (see the module)."""
    free = whole - theirs - ours
    reach = ours + -(-free // engines) if free > 0 else whole - theirs
    return max(whole // engines, reach, 1)
