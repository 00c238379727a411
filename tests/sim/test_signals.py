"""A signal is never newer than it could be, teaches who is alone nothing, and spares several workers some waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_rig import Watch, one_pool_fleet

from headrace import rng
from headrace.fleet import Deployment, Down, Fleet, Incident, OperatingPoint, Signals, Slow, Stale, catalog
from headrace.policy import (
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Cancel,
    Dispatch,
    Finished,
    PolicyEngine,
    SetTimer,
    SignalReceived,
    TimerFired,
)
from headrace.policy.engine import SIGNAL_TIMER
from headrace.policy.signals import KV_CACHE_USAGE, REQUESTS_RUNNING, REQUESTS_WAITING
from headrace.sim import simulate
from headrace.workload import Request

MODEL = next(each for each in catalog.models() if each.name == "llama-3.1-8b")
H100 = next(each for each in catalog.accelerators() if each.name == "H100")
ON_THEIR_WAY_S = 1.0  # the overhead of an answer, which occupies nobody, is shorter, even where all is slow
FRESH = Signals(interval_s=0.2, delay_s=0.0, max_age_s=5.0)


def fleet(signals: Signals | None, backends: int = 8, slots: int = 8) -> Fleet:
    """One pool of GPUs with few slots, so that who is sent to a full one waits there."""
    plain = one_pool_fleet(backends, 1000)
    gpu = Deployment("gpu", MODEL, H100, max_batch=slots)
    pool = replace(plain.pools["p"], deployment=gpu)
    limits = replace(plain.limits, hedge_budget=0.0)  # what is measured is one decision for each request
    return replace(plain, deployments={"gpu": gpu}, pools={"p": pool}, signals=signals, limits=limits)


def requests(rate_per_s: float, count: int, seed: int) -> Iterable[Request]:
    random, at_s = Random(seed), 0.0
    for _ in range(count):
        at_s += random.expovariate(rate_per_s)
        yield Request(at_s, "chat", random.randint(200, 2000), 1 + int(random.expovariate(1 / 200)))


class Books:
    """What every signal said, and how many attempts each backend had at any time, from events and actions alone."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, SignalReceived]] = []
        self.dispatches: list[tuple[str, float]] = []
        self._changes: dict[str, list[tuple[float, int]]] = {}
        self._where: dict[int, str] = {}

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if isinstance(event, SignalReceived):
            self.heard.append((now_s, event))
        if isinstance(event, Finished | AttemptFailed):
            self._count(now_s, event.attempt_id, -1)
        for action in actions:
            if isinstance(action, Dispatch):
                self.dispatches.append((action.backend, now_s))
                self._where[action.attempt_id] = action.backend
                self._count(now_s, action.attempt_id, 1)
            elif isinstance(action, Cancel):
                self._count(now_s, action.attempt_id, -1)

    def _count(self, now_s: float, attempt_id: int, change: int) -> None:
        self._changes.setdefault(self._where[attempt_id], []).append((now_s, change))

    def there(self, backend: str, at_s: float) -> tuple[int, int]:
        """The fewest and the most attempts that it can have had: the last tokens of some may be on their way back."""
        changes = self._changes.get(backend, [])
        came = sum(1 for when_s, change in changes if change > 0 and when_s < at_s)
        just_came = sum(1 for when_s, change in changes if change > 0 and when_s == at_s)
        gone = sum(1 for when_s, change in changes if change < 0 and when_s < at_s)
        soon_gone = sum(1 for when_s, change in changes if change < 0 and at_s <= when_s < at_s + ON_THEIR_WAY_S)
        return came - gone - soon_gone, came + just_came - gone


def listened(
    chosen: Fleet, traffic: Iterable[Request], incidents: tuple[Incident, ...] = (), workers: int = 1
) -> Books:
    books = Books()
    simulate(chosen, iter(traffic), on_step=books, incidents=incidents, workers=workers)
    return books


def incidents_of(names: tuple[str, ...]) -> st.SearchStrategy[Incident]:
    span = st.tuples(st.floats(0.0, 3.0), st.floats(0.1, 5.0))
    some = st.lists(st.sampled_from(names), min_size=1, unique=True).map(tuple)
    late = st.one_of(st.none(), st.floats(0.01, 3.0))
    stale = st.builds(lambda b, s, d: Stale(backends=b, from_s=s[0], to_s=s[0] + s[1], delay_s=d), some, span, late)
    slow = st.builds(lambda b, s: Slow(backends=b, from_s=s[0], to_s=s[0] + s[1], factor=3.0), some, span)
    down = st.builds(lambda b, s: Down(backends=b, from_s=s[0], to_s=s[0] + s[1]), some, span)
    return st.one_of(stale, slow, down)


