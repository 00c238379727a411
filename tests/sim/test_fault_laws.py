"""Laws of the simulator over random fleets, traffic, timelines of faults, policies and numbers of workers.

An observer keeps books of its own from nothing but events and actions, as a gateway's ledger would, and holds the
engine to them after each step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_rig import one_pool_fleet

from headrace.fleet import (
    Backend,
    Deployment,
    Down,
    Flapping,
    Fleet,
    Incident,
    KvCache,
    Limits,
    LostAccelerator,
    OperatingPoint,
    PerToken,
    Pool,
    Quota,
    QuotaCut,
    Route,
    Share,
    ShareUnit,
    Signals,
    Slow,
    Spares,
    Stale,
    catalog,
)
from headrace.policy import (
    POLICIES,
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    Dispatch,
    DispatchReason,
    End,
    Enqueue,
    FailureKind,
    Finished,
    FirstToken,
    Policy,
)
from headrace.policy.breaker import SHORTEST_PAUSE_S, WIDEST
from headrace.policy.retry import PASSES
from headrace.sim import SimulationResult, simulate
from headrace.workload import Request, Slo, WorkloadClass

MODEL = next(each for each in catalog.models() if each.name == "llama-3.1-8b")
CHIPS = {each.name: each for each in catalog.accelerators()}
SPARES = Spares(1, recover_s=3.0, repair_s=30.0)
DEPLOYMENTS = (
    Deployment("gpu", MODEL, CHIPS["H100"], max_batch=4, spares=SPARES),
    Deployment("paged", MODEL, CHIPS["MI300X"], max_batch=4, kv_cache=KvCache(prefix_cache=True), spares=SPARES),
    Deployment("sram", MODEL, CHIPS["LPU"], count=256, spares=SPARES),
    Deployment("hosted", MODEL, observed=OperatingPoint(0.2, 5000.0, 0.005), quota=Quota(requests_per_minute=40)),
)
CLASSES = {"chat": WorkloadClass("chat", 0.0003, Slo(ttft_s=2.0)), "coding": WorkloadClass("coding", 0.002, Slo())}


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    chosen = draw(st.lists(st.sampled_from(DEPLOYMENTS), min_size=1, max_size=3, unique_by=lambda d: d.name))
    pools = {}
    for deployment in chosen:
        room = draw(st.integers(1, 4))
        names = [f"{deployment.name}-{number}" for number in range(draw(st.integers(1, 3)))]
        backends = tuple(Backend(name, deployment.name, f"http://{name}:1", None, room) for name in names)
        pools[deployment.name] = Pool(deployment.name, deployment, PerToken(0.1, 0.4), backends)
    limits = Limits(
        queue_depth=draw(st.integers(0, 6)),
        queue_timeout_s=draw(st.floats(0.5, 10.0)),
        first_byte_timeout_s=draw(st.floats(0.5, 10.0)),
        max_attempts=draw(st.integers(1, 3)),
        hedge_budget=draw(st.sampled_from((0.0, 0.02, 1.0))),
        retry_budget=draw(st.sampled_from((0.0, 0.1, 0.5))),
        retry_burst=draw(st.integers(0, 3)),
        breaker_failures=draw(st.integers(1, 3)),
        breaker_cooldown_s=draw(st.floats(0.5, 5.0)),
    )
    shares = {}
    if len(pools) > 1 and draw(st.booleans()):
        unit = draw(st.sampled_from((ShareUnit.REQUESTS, ShareUnit.OUTPUT_TOKENS)))
        shares["s"] = Share("s", (next(iter(pools)),), draw(st.floats(0.1, 0.9)), unit)
    interval_s, delay_s = draw(st.floats(0.1, 2.0)), draw(st.floats(0.0, 2.0))
    return Fleet(
        models={MODEL.name: MODEL},
        deployments={each.name: each for each in chosen},
        pools=pools,
        classes=CLASSES,
        shares=shares,
        routes=(Route(tuple(pools)),),
        limits=limits,
        default_class="chat",
        signals=draw(st.none() | st.just(Signals(interval_s, delay_s, delay_s + 2.0))),
    )


def incidents_of(fleet: Fleet) -> st.SearchStrategy[Incident]:
    """Any incident that some backends of `fleet` can have, within the first half minute."""
    everyone = [backend.name for backend in fleet.backends]

    @st.composite
    def incident(draw: st.DrawFn) -> Incident:
        from_s = draw(st.floats(0.0, 30.0) | st.integers(0, 30).map(float))
        to_s = draw(st.just(inf) | st.floats(0.01, 20.0).map(lambda length_s: from_s + length_s))
        kind = draw(st.sampled_from((Down, Slow, Flapping, QuotaCut, LostAccelerator, Stale)))
        can = {
            QuotaCut: [n for n in everyone if n.startswith("hosted")],
            LostAccelerator: [n for n in everyone if not n.startswith("hosted")],
        }.get(kind, everyone)
        if not can:
            kind, can = Down, everyone
        names = tuple(draw(st.lists(st.sampled_from(can), min_size=1, unique=True)))
        if kind is Slow:
            return Slow(backends=names, from_s=from_s, to_s=to_s, factor=draw(st.floats(1.0, 50.0)))
        if kind is Flapping:
            period_s, fraction = draw(st.floats(0.2, 10.0)), draw(st.floats(0.05, 0.95))
            return Flapping(backends=names, from_s=from_s, to_s=to_s, period_s=period_s, down_fraction=fraction)
        if kind is QuotaCut:
            return QuotaCut(backends=names, from_s=from_s, to_s=to_s, fraction=draw(st.floats(0.05, 0.9)))
        if kind is Stale:
            return Stale(backends=names, from_s=from_s, to_s=to_s, delay_s=draw(st.none() | st.floats(0.1, 5.0)))
        if kind is LostAccelerator:
            return LostAccelerator(backends=names, from_s=from_s)
        return Down(backends=names, from_s=from_s, to_s=to_s)

    return incident()


ROWS = st.tuples(
    st.floats(0.0, 2.0) | st.sampled_from((0.0, 1.0)), st.sampled_from(("chat", "coding")), st.integers(1, 4000),
    st.integers(1, 600),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One simulation."""

    fleet: Fleet
    requests: list[Request]
    incidents: tuple[Incident, ...]
    workers: int
    policy: Policy
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    fleet = draw(fleets())
    rows = draw(st.lists(ROWS, min_size=1, max_size=40))
    requests = [Request(at_s, *row[1:]) for at_s, row in zip(accumulate(r[0] for r in rows), rows, strict=True)]
    incidents = tuple(draw(st.lists(incidents_of(fleet), max_size=4)))
    policy = draw(st.sampled_from([p for p in POLICIES.values() if p.inside is None]))
    return Case(fleet, requests, incidents, draw(st.integers(1, 3)), policy, draw(st.integers(0, 1000)))


