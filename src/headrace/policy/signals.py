"""Signals: what backends say of their load, and what follows of the load that other gateways put on them.

An engine knows what it dispatched itself, at once and exactly. What other workers dispatched to the same backend it can
only be told, late. A signal is a count that was true at `as_of_s`, so it is compared with our own count *at that time*:

    elsewhere = max(seen(as_of) - ours(as_of), 0) * max(1 - (now - as_of) / max_age_s, 0)

    seen    requests that the backend had, running or waiting        ours    attempts that we had there

and added to our own count of now. Trust falls linearly with age and is gone at `max_age_s`: what was elsewhere then may
have ended since, and a signal that comes no more must not close a backend for good. So that it falls though nothing
happens, it is weighed anew with every signal, and every `interval_s` for as long as anything is believed.

Where other engines say themselves what they have there (`peers.py`), that is believed by the same weight, and what
backends say only if it is more: then there are clients who are nobody's peers.

Counts say nothing of sizes. Requests elsewhere are taken to be like ours: the usual context each, and the usual prompt
still to be processed for those that wait. KV usage is kept for people to see and is not priced: a model server that
reserves room for a whole answer would tell how long the answer will be.

The rules that it protects: no decision reads a signal newer than it could have (the engine refuses one from the
future), and who is alone learns nothing from signals: then seen = ours, at any time.

Source: the staleness of load and what it does to choices, M. Mitzenmacher, "How Useful Is Old Information?", IEEE
Transactions on Parallel and Distributed Systems 11 (2000); the counts are those of vLLM's /metrics.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from headrace.errors import InvariantError
from headrace.fleet import Signals
from headrace.policy.event import PeerLoad, PeersReported, SignalReceived
from headrace.policy.peers import PeerBoard
from headrace.policy.pricing import LEARNING_RATE, BackendState, Elsewhere

REQUESTS_RUNNING = "num_requests_running"
REQUESTS_WAITING = "num_requests_waiting"
KV_CACHE_USAGE = "kv_cache_usage"
NOTHING = 0.5  # fewer requests than this elsewhere are none


class _Usual(NamedTuple):
    """Of our own attempts, smoothed: context tokens, and uncontended prefill seconds."""

    kv_tokens: float = 0.0
    prefill_s: float = 0.0


class _Own:
    """How many attempts we had on one backend, at any time within the last `max_age_s`."""

    __slots__ = ("counts", "times_s", "usual")

    def __init__(self) -> None:
        self.times_s = [0.0]
        self.counts = [0]
        self.usual = _Usual()

    def changed(self, now_s: float, count: int, max_age_s: float) -> None:
        """The count is another from now on."""
        self.times_s.append(now_s)
        self.counts.append(count)
        if len(self.times_s) > 64 and self.times_s[len(self.times_s) // 2] < now_s - max_age_s:
            half = len(self.times_s) // 2
            del self.times_s[:half], self.counts[:half]

    def at(self, at_s: float) -> int:
        """The count at a time, changes of that instant included."""
        return self.counts[max(bisect_right(self.times_s, at_s) - 1, 0)]


class SignalBoard:
    """Keeps every backend's `elsewhere` up to what its signals say.

    Attributes:
        listens: whether anything follows from signals; else they are only kept, for people.
        interval_s: how often it wants to `weigh`.
    """

    def __init__(self, settings: Signals | None, backends: Iterable[BackendState]) -> None:
        self.listens = settings is not None
        settings = settings or Signals()
        self.interval_s = settings.interval_s
        self._max_age_s = settings.max_age_s
        self._backends = tuple(backends)
        self._by_name = {backend.name: backend for backend in self._backends}
        self._own = tuple(_Own() for _ in self._backends)
        self._peers = PeerBoard(self._backends)
        self._weighed_s = 0.0

    def received(self, now_s: float, event: SignalReceived) -> bool:
        """Keep a signal, unless a newer one is known; returns whether load elsewhere is believed in by now.

        Raises:
            InvariantError: it is from the future.
        """
        _check_time(now_s, event.as_of_s, f"signal {event.name!r} of {event.backend!r}")
        backend = self._by_name.get(event.backend)
        if backend is None:
            return False
        held = backend.signals.get(event.name)
        if held is None or held[1] <= event.as_of_s:
            backend.signals[event.name] = (event.value, event.as_of_s)
        return self.listens and self.weigh_one(now_s, backend)

    def reported(self, now_s: float, event: PeersReported) -> bool:
        """Keep what other engines say of themselves; returns whether load elsewhere is believed in by now.

        Raises:
            InvariantError: it is from the future.
        """
        _check_time(now_s, event.as_of_s, "what the peers say")
        self._peers.received(event)
        return self.weigh(now_s)

    def beside(self, loads: tuple[PeerLoad, ...]) -> None:
        """Other generations of this engine have this on the same backends, and may have changed their breakers."""
        self._peers.beside(loads)
        for backend in self._backends:
            backend.touched()
        self.weigh(self._weighed_s)

    def inherit(self, before: SignalBoard) -> None:
        """Know what another knew of peers, and count from what there is."""
        self._peers.inherit(before._peers)
        self._weighed_s = before._weighed_s

    def dispatched(self, now_s: float, backend: BackendState, prefill_s: float, kv_tokens: float) -> None:
        """We sent an attempt to it."""
        own = self._own[backend.index]
        own.changed(now_s, backend.in_flight, self._max_age_s)
        rate = LEARNING_RATE if own.usual.kv_tokens else 1.0
        tokens, seconds = own.usual
        own.usual = _Usual(tokens + rate * (kv_tokens - tokens), seconds + rate * (prefill_s - seconds))

    def released(self, now_s: float, backend: BackendState) -> None:
        """One of our attempts there is over."""
        self._own[backend.index].changed(now_s, backend.in_flight, self._max_age_s)

    def weigh(self, now_s: float) -> bool:
        """Weigh what every backend last said, by its age; returns whether anything is still believed."""
        self._weighed_s = now_s
        self._peers.share_limits(self._trust_in_peers(now_s))
        believed = [self.weigh_one(now_s, backend) for backend in self._backends]
        return any(believed) or self._trust_in_peers(now_s) > 0.0

    def weigh_one(self, now_s: float, backend: BackendState) -> bool:
        """As `weigh`, of one backend."""
        by_peers = self._said_by_peers(now_s, backend)
        found = (self._inferred(now_s, backend) if self.listens else None) or by_peers
        if by_peers is not None and found is not None and found.in_flight < by_peers.in_flight:
            found = by_peers
        beside = self._peers.load_beside(backend)
        if beside is not None:
            found = _added(found, beside)
        if found != backend.elsewhere:
            backend.load_elsewhere(found)
        return found is not None

    def _trust_in_peers(self, now_s: float) -> float:
        """How far they are believed, 0 to 1; 0 without any."""
        if not self._peers.engines:
            return 0.0
        return max(1.0 - (now_s - self._peers.as_of_s) / self._max_age_s, 0.0)

    def _said_by_peers(self, now_s: float, backend: BackendState) -> Elsewhere | None:
        load, trust = self._peers.load(backend), self._trust_in_peers(now_s)
        if load is None or trust * load.in_flight < NOTHING:
            return None
        return Elsewhere(round(trust * load.in_flight), trust * load.kv_tokens, trust * load.prefill_s)

    def _inferred(self, now_s: float, backend: BackendState) -> Elsewhere | None:
        running = backend.signals.get(REQUESTS_RUNNING)
        waiting = backend.signals.get(REQUESTS_WAITING)
        if running is None or waiting is None or running[1] != waiting[1]:
            return None  # the other half of the same measurement follows
        as_of_s, seen = running[1], running[0] + waiting[0]
        trust = 1.0 - (now_s - as_of_s) / self._max_age_s
        if trust <= 0.0 or seen <= 0.0:
            return None
        own = self._own[backend.index]
        others = trust * (seen - own.at(as_of_s))
        if others < NOTHING:
            return None
        tokens, prefill_s = own.usual
        return Elsewhere(round(others), others * tokens, others * waiting[0] / seen * prefill_s)


def _check_time(now_s: float, as_of_s: float, what: str) -> None:
    if as_of_s > now_s:
        raise InvariantError(f"{what} is from the future: {as_of_s}")


def _added(found: Elsewhere | None, load: PeerLoad) -> Elsewhere:
    others, tokens, prefill_s = found or (0, 0.0, 0.0)
    return Elsewhere(others + load.in_flight, tokens + load.kv_tokens, prefill_s + load.prefill_s)
