"""A fleet is replaced while it serves: requests end once, what is gone is not picked, what was learnt stays."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.fleet import (
    Backend,
    Budget,
    Deployment,
    Fleet,
    Limits,
    Model,
    OperatingPoint,
    Per,
    PerToken,
    Pool,
    Route,
    Share,
    ShareUnit,
)
from headrace.policy import (
    PRICES,
    AnyAction,
    AnyEvent,
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
    FleetReplaced,
    Generations,
    Outcome,
    PeerLoad,
    PeersReported,
    Policy,
    PolicyEngine,
    SetTimer,
    TimerFired,
)
from headrace.policy.generations import STRIDE
from headrace.workload import WorkloadClass

MODEL = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
SLOT = 3


def fleet(
    names: str = "abc", *, slots: int = SLOT, classes: tuple[str, ...] = ("chat", "batch"), limits: Limits | None = None
) -> Fleet:
    """A pool for each letter; odd ones are inside the share."""
    pools, deployments = {}, {}
    for k, name in enumerate(names):
        point = OperatingPoint(0.01 * (1 + ord(name) % 3), 1e4, 0.001)
        deployments[name] = Deployment(f"d{name}", MODEL, observed=point)
        backend = Backend(name, name, f"http://127.0.0.1:{ord(name)}", None, slots)
        pools[name] = Pool(name, deployments[name], PerToken(0.1 + 0.1 * k, 0.4), (backend,))
    inside = tuple(name for name in names if ord(name) % 2) or (names[0],)
    return Fleet(
        models={"m": MODEL},
        deployments={each.name: each for each in deployments.values()},
        pools=pools,
        classes={name: WorkloadClass(name, 0.0003) for name in classes},
        shares={"s": Share("s", inside, 0.5, ShareUnit.REQUESTS)},
        budgets={"b": Budget("b", 1e9, Per.DAY)},
        routes=(Route(tuple(pools)),),
        limits=limits or Limits(queue_timeout_s=1e6, first_byte_timeout_s=1e6),
        default_class="chat",
    )


class Fleets:
    """Fleets by text, as `Generations` asks for them."""

    def __init__(self) -> None:
        self.known: dict[str, Fleet] = {}

    def text(self, of: Fleet) -> str:
        text = f"fleet {len(self.known)}"
        self.known[text] = of
        return text

    def read(self, event: FleetReplaced) -> tuple[Fleet, Policy]:
        return self.known[event.fleet], PRICES

    def replaced(self, of: Fleet) -> FleetReplaced:
        return FleetReplaced(self.text(of), PRICES.name)

    def engine(self, first: Fleet) -> Generations:
        return Generations(PolicyEngine(first, rng.stream(0, "policy")), self.read)


def dispatched(actions: list[AnyAction]) -> list[Dispatch]:
    return [action for action in actions if isinstance(action, Dispatch)]


class World:
    """Clients and backends at random, which keep to what an engine may be told, and hold its answers to the laws."""

    def __init__(self, seed: int, fleets: Fleets, first: Fleet) -> None:
        self.random, self.fleets, self.fleet = Random(seed), fleets, first
        self.engine = fleets.engine(first)
        self.entries: list[tuple[float, AnyEvent, list[AnyAction]]] = []
        self.now_s = 0.0
        self.attempts: dict[int, tuple[int, str]] = {}
        self.begun: set[int] = set()
        self.live: set[int] = set()
        self.ended: list[int] = []
        self.came = 0
        self.drained: tuple[str, ...] = ()
        self.timers: list[tuple[float, int]] = []

    def tell(self, event: AnyEvent) -> None:
        actions = self.engine.handle(self.now_s, event)
        self.entries.append((self.now_s, event, actions))
        for action in actions:
            if isinstance(action, Dispatch):
                self.sent(action)
            elif isinstance(action, Cancel):
                del self.attempts[action.attempt_id]
            elif isinstance(action, End):
                self.live.remove(action.request_id)
                self.ended.append(action.request_id)
            elif isinstance(action, SetTimer):
                self.timers.append((action.at_s, action.timer_id))
            elif isinstance(action, Enqueue):
                assert action.request_id in self.live

    def sent(self, action: Dispatch) -> None:
        assert action.request_id in self.live
        assert action.attempt_id not in self.attempts
        others = sum(request == action.request_id for request, _ in self.attempts.values())
        assert others == int(action.reason is DispatchReason.HEDGE)
        assert action.backend in {b.name for b in self.fleet.backends}, "what is gone is not picked"
        assert action.backend not in self.drained
        self.attempts[action.attempt_id] = (action.request_id, action.backend)
        view = {b.name: b for b in self.engine.view().backends}[action.backend]
        assert view.breaker != "open"

    def step(self) -> None:
        self.now_s += self.random.expovariate(2.0)
        for timer in sorted(t for t in self.timers if t[0] <= self.now_s):
            self.timers.remove(timer)
            self.tell(TimerFired(timer[1]))
        chance, attempt = self.random.random(), next(iter(self.attempts), None)
        if attempt is not None and self.random.random() < 0.7:
            attempt = self.random.choice(list(self.attempts))
        if chance < 0.4 or attempt is None:
            self.came += 1
            self.live.add(self.came)
            name = self.random.choice(list(self.fleet.classes))
            self.tell(Arrived(self.came, name, self.random.randint(1, 900)))
        elif chance < 0.55:
            if attempt not in self.begun:
                self.begun.add(attempt)
                self.tell(FirstToken(attempt))
        elif chance < 0.8:
            del self.attempts[attempt]
            self.tell(Finished(attempt, 100, 10))
        elif chance < 0.9:
            del self.attempts[attempt]
            kind = self.random.choice([FailureKind.RESET, FailureKind.OVERLOADED, FailureKind.SERVER_ERROR])
            self.tell(AttemptFailed(attempt, kind, committed=attempt in self.begun))
        elif chance < 0.95:
            self.tell(ClientGone(self.attempts[attempt][0]))
        else:
            names = [b.name for b in self.fleet.backends]
            self.tell(PeersReported(self.now_s, 1, (PeerLoad(self.random.choice(names), self.random.randint(0, 3)),)))

    def replace(self, by: Fleet) -> None:
        self.fleet = by
        self.tell(self.fleets.replaced(by))

    def drain(self) -> None:
        self.drained = tuple(b.name for b in self.fleet.backends if self.random.random() < 0.3)
        self.tell(FleetChanged(self.drained))

    def finish(self) -> None:
        self.drained = ()
        self.tell(FleetChanged(()))
        while self.live:
            assert self.attempts or self.timers, "somebody waits for nothing"
            for attempt in list(self.attempts):
                if self.attempts.pop(attempt, None) is not None:
                    self.tell(Finished(attempt, 100, 10))
            self.now_s += 5.0
            for timer in sorted(t for t in self.timers if t[0] <= self.now_s):
                self.timers.remove(timer)
                self.tell(TimerFired(timer[1]))


@settings(max_examples=60)
@given(st.integers(0, 10**9))
def test_everything_ends_once_through_twenty_replacements_and_a_journal_runs_again(seed: int) -> None:
    random, fleets = Random(seed), Fleets()
    first = fleet("".join(random.sample("abcdef", random.randint(1, 4))))
    world = World(seed, fleets, first)
    for _ in range(20):
        for _ in range(random.randint(1, 15)):
            world.step()
        names = "".join(random.sample("abcdef", random.randint(1, 5)))
        classes = ("chat", "batch") if random.random() < 0.7 else ("chat",)
        world.replace(fleet(names, slots=random.randint(1, 5), classes=classes))
        if random.random() < 0.3:
            world.drain()
    world.finish()
    assert sorted(world.ended) == list(range(1, world.came + 1)), "each once"
    assert not world.attempts
    again = fleets.engine(first)
    assert [again.handle(now_s, event) for now_s, event, _ in world.entries] == [a for _, _, a in world.entries]


def asked(engine: Generations, now_s: float, *ids: int) -> list[Dispatch]:
    return [d for k in ids for d in dispatched(engine.handle(now_s, Arrived(k, "chat", 100)))]


def test_what_the_generation_before_has_in_flight_counts() -> None:
    fleets = Fleets()
    engine = fleets.engine(fleet("a"))
    first = asked(engine, 0.0, 1, 2, 3, 4)
    assert len(first) == SLOT
    moved = dispatched(engine.handle(1.0, fleets.replaced(fleet("a", slots=4))))
    assert [d.request_id for d in moved] == [4], "who waited goes over, and one more place is there"
    assert moved[0].attempt_id > STRIDE
    assert not asked(engine, 1.0, 5)
    assert [b.in_flight for b in engine.view().backends] == [4]
    assert engine.view().requests_live == 5
    (next_one,) = dispatched(engine.handle(2.0, Finished(first[0].attempt_id, 100, 10)))
    assert next_one.request_id == 5


def test_what_is_gone_finishes_what_it_has_and_a_retry_goes_to_what_is_there() -> None:
    fleets = Fleets()
    engine = fleets.engine(fleet("a"))
    first, second = asked(engine, 0.0, 1, 2)
    engine.handle(1.0, fleets.replaced(fleet("b")))
    assert [d.backend for d in asked(engine, 1.0, 3)] == ["b"]
    assert engine.handle(2.0, Finished(first.attempt_id, 100, 10))[0] == End(1, Outcome.COMPLETED)
    failed = engine.handle(2.0, AttemptFailed(second.attempt_id, FailureKind.RESET))
    assert [a.request_id for a in failed if isinstance(a, End)] == [2], "it knows no backend that is still there"


def test_breakers_speeds_shares_and_periods_of_what_stays_are_kept() -> None:
    fleets = Fleets()
    limits = Limits(breaker_failures=1, max_attempts=1, breaker_cooldown_s=60.0)
    engine = fleets.engine(fleet("ab", limits=limits))
    for k in range(1, 30):
        for d in asked(engine, float(k), k):
            engine.handle(k + 0.1, FirstToken(d.attempt_id))
            engine.handle(k + 0.5, Finished(d.attempt_id, 100, 50))
    (broken,) = asked(engine, 40.0, 100)
    engine.handle(40.0, AttemptFailed(broken.attempt_id, FailureKind.REFUSED))
    before = engine.view()
    engine.handle(41.0, fleets.replaced(fleet("bac", limits=limits)))
    after = engine.view()
    old, new = ({b.name: b for b in view.backends} for view in (before, after))
    assert {b.breaker for b in before.backends} == {"open", "closed"}
    for name in "ab":
        assert new[name].breaker == old[name].breaker
        assert (new[name].ttft_factor, new[name].tpot_factor) == (old[name].ttft_factor, old[name].tpot_factor)
    assert new["c"].breaker == "closed"
    assert [limit.use for limit in after.limits] == [limit.use for limit in before.limits]
    assert after.shares[0].realized is None, "its pools are others now"
    engine.handle(42.0, fleets.replaced(replace(fleet("bac", limits=limits), default_class="batch")))
    same = fleets.engine(fleet("ab"))
    asked(same, 0.0, 1)
    same.handle(1.0, fleets.replaced(fleet("ab", slots=9)))
    assert same.view().shares[0].realized is not None, "the same share goes on"
    assert same.view().shares[0].work == 1.0


def test_a_breaker_that_an_older_generation_opens_is_open_for_the_newest() -> None:
    fleets = Fleets()
    limits = Limits(breaker_failures=1, max_attempts=1)
    engine = fleets.engine(fleet("a", limits=limits))
    (first,) = asked(engine, 0.0, 1)
    engine.handle(1.0, fleets.replaced(fleet("a", limits=limits)))
    assert len(asked(engine, 1.0, 2)) == 1
    engine.handle(2.0, AttemptFailed(first.attempt_id, FailureKind.REFUSED))
    assert engine.view().backends[0].breaker == "open"
    assert not asked(engine, 2.1, 3)


def test_the_first_generation_is_the_engine_itself() -> None:
    plain, wrapped = PolicyEngine(fleet(), rng.stream(0, "policy")), Fleets().engine(fleet())
    for k in range(1, 20):
        event = Arrived(k, "chat", 10 * k)
        assert plain.handle(float(k), event) == wrapped.handle(float(k), event)
    assert plain.view() == wrapped.view()


def test_budgets_go_on_through_a_replacement() -> None:
    fleets, hard = Fleets(), Budget("b", 1e-3, Per.DAY, hard=True)
    poor = replace(fleet("a", slots=100), budgets={"b": hard})
    engine = fleets.engine(poor)
    spent = 0
    for k in range(1, 200):
        spent += len(asked(engine, 0.0, k))
        if k == 5:
            engine.handle(0.0, fleets.replaced(replace(poor, default_class="batch")))
    alone = fleets.engine(poor)
    assert spent == sum(len(asked(alone, 0.0, k)) for k in range(1, 200))
    assert 5 < spent < 100
    assert pytest.approx(dict(engine.report().used)) == dict(alone.report().used)