@dataclass
class Breaker:
    """A reference: one backend as one worker may see it, from what it heard."""

    limits: Limits
    cooldown_s: float
    failures: int = 0
    in_flight: int = 0
    rests_until_s: float = -inf
    tripped: bool = False
    probe: int | None = None
    window: int = 0
    unanswered: set[int] = field(default_factory=set)

    def sent(self, now_s: float, attempt_id: int) -> None:
        assert now_s >= self.rests_until_s, "an open breaker is never picked"
        assert not (self.tripped and self.probe), "a half-open breaker is probed by one"
        self.in_flight += 1
        if self.tripped:
            self.probe = attempt_id
        elif self.window:
            assert len(self.unanswered) < self.window, "who refused is asked one at a time, then two, then four"
            self.unanswered.add(attempt_id)

    def succeeded(self, attempt_id: int) -> None:
        if self.tripped and attempt_id != self.probe:
            self.unanswered.discard(attempt_id)
            return
        self.tripped, self.probe, self.failures = False, None, 0
        if attempt_id in self.unanswered and self.window:
            self.window = 2 * self.window if self.window < WIDEST else 0
        self.unanswered.discard(attempt_id)

    def failed(self, now_s: float, attempt_id: int) -> None:
        if attempt_id == self.probe:
            self.cooldown_s = min(2 * self.cooldown_s, self.limits.breaker_cooldown_max_s)
        elif self.tripped:
            self.unanswered.discard(attempt_id)
            return
        else:
            self.unanswered.discard(attempt_id)
            self.cooldown_s = self.limits.breaker_cooldown_s
        self.failures += 1
        if attempt_id == self.probe or self.failures >= self.limits.breaker_failures:
            self.tripped, self.probe, self.window = True, None, 0
            self.rests_until_s = max(self.rests_until_s, now_s + self.cooldown_s)

    def released(self, attempt_id: int) -> None:
        self.unanswered.discard(attempt_id)
        if attempt_id == self.probe:
            self.probe = None

    def overloaded(self, until_s: float, attempt_id: int) -> None:
        self.rests_until_s = max(self.rests_until_s, until_s)
        self.unanswered.discard(attempt_id)
        self.window = 0 if self.tripped else 1
        if attempt_id == self.probe:
            self.probe = None

    def may_be_asked(self, now_s: float, room: int) -> bool:
        """Surely: a timer of the same instant may still be to come."""
        paced = self.window and len(self.unanswered) >= self.window
        rests = now_s <= self.rests_until_s + 1e-9 or paced or (self.tripped and self.probe)
        return self.in_flight < room and not rests