NAMES = ("b0", "b1", "b2")


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.05, 1.0),
    st.floats(0.0, 2.0),
    st.lists(incidents_of(NAMES), max_size=3).map(tuple),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_a_signal_was_true_when_it_says_and_comes_no_sooner_than_its_delay(
    interval_s: float, delay_s: float, incidents: tuple[Incident, ...], workers: int, seed: int
) -> None:
    told = Signals(interval_s, delay_s, max_age_s=delay_s + 2.0)
    books = listened(fleet(told, len(NAMES), 2), requests(8.0, 40, seed), incidents, workers)
    halves: dict[tuple[str, float], dict[str, float]] = {}
    for now_s, event in books.heard:
        held = [each for each in incidents if isinstance(each, Stale) and event.backend in each.backends]
        late_s = [each.delay_s or 0.0 for each in held if each.from_s <= event.as_of_s < each.to_s]
        assert event.as_of_s + delay_s + sum(late_s) <= now_s + 1e-9
        frozen = [each for each in held if each.delay_s is None]
        assert not any(each.from_s <= event.as_of_s < each.to_s for each in frozen), "nothing new while it is frozen"
        halves.setdefault((event.backend, event.as_of_s), {})[event.name] = event.value
    assert halves
    for (backend, as_of_s), values in halves.items():
        fewest, most = books.there(backend, as_of_s)
        assert fewest <= values[REQUESTS_RUNNING] + values[REQUESTS_WAITING] <= most
        assert 0.0 <= values[KV_CACHE_USAGE] <= 1.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_a_lone_worker_decides_as_if_there_were_no_signals(seed: int, interval_s: float, delay_s: float) -> None:
    traffic = list(requests(12.0, 60, seed))
    deaf = listened(fleet(None, 3, 2), traffic)
    told = listened(fleet(Signals(interval_s, delay_s, 5.0), 3, 2), traffic)
    assert told.heard
    assert not deaf.heard
    assert [name for name, _ in told.dispatches] == [name for name, _ in deaf.dispatches]
    assert [at_s for _, at_s in told.dispatches] == pytest.approx([at_s for _, at_s in deaf.dispatches])


def p99_wait_s(signals: Signals | None, incidents: tuple[Incident, ...] = (), workers: int = 4) -> float:
    waits: list[float] = []
    for seed in range(4):
        watch = Watch()
        traffic = iter(requests(25.0, 400, seed))
        simulate(fleet(signals), traffic, on_step=watch, incidents=incidents, workers=workers)
        waits += watch.waits_s
    return sorted(waits)[int(0.99 * len(waits))]


def test_four_workers_wait_less_with_signals_and_stale_ones_cost_it_again() -> None:
    names = tuple(backend.name for backend in fleet(None).backends)
    deaf, fresh = p99_wait_s(None), p99_wait_s(FRESH)
    late = p99_wait_s(FRESH, (Stale(backends=names, from_s=0.0, delay_s=1.0),))
    frozen = p99_wait_s(FRESH, (Stale(backends=names, from_s=1.0),))
    alone = p99_wait_s(None, workers=1)
    assert alone < fresh < 0.7 * deaf
    assert late > 1.5 * fresh, "everybody runs to where it was empty a second ago"
    assert fresh < frozen < deaf, "what is not renewed is forgotten"


def engine(signals: Signals | None) -> PolicyEngine:
    return PolicyEngine(fleet(signals, 2), rng.stream(0, "policy"))


def tell(each: PolicyEngine, now_s: float, backend: str, running: float, waiting: float) -> None:
    each.handle(now_s, SignalReceived(backend, REQUESTS_RUNNING, running, now_s))
    each.handle(now_s, SignalReceived(backend, REQUESTS_WAITING, waiting, now_s))


def picked(by: PolicyEngine, now_s: float, request_id: int) -> str:
    actions = by.handle(now_s, Arrived(request_id, "chat", 500))
    return next(action.backend for action in actions if isinstance(action, Dispatch))


def test_load_elsewhere_is_priced_until_it_is_too_old() -> None:
    hears, deaf = engine(Signals(1.0, 0.0, max_age_s=5.0)), engine(None)
    assert picked(hears, 0.0, 1) == picked(deaf, 0.0, 1) == "b0"
    for each in (hears, deaf):
        each.handle(0.5, Finished(1, 500, 10))
        tell(each, 1.0, "b0", 8.0, 20.0)
    assert (picked(hears, 1.1, 2), picked(deaf, 1.1, 2)) == ("b1", "b0"), "only who listens steers clear"
    for each in (hears, deaf):
        each.handle(1.2, Finished(2, 500, 10))
    assert hears.handle(5.0, TimerFired(SIGNAL_TIMER)) == [SetTimer(SIGNAL_TIMER, 6.0)], "some trust is left"
    assert hears.handle(6.0, TimerFired(SIGNAL_TIMER)) == [], "none is: there is nothing more to weigh"
    assert picked(hears, 6.1, 3) == "b0"


def test_both_halves_of_a_measurement_count_or_none() -> None:
    hears = engine(FRESH)
    hears.handle(1.0, SignalReceived("b0", REQUESTS_RUNNING, 50.0, 1.0))
    assert picked(hears, 1.0, 1) == "b0", "what waits is not known yet"
    hears.handle(1.0, SignalReceived("b0", REQUESTS_WAITING, 50.0, 0.8))
    assert hears.view().backends[0].signals[REQUESTS_RUNNING].value == 50.0


def test_services_publish_nothing() -> None:
    books = listened(
        replace(one_pool_fleet(2, 10, point=OperatingPoint(0.1, 1e4, 0.01)), signals=FRESH), requests(5.0, 20, 0)
    )
    assert not books.heard
