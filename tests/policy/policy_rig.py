"""A careless driver for a policy engine: random events, its own books, and the laws checked after each."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from headrace import rng
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.policy import (
    PRICES,
    AnyAction,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    DispatchReason,
    End,
    Enqueue,
    FailureKind,
    Finished,
    FirstToken,
    FleetChanged,
    Policy,
    PolicyEngine,
    SetTimer,
    TimerFired,
)
from headrace.policy.journal import encode_entry

SAMPLE = load_fleet()


def small_fleet(max_in_flight: int) -> Fleet:
    """The sample fleet with little room, so that it fills, queues and breaks."""
    pools = {
        name: replace(pool, backends=tuple(replace(b, max_in_flight=max_in_flight) for b in pool.backends))
        for name, pool in SAMPLE.pools.items()
    }
    limits = replace(
        SAMPLE.limits,
        queue_depth=4,
        prefix_index_entries=60,
        queue_timeout_s=5.0,
        first_byte_timeout_s=3.0,
        hedge_budget=0.3,
        breaker_failures=2,
    )
    return replace(SAMPLE, pools=pools, limits=limits)


class Chaos:
    """Drives an engine with random events, as a careless driver would, and keeps its own books."""

    def __init__(self, seed: int, max_in_flight: int, policy: Policy = PRICES, fleet: Fleet | None = None) -> None:
        self.random = Random(seed)
        self.fleet = fleet or small_fleet(max_in_flight)
        self.limit = max_in_flight
        self.engine = PolicyEngine(self.fleet, rng.stream(seed, "policy"), policy)
        self.now_s = 0.0
        self.arrived = 0
        self.live: dict[int, tuple[int, str]] = {}
        self.ended: dict[int, str] = {}
        self.dispatched: list[int] = []
        self.first_attempts: set[int] = set()
        self.refused: set[int] = set()
        self.queued: set[int] = set()
        self.retries = 0
        self.sizes: dict[int, int] = {}
        self.hedges = 0
        self.rescues = 0
        self.cost_usd = 0.0
        self.hedged_usd = 0.0
        self.drained: tuple[str, ...] = ()
        self.timers: list[tuple[float, int]] = []
        self.journal: list[bytes] = []

    def step(self) -> None:
        self.now_s += self.random.expovariate(2.0)
        due = [timer for timer in self.timers if timer[0] <= self.now_s]
        for timer in due:
            self.timers.remove(timer)
            self.send(TimerFired(timer[1]))
        self.send(self.event())

    def event(self) -> object:
        draw = self.random.random()
        attempts = self.dispatched or [1]
        attempt_id = self.random.choice(attempts)  # live, ended or unknown: late and repeated events are normal
        if draw < 0.45:
            self.arrived += 1
            name = self.random.choice(list(self.fleet.classes))
            self.sizes[self.arrived] = self.random.randint(1, 5000)
            return Arrived(self.arrived, name, self.sizes[self.arrived], **self.beginning())
        if draw < 0.6:
            return FirstToken(attempt_id)
        if draw < 0.8:
            return Finished(attempt_id, 100, self.random.randint(0, 400), self.random.randint(0, 100))
        if draw < 0.92:
            kind = self.random.choice(list(FailureKind))
            committed = self.random.random() < 0.3
            resumable = committed and self.random.random() < 0.7
            return AttemptFailed(attempt_id, kind, committed, output_tokens=20 * committed, resumable=resumable)
        if draw < 0.97:
            return ClientGone(self.random.randint(1, self.arrived + 1))
        names = [backend.name for backend in self.fleet.backends]
        self.drained = tuple(self.random.sample(names, self.random.randint(0, 3)))
        return FleetChanged(self.drained)

    def beginning(self) -> dict[str, Any]:
        """Nothing, or what a request may say of its prompt's beginning: a branch of a few shared ones, a session."""
        draw = self.random.random()
        if draw < 0.4:
            return {}
        session = None if draw < 0.7 else f"s{self.random.randint(0, 5)}"
        trunk = self.random.randint(1, 4)
        blocks = tuple(trunk * 100 + depth for depth in range(self.random.randint(0, 12)))
        return {"prefix": blocks, "prefix_block_tokens": 256, "session": session}

    def send(self, event: object) -> None:
        if isinstance(event, AttemptFailed) and event.kind is FailureKind.OVERLOADED and event.attempt_id in self.live:
            self.refused.add(self.live[event.attempt_id][0])
        if isinstance(event, Finished | AttemptFailed):
            self.live.pop(event.attempt_id, None)
        actions = self.engine.handle(self.now_s, event)  # type: ignore[arg-type]
        self.journal.append(encode_entry(self.now_s, event, actions))  # type: ignore[arg-type]
        for action in actions:
            self.carry_out(action)
        self.check()
        if not isinstance(event, TimerFired):  # late attempts fail one by one: what was picked first may break next
            self.check_breakers(actions)

    def check_breakers(self, actions: list[AnyAction]) -> None:
        """Nothing was sent where the breaker is open or a probe was out already."""
        picked = [action.backend for action in actions if isinstance(action, Dispatch)]
        for backend in self.engine.view().backends:
            sent = picked.count(backend.name)
            assert not sent or backend.breaker != "open", "an open breaker is never picked"
            assert sent <= 1 or backend.breaker == "closed", "a half-open breaker is probed by one"

    def carry_out(self, action: object) -> None:
        if isinstance(action, Dispatch):
            assert action.attempt_id not in self.dispatched, "an attempt id is used once"
            assert action.request_id not in self.ended, "an ended request is not dispatched"
            assert action.backend not in self.drained, "a drained backend is never picked"
            self.dispatched.append(action.attempt_id)
            self.live[action.attempt_id] = (action.request_id, action.backend)
            self.count(action)
            self.first_attempts.add(action.request_id)
            self.refused.discard(action.request_id)
            self.queued.discard(action.request_id)
        elif isinstance(action, Enqueue):
            self.queued.add(action.request_id)
        elif isinstance(action, Cancel):
            assert self.live.pop(action.attempt_id, None), "only a live attempt is cancelled"
        elif isinstance(action, SetTimer):
            self.timers.append((action.at_s, action.timer_id))
        elif isinstance(action, End):
            assert action.request_id not in self.ended, "a request ends once"
            self.ended[action.request_id] = action.outcome.value

    def count(self, action: Dispatch) -> None:
        """What it is beside a first attempt, and what it costs."""
        self.rescues += action.reason is DispatchReason.RESCUE
        if action.reason is DispatchReason.HEDGE:
            backend = next(b for b in self.engine._backends if b.name == action.backend)
            self.hedges += 1
            self.hedged_usd += backend.cost_usd(self.sizes[action.request_id], 0.0)  # in vain, at least
            return
        self.cost_usd += action.cost_usd
        came_back = {action.request_id} <= self.refused & self.queued  # when told to: no retry
        again = action.request_id in self.first_attempts and action.reason is not DispatchReason.CONTINUED
        self.retries += again and not came_back

    def check(self) -> None:
        view = self.engine.view()
        on_backend = {backend.name: 0 for backend in self.fleet.backends}
        for _, name in self.live.values():
            on_backend[name] += 1
        for backend in view.backends:
            assert backend.in_flight == on_backend[backend.name] <= self.limit
        assert self.arrived == len(self.ended) + view.requests_live
        limits = self.fleet.limits
        assert self.retries <= limits.retry_burst + limits.retry_budget * len(self.first_attempts)
        assert self.hedged_usd <= limits.hedge_budget * self.cost_usd
