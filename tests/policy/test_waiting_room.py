"""The waiting room: who goes first, what is fair, what is turned away and when it is told to come back."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE

from headrace import rng
from headrace.fleet import Fleet
from headrace.policy import (
    AnyAction,
    Arrived,
    ClientGone,
    Dispatch,
    End,
    Finished,
    PolicyEngine,
    Reject,
    RejectReason,
    TimerFired,
)
from headrace.policy.backend_states import backend_states
from headrace.policy.routing import Candidates
from headrace.policy.state import RequestState
from headrace.policy.timers import QUEUE_TIMER
from headrace.policy.waiting import QUANTUM, WaitingRoom, tokens_of
from headrace.workload import Slo, WorkloadClass

BACKENDS = backend_states(SAMPLE)
CHAT = WorkloadClass("chat", 0.0003)
SIZES = st.lists(st.integers(1, 30_000), min_size=30, max_size=60)


def request(number: int, tenant: str, tokens: int, arrived_s: float = 0.0, of: WorkloadClass = CHAT) -> RequestState:
    return RequestState(number, of, tenant, tokens, 1.0, Candidates(BACKENDS), (), True, arrived_s)


def next_served(room: WaitingRoom, now_s: float) -> RequestState:
    head = next(room.heads(now_s))
    room.leave(now_s, head, served=True)
    return head


@given(SIZES, SIZES, st.integers(10, 50))
def test_what_two_tenants_are_served_differs_by_a_quantum_and_a_request_at_most(
    mine: list[int], others: list[int], count: int
) -> None:
    """While both wait, from the beginning of that: the law of deficit round robin."""
    room, served = WaitingRoom(), {"a": 0.0, "b": 0.0}
    for number, (a, b) in enumerate(zip(mine, others, strict=False)):
        room.enter(0.0, 30.0, request(2 * number, "a", a))
        room.enter(0.0, 30.0, request(2 * number + 1, "b", b))
    waiting = {"a": min(len(mine), len(others)), "b": min(len(mine), len(others))}
    for _ in range(count):
        head = next_served(room, 1.0)
        served[head.tenant] += tokens_of(head)
        waiting[head.tenant] -= 1
        if not all(waiting.values()):
            return
        assert abs(served["a"] - served["b"]) <= QUANTUM + max(*mine, *others) + 1.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30_000), st.booleans()), max_size=60))
def test_everybody_leaves_once_and_a_tenants_requests_in_their_order(rows: list[tuple[str, int, bool]]) -> None:
    room, left = WaitingRoom(), list[RequestState]()
    everybody = [request(number, tenant, size, float(number)) for number, (tenant, size, _) in enumerate(rows)]
    for each in everybody:
        each.held_bytes = 10
        room.enter(each.arrived_s, 1e9, each)
    for each, (_, _, goes) in zip(everybody, rows, strict=True):
        if goes:
            room.leave(1e3, each)
    while room.waiting:
        left.append(next_served(room, 1e3))
    assert sorted(each.request_id for each in left) == [n for n, (_, _, goes) in enumerate(rows) if not goes]
    for tenant in "abc":
        numbers = [each.request_id for each in left if each.tenant == tenant]
        assert numbers == sorted(numbers)
    assert (room.held_bytes, room.next_due_s(), list(room.heads(1e3))) == (0, None, [])


def test_the_more_valuable_goes_first_and_worth_grows_with_waiting() -> None:
    room = WaitingRoom()
    twice = replace(CHAT, name="twice", value_of_time_usd_per_s=1.5 * CHAT.value_of_time_usd_per_s)
    room.enter(0.0, 10.0, request(1, "a", 100))
    room.enter(0.0, 10.0, request(2, "a", 100, of=twice))
    assert next(room.heads(0.0)).request_id == 2
    room.leave(0.0, next(room.heads(0.0)))
    room.enter(9.0, 19.0, request(3, "a", 100, 9.0, of=twice))
    assert next(room.heads(9.0)).request_id == 1, "it has waited nine tenths of its time: worth 1.9 times as much"


def test_who_left_is_forgotten_though_nobody_is_served() -> None:
    """A thousand clients come and go while the first one waits."""
    room = WaitingRoom()
    room.enter(0.0, 30.0, request(0, "a", 1))
    for number in range(1, 1000):
        gone = request(number, "a", 1, float(number))
        room.enter(float(number), 1e9, gone)
        room.leave(float(number), gone)
    assert len(room._dues) < 100
    (line,) = next(iter(room._lines.values()))["chat"].tenants.values()
    assert len(line._heap) < 100


def narrow(depth: int = 4, **limits: object) -> Fleet:
    """One backend that takes one request at a time."""
    pool = next(iter(SAMPLE.pools.values()))
    only = replace(pool, backends=(replace(pool.backends[0], max_in_flight=1),))
    classes = {
        "coding": replace(SAMPLE.classes["coding"], slo=Slo(ttft_s=2.0)),
        "chat": replace(SAMPLE.classes["chat"], slo=Slo(ttft_s=4.0)),
    }
    return replace(
        SAMPLE,
        pools={pool.name: only},
        classes=classes,
        shares={},
        routes=(replace(SAMPLE.routes[0], pools=(pool.name,)),),
        limits=replace(SAMPLE.limits, queue_depth=depth, overload_s=3.0, **limits),  # type: ignore[arg-type]
        commitments={},
        budgets={},
        default_class="chat",
    )


class Clerk:
    """Serves one request after the other, and keeps what became of each."""

    def __init__(self, fleet: Fleet) -> None:
        self.engine = PolicyEngine(fleet, rng.stream(0, "policy"))
        self.live: list[int] = []
        self.served: list[int] = []
        self.rejected: dict[int, Reject] = {}
        self.ended: list[int] = []

    def send(self, now_s: float, event: object) -> list[AnyAction]:
        actions = self.engine.handle(now_s, event)  # type: ignore[arg-type]
        for action in actions:
            if isinstance(action, Dispatch):
                self.live.append(action.attempt_id)
                self.served.append(action.request_id)
            elif isinstance(action, Reject):
                self.rejected[action.request_id] = action
            elif isinstance(action, End):
                self.ended.append(action.request_id)
        return actions

    def arrive(self, now_s: float, number: int, name: str = "chat", tenant: str = "default", held: int = 0) -> None:
        self.send(now_s, Arrived(number, name, 100, tenant, held_bytes=held))

    def finish(self, now_s: float) -> None:
        self.send(now_s, Finished(self.live.pop(0), 100, 100))


def test_a_full_room_turns_away_what_is_worth_least_and_what_takes_more_than_its_share() -> None:
    clerk = Clerk(narrow())
    for number in range(5):
        clerk.arrive(0.0, number)
    assert not clerk.rejected
    clerk.arrive(0.1, 5)
    assert clerk.rejected.pop(5).reason is RejectReason.QUEUE_FULL
    clerk.arrive(0.2, 6, "coding")
    assert list(clerk.rejected) == [4], "the last of those that are worth less"
    clerk.arrive(0.3, 7, tenant="other")
    assert list(clerk.rejected) == [4, 3], "the last of a tenant that has more waiting"
    clerk.finish(1.0)
    assert clerk.served == [0, 6]


def test_what_waits_in_memory_is_bounded() -> None:
    clerk = Clerk(narrow(depth=1000, queue_bytes=1000))
    for number in range(12):
        clerk.arrive(0.0, number, held=100)
    assert list(clerk.rejected) == [11], "ten wait, and one is served"
    assert all(reject.retry_after_s >= 1.0 for reject in clerk.rejected.values())
    clerk.send(0.1, ClientGone(5))
    clerk.arrive(0.2, 12, held=100)
    assert 12 not in clerk.rejected


def test_an_overloaded_class_is_shed_with_the_time_that_its_line_takes() -> None:
    """Two come a second and one is served: after `overload_s` nobody may wait longer than half the SLO."""
    clerk, number = Clerk(narrow(depth=1000)), 0
    for second in range(60):
        for half in range(2):
            number += 1
            clerk.arrive(second + 0.5 * half, number)
        clerk.finish(second + 0.9)
        clerk.send(second + 0.95, TimerFired(QUEUE_TIMER))
    shed = [each for each in clerk.rejected.values() if each.reason is RejectReason.SHED]
    assert len(shed) > 40
    assert all(2.0 < each.retry_after_s < 10.0 for each in shed), "at one a second"
    assert len(clerk.ended) == len(set(clerk.ended))
    assert number - len(clerk.ended) <= 6, "what waits is what can be served in time"


def test_at_overload_the_more_valuable_class_is_served_at_once_and_the_other_is_shed() -> None:
    clerk, number = Clerk(narrow(depth=1000)), 0
    coding: dict[int, float] = {}
    waits: list[float] = []
    for second in range(100):
        for k in range(3):
            number += 1
            if k == 0 and second % 2:
                coding[number] = second + 0.1 * k
            clerk.arrive(second + 0.1 * k, number, "coding" if number in coding else "chat")
        before = len(clerk.served)
        clerk.finish(second + 0.9)
        clerk.send(second + 0.95, TimerFired(QUEUE_TIMER))
        waits += [second + 0.9 - coding[each] for each in clerk.served[before:] if each in coding]
    assert len(waits) >= len(coding) - 1
    assert max(waits) < 2.0, "within its SLO"
    assert not set(coding) & set(clerk.rejected)
    assert sum(each.reason is RejectReason.SHED for each in clerk.rejected.values()) > 100


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from(["coding", "chat"]), st.booleans()), max_size=80))
def test_every_request_ends_once_whatever_is_evicted_shed_or_late(rows: list[tuple[float, str, bool]]) -> None:
    clerk, now_s = Clerk(narrow(depth=5)), 0.0
    for number, (gap_s, name, finishes) in enumerate(rows):
        now_s += gap_s
        clerk.arrive(now_s, number, name, tenant="ab"[number % 2])
        if finishes and clerk.live:
            clerk.finish(now_s)
        clerk.send(now_s, TimerFired(QUEUE_TIMER))
        assert clerk.engine.view().queued <= 5
    while clerk.live:
        clerk.finish(now_s)
    assert sorted(clerk.ended) == list(range(len(rows)))
    assert len(clerk.served) == len(set(clerk.served))
    assert not set(clerk.served) & set(clerk.rejected)
    assert all(each.retry_after_s >= 1.0 for each in clerk.rejected.values())