class Books:
    """What anybody can count who sees events and actions; checked as it goes. An `on_step`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.limits = case.fleet.limits
        self.room = {backend.name: backend.max_in_flight for backend in case.fleet.backends}
        self.arrived: list[int] = []
        self.ended: Counter[int] = Counter()
        self.dispatched: Counter[int] = Counter()
        self.over: Counter[int] = Counter()
        self.used: set[int] = set()
        self.request_of: dict[int, int] = {}
        self.backend_of: dict[int, str] = {}
        self.tried: dict[int, set[str]] = {}
        self.passing: dict[int, set[str]] = {}
        self.began: set[int] = set()
        self.hedges: set[int] = set()
        self.refused: set[int] = set()
        self.waiting: dict[int, None] = {}
        self.breakers: dict[tuple[int, str], Breaker] = {}
        self.firsts: Counter[int] = Counter()
        self.retries: Counter[int] = Counter()

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if isinstance(event, Arrived):
            self.arrived.append(event.request_id)
        elif isinstance(event, FirstToken | Finished | AttemptFailed):
            self.hear(now_s, event)
        for action in actions:
            self.see(now_s, action, isinstance(event, FirstToken | Finished))
        self.nobody_waits_in_vain(now_s)

    def breaker(self, worker: int, backend: str) -> Breaker:
        fresh = Breaker(self.limits, self.limits.breaker_cooldown_s)
        return self.breakers.setdefault((worker, backend), fresh)

    def breaker_of(self, attempt_id: int) -> Breaker:
        return self.breaker(attempt_id % self.case.workers, self.backend_of[attempt_id])

    def hear(self, now_s: float, event: FirstToken | Finished | AttemptFailed) -> None:
        attempt_id = event.attempt_id
        assert attempt_id in self.dispatched, "nothing is heard of what was not sent"
        assert attempt_id not in self.over, "an attempt ends once"
        breaker = self.breaker_of(attempt_id)
        if isinstance(event, AttemptFailed):
            self.close(attempt_id)
            if event.output_tokens:
                self.used.add(attempt_id)
            if event.kind is FailureKind.OVERLOADED:
                wait_s = 1.0 if event.retry_after_s is None else max(event.retry_after_s, SHORTEST_PAUSE_S)
                breaker.overloaded(now_s + wait_s, attempt_id)
                self.refused.add(self.request_of[attempt_id])
                self.tried[self.request_of[attempt_id]].discard(self.backend_of[attempt_id])
            else:
                breaker.failed(now_s, attempt_id)
                if event.kind in PASSES:
                    self.passing.setdefault(self.request_of[attempt_id], set()).add(self.backend_of[attempt_id])
            return
        breaker.succeeded(attempt_id)
        if isinstance(event, Finished):
            self.used.add(attempt_id)
            self.close(attempt_id)

    def see(self, now_s: float, action: AnyAction, overtaken: bool) -> None:
        if isinstance(action, Dispatch):
            self.dispatch(now_s, action)
            self.waiting.pop(action.request_id, None)
        elif isinstance(action, Cancel):  # nobody gives up but the engine, on an attempt that is late or overtaken
            self.close(action.attempt_id)
            breaker = self.breaker_of(action.attempt_id)
            if overtaken:
                breaker.released(action.attempt_id)
            else:
                breaker.failed(now_s, action.attempt_id)
        elif isinstance(action, Enqueue):
            self.waiting[action.request_id] = None
        elif isinstance(action, End):
            self.waiting.pop(action.request_id, None)
            self.ended[action.request_id] += 1

    def close(self, attempt_id: int) -> None:
        self.over[attempt_id] += 1
        self.breaker_of(attempt_id).in_flight -= 1

    def dispatch(self, now_s: float, action: Dispatch) -> None:
        attempt_id, request_id = action.attempt_id, action.request_id
        tried = self.tried.setdefault(request_id, set())
        assert attempt_id not in self.dispatched, "an attempt is made once"
        assert request_id not in self.ended, "an ended request is not tried again"
        passing = self.passing.get(request_id, set()) if request_id in self.waiting else set()
        assert action.backend not in tried - passing, (
            "no request goes twice to the same backend, unless it said when to, or after a pause"
        )
        worker = attempt_id % self.case.workers
        if request_id not in self.began:
            self.firsts[worker] += 1
        elif action.reason is DispatchReason.HEDGE:
            self.hedges.add(attempt_id)
        elif not (request_id in self.refused and request_id in self.waiting):  # who only came back when told to
            self.retries[worker] += 1
        self.began.add(request_id)
        self.refused.discard(request_id)
        tried.add(action.backend)
        self.dispatched[attempt_id] += 1
        self.request_of[attempt_id], self.backend_of[attempt_id] = request_id, action.backend
        breaker = self.breaker_of(attempt_id)
        assert breaker.in_flight < self.room[action.backend], "a full backend is never picked"
        breaker.sent(now_s, attempt_id)
        assert self.retries[worker] <= self.limits.retry_burst + self.limits.retry_budget * self.firsts[worker] + 1e-9

    def nobody_waits_in_vain(self, now_s: float) -> None:
        """One worker has one queue: who waits there finds every backend that it did not try full or at rest."""
        for request_id in self.waiting if self.case.workers == 1 else ():
            for name in self.room.keys() - self.tried.get(request_id, set()):
                free = self.breaker(0, name).may_be_asked(now_s, self.room[name])
                assert not free, f"request {request_id} waits, and {name} is free"


def run(case: Case) -> tuple[Books, SimulationResult]:
    books = Books(case)
    result = simulate(
        case.fleet,
        iter(case.requests),
        case.policy,
        case.seed,
        books,
        incidents=case.incidents,
        workers=case.workers,
    )
    return books, result


@settings(max_examples=200, deadline=None)
@given(cases())
def test_requests_and_attempts_are_conserved_and_no_rule_is_broken(case: Case) -> None:
    """That conservation of silicon holds is checked by every simulation itself."""
    books, result = run(case)
    outcomes: Counter[str] = Counter()
    for totals in result.metrics.classes.values():
        outcomes.update(totals.outcomes)
    assert len(books.arrived) == len(case.requests) == sum(outcomes.values())
    assert books.ended == Counter(dict.fromkeys(books.arrived, 1))
    assert books.over == books.dispatched == Counter(dict.fromkeys(books.dispatched, 1))
    assert sum(pool.requests for pool in result.metrics.pools.values()) == len(books.dispatched)
    for share in case.fleet.shares.values():
        if share.of is ShareUnit.REQUESTS:
            assert result.metrics.shares[share.name].work == len(books.used), "what used nothing is no work"
    for name, busy_s in result.busy_s.items():
        assert -1e-9 <= busy_s <= result.replica_s[name] * (1 + 1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.4), st.integers(20, 1000)), min_size=3, max_size=12),
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
    st.floats(0.0, 2.0),
    st.floats(0.5, 3.0),
)
def test_nobody_waits_for_a_backend_that_is_known_to_be_well(
    rows: list[tuple[float, int]], rooms: list[int], down_s: float, cooldown_s: float
) -> None:
    """A crowd before few places, one of which breaks and comes back: what the law above seldom draws."""
    limits = Limits(breaker_failures=1, breaker_cooldown_s=cooldown_s, retry_burst=20, queue_timeout_s=1000.0)
    fleet = one_pool_fleet(len(rooms), 1, point=OperatingPoint(0.1, 1e4, 0.01), limits=limits)
    pool = fleet.pools["p"]
    backends = tuple(replace(b, max_in_flight=room) for b, room in zip(pool.backends, rooms, strict=True))
    fleet = replace(fleet, pools={"p": replace(pool, backends=backends)})
    arrivals_s = accumulate(gap_s for gap_s, _ in rows)
    requests = [Request(at_s, "chat", 100, tokens) for at_s, (_, tokens) in zip(arrivals_s, rows, strict=True)]
    incidents = (Down(backends=("b0",), from_s=0.0, to_s=down_s),) if down_s else ()
    books, _ = run(Case(fleet, requests, incidents, 1, POLICIES["prices"], 0))
    assert books.ended == Counter(dict.fromkeys(books.arrived, 1))


@settings(max_examples=40, deadline=None)
@given(cases())
def test_the_same_case_runs_to_the_same_steps(case: Case) -> None:
    def steps() -> list[tuple[float, AnyEvent, list[AnyAction]]]:
        seen: list[tuple[float, AnyEvent, list[AnyAction]]] = []
        arguments = (case.fleet, iter(case.requests), case.policy, case.seed)
        simulate(
            *arguments,
            lambda now_s, event, actions: seen.append((now_s, event, actions)),
            incidents=case.incidents,
            workers=case.workers,
        )
        return seen

    assert steps() == steps()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 800)), min_size=1, max_size=40),
    st.integers(1, 3),
    st.integers(1, 3),
    st.floats(0.0, 20.0),
    st.floats(0.1, 20.0),
    st.floats(1.0, 20.0),
)
def test_a_slow_pool_ends_no_request_earlier_and_more_capacity_none_later(
    rows: list[tuple[float, int]], backends: int, slots: int, from_s: float, length_s: float, factor: float
) -> None:
    """First come first served on one pool, common random numbers: monotone in speed and in slots, fault or none."""
    requests = [
        Request(at_s, "chat", 100, row[1]) for at_s, row in zip(accumulate(r[0] for r in rows), rows, strict=True)
    ]
    point = OperatingPoint(0.1, 1e4, 0.01)

    def ends_s(backends: int, slots: int, slow: bool) -> dict[int, float]:
        fleet = one_pool_fleet(backends, slots, point=point)
        hit = tuple(backend.name for backend in fleet.backends) if slow else ()
        ended: dict[int, float] = {}

        def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
            ended.update({a.request_id: now_s for a in actions if isinstance(a, End)})

        slowed = (Slow(backends=hit, from_s=from_s, to_s=from_s + length_s, factor=factor),) if slow else ()
        simulate(fleet, iter(requests), on_step=note, incidents=slowed)
        return ended

    plain, slowed, larger = (
        ends_s(backends, slots, False),
        ends_s(backends, slots, True),
        ends_s(backends + 1, slots, True),
    )
    for request_id, end_s in slowed.items():
        assert plain[request_id] <= end_s + 1e-6
        assert larger[request_id] <= end_s + 1e-6


def test_the_laws_above_are_tried() -> None:
    """Some case of this kind has retries, failures of every sort and rejections: the laws are not kept by silence."""
    fleet = one_pool_fleet(2, 2, point=OperatingPoint(0.1, 1e4, 0.01), limits=Limits(queue_depth=2, breaker_failures=2))
    requests = [Request(0.2 * n, "chat", 100, 200) for n in range(100)]
    down = Flapping(backends=("b0",), from_s=2.0, to_s=18.0, period_s=4.0, down_fraction=0.5)
    books, result = run(Case(fleet, requests, (down,), 2, POLICIES["prices"], 0))
    outcomes = result.metrics.classes["chat"].outcomes
    assert min(outcomes["completed"], outcomes["rejected"], outcomes["failed"], sum(books.retries.values())) > 0
    assert len(books.firsts) == 2, "both workers had some"


@pytest.mark.parametrize("workers", [2, 5])
def test_each_worker_gets_its_part_and_the_share_of_all_is_judged(workers: int) -> None:
    fleet = one_pool_fleet(1, 100, point=OperatingPoint(0.1, 1e4, 0.001))
    one = fleet.pools["p"]
    other = replace(one, name="q", backends=(replace(one.backends[0], name="q0", pool="q", url="http://q:1"),))
    routes, share = (Route(("p", "q")),), Share("s", ("q",), 0.25, ShareUnit.REQUESTS)
    fleet = replace(fleet, pools={"p": one, "q": other}, routes=routes, shares={"s": share})
    requests = [Request(0.5 * n, "chat", 100, 100) for n in range(4000)]
    books, result = run(Case(fleet, requests, (), workers, POLICIES["prices"], 3))
    assert set(books.firsts) == set(range(workers))
    assert max(books.firsts.values()) < 1.3 * min(books.firsts.values())
    assert result.metrics.shares["s"].realized == pytest.approx(0.25, abs=0.005)
