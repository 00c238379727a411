"""The engine's paths, one by one: failing over, breaking, waiting, timing out, draining."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from headrace import rng
from headrace.config import load_fleet
from headrace.fleet import Fleet, Limits, Share, ShareUnit
from headrace.policy import (
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
    FleetChanged,
    Outcome,
    PolicyEngine,
    Reject,
    RejectReason,
    SetTimer,
    TimerFired,
)
from headrace.policy.timers import WAKE_TIMER

Kind = TypeVar("Kind")
SAMPLE = load_fleet()
LIMITS = Limits(
    hedge_budget=0.0,
    first_byte_timeout_s=5.0,
    answer_timeout_s=50.0,
    queue_timeout_s=3.0,
    breaker_failures=2,
    breaker_cooldown_s=10.0,
)


def fleet_of(backends: int, max_in_flight: int = 8, limits: Limits = LIMITS) -> Fleet:
    """One pool of equal backends b0, b1, ... and no share."""
    pool = SAMPLE.pools["h100"]
    members = tuple(
        replace(pool.backends[0], name=f"b{i}", url=f"http://127.0.0.1:{i + 1}", max_in_flight=max_in_flight)
        for i in range(backends)
    )
    route = replace(SAMPLE.routes[0], pools=("h100",))
    return replace(SAMPLE, pools={"h100": replace(pool, backends=members)}, shares={}, routes=(route,), limits=limits)


def two_pools(fleet: Fleet) -> Fleet:
    """The same with a second pool of one backend, `o`."""
    pool = fleet.pools["h100"]
    other = replace(pool, name="other", backends=(replace(pool.backends[0], name="o", pool="other"),))
    route = replace(fleet.routes[0], pools=("h100", "other"))
    return replace(fleet, pools=fleet.pools | {"other": other}, routes=(route,))


class Driver:
    """An engine, its clock, and the actions of one kind."""

    def __init__(self, fleet: Fleet) -> None:
        self.engine = PolicyEngine(fleet, rng.stream(0, "policy"))
        self.now_s = 0.0

    def send(self, event: AnyEvent) -> list[AnyAction]:
        return self.engine.handle(self.now_s, event)

    def arrive(self, request_id: int, streamed: bool = True) -> list[AnyAction]:
        return self.send(Arrived(request_id, "chat", 100, streamed=streamed))

    def fire(self, actions: list[AnyAction]) -> list[AnyAction]:
        """Let the timer that `actions` ask for fire at its time."""
        timer = only(SetTimer, actions)
        self.now_s = timer.at_s
        return self.send(TimerFired(timer.timer_id))


def only(kind: type[Kind], actions: list[AnyAction]) -> Kind:
    found = [action for action in actions if isinstance(action, kind)]
    assert len(found) == 1, actions
    return found[0]


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.UNFIT])
def test_what_fails_before_the_first_byte_is_tried_elsewhere(kind: FailureKind) -> None:
    driver = Driver(fleet_of(2))
    first = only(Dispatch, driver.arrive(1))
    second = only(Dispatch, driver.send(AttemptFailed(first.attempt_id, kind)))
    assert second.backend != first.backend
    assert second.attempt_id != first.attempt_id


def test_a_request_that_is_too_much_for_a_pool_goes_to_another_and_nobody_is_ill() -> None:
    driver = Driver(two_pools(fleet_of(2)))
    for request_id in range(LIMITS.breaker_failures + 1):
        first = only(Dispatch, driver.send(Arrived(request_id, "chat", 100, unfit=("o",))))
        assert first.backend in ("b0", "b1")
        refused = driver.send(AttemptFailed(first.attempt_id, FailureKind.UNFIT))
        assert only(Reject, refused).reason is RejectReason.UNFIT, "the other of its pool would refuse it too"
    first = only(Dispatch, driver.arrive(99))
    if first.backend != "o":
        assert only(Dispatch, driver.send(AttemptFailed(first.attempt_id, FailureKind.UNFIT))).backend == "o"
    assert {view.breaker for view in driver.engine.view().backends} == {"closed"}


def test_a_request_for_which_all_that_fits_is_down_may_come_again() -> None:
    driver = Driver(fleet_of(2))
    first = only(Dispatch, driver.send(Arrived(1, "chat", 100, unfit=("b1",))))
    assert first.backend == "b0"
    refused = only(Reject, driver.send(AttemptFailed(first.attempt_id, FailureKind.TIMEOUT)))
    assert refused.reason is RejectReason.NO_BACKEND
    assert only(Reject, driver.send(Arrived(2, "chat", 100, unfit=("b0", "b1")))).reason is RejectReason.UNFIT


def test_what_fails_after_the_first_byte_is_not() -> None:
    driver = Driver(fleet_of(2))
    first = only(Dispatch, driver.arrive(1))
    driver.send(FirstToken(first.attempt_id))
    actions = driver.send(AttemptFailed(first.attempt_id, FailureKind.RESET, committed=True))
    assert only(End, actions).request_id == 1
    assert not any(isinstance(action, Dispatch) for action in actions)


def test_what_the_client_has_of_an_answer_is_gone_on_from_elsewhere() -> None:
    driver = Driver(fleet_of(3))
    first = only(Dispatch, driver.arrive(1))
    driver.send(FirstToken(first.attempt_id))
    slow = AttemptFailed(first.attempt_id, FailureKind.SLOW, True, output_tokens=5, resumable=True, unfit=("b1",))
    second = only(Dispatch, driver.send(slow))
    assert (first.reason, second.reason) == (DispatchReason.FIRST, DispatchReason.RESCUE)
    assert second.backend not in (first.backend, "b1")
    assert second.expected_output_tokens == first.expected_output_tokens - 5.0
    actions = driver.send(broken(second.attempt_id, 1, FailureKind.TIMEOUT))
    assert only(End, actions).outcome is Outcome.FAILED
    assert not any(isinstance(action, Reject) for action in actions), "nothing can be said to who has a part"


def broken(attempt_id: int, output_tokens: int, kind: FailureKind = FailureKind.RESET) -> AttemptFailed:
    """An attempt that broke off after so many tokens, which the client has."""
    return AttemptFailed(attempt_id, kind, True, output_tokens=output_tokens, resumable=True)


def test_where_rescue_is_off_a_broken_answer_has_failed() -> None:
    driver = Driver(fleet_of(2, limits=replace(LIMITS, rescue=False)))
    first = only(Dispatch, driver.arrive(1))
    driver.send(FirstToken(first.attempt_id))
    actions = driver.send(broken(first.attempt_id, 5))
    assert only(End, actions).outcome is Outcome.FAILED
    assert not any(isinstance(action, Dispatch | Reject) for action in actions)


def test_the_length_of_a_rescued_answer_is_learnt_as_a_whole_and_for_the_input_that_came() -> None:
    predicted = []
    for breaks in (False, True):
        driver = Driver(fleet_of(2))
        for request_id in range(1, 9):
            attempt_id, left = only(Dispatch, driver.arrive(request_id)).attempt_id, 700
            if breaks:
                driver.send(FirstToken(attempt_id))
                attempt_id, left = only(Dispatch, driver.send(broken(attempt_id, 600))).attempt_id, 100
            driver.send(Finished(attempt_id, 100, left))
        predicted.append(only(Dispatch, driver.arrive(99)).expected_output_tokens)
    assert predicted[0] == predicted[1]


def test_books_count_of_a_rescued_answer_what_each_attempt_used_itself() -> None:
    fleet = two_pools(fleet_of(1))
    share = Share("h100s", ("h100",), 0.5, ShareUnit.OUTPUT_TOKENS, report_only=True)
    driver = Driver(replace(fleet, shares={"h100s": share}))
    driver.send(FleetChanged(("o",)))
    first = only(Dispatch, driver.arrive(1))
    driver.send(FirstToken(first.attempt_id))
    driver.send(FleetChanged(()))
    second = only(Dispatch, driver.send(broken(first.attempt_id, 30)))
    assert (first.backend, second.backend) == ("b0", "o")
    driver.send(Finished(second.attempt_id, 130, 70))
    assert driver.engine.view().shares[0].realized == pytest.approx(0.3)


def test_who_waits_for_a_rescuer_waits_no_longer_than_its_class_and_gets_no_reject() -> None:
    fleet = fleet_of(2, max_in_flight=1)
    classes = {name: replace(each, timeout_s=2.0) for name, each in fleet.classes.items()}
    driver = Driver(replace(fleet, classes=classes))
    first, second = (only(Dispatch, driver.arrive(i)) for i in (1, 2))
    driver.send(FirstToken(first.attempt_id))
    waits = driver.send(broken(first.attempt_id, 5))
    assert only(Enqueue, waits).request_id == 1
    assert second.backend != first.backend
    ended = driver.fire(waits)
    assert driver.now_s == 2.0
    assert only(End, ended).outcome is Outcome.FAILED
    assert not any(isinstance(action, Reject) for action in ended)


def test_a_backend_that_failed_twice_is_left_alone_and_then_probed_with_one_request() -> None:
    driver = Driver(fleet_of(2))
    for request_id in (1, 2):
        for action in (driver.arrive(request_id), driver.arrive(request_id + 10)):
            attempt = only(Dispatch, action)
            failed = attempt.backend == "b0"
            ended = AttemptFailed(attempt.attempt_id, FailureKind.RESET) if failed else Finished(attempt.attempt_id)
            again = [a for a in driver.send(ended) if isinstance(a, Dispatch)]
            for attempt in again:
                driver.send(Finished(attempt.attempt_id, 100, 10))
    states = {view.name: view.breaker for view in driver.engine.view().backends}
    assert states == {"b0": "open", "b1": "closed"}
    assert {only(Dispatch, driver.arrive(100 + i)).backend for i in range(4)} == {"b1"}
    driver.now_s += LIMITS.breaker_cooldown_s + 0.1
    asked = [only(Dispatch, driver.arrive(200 + i)).backend for i in range(3)]
    assert asked.count("b0") == 1


def test_a_stream_without_a_first_byte_in_time_is_cancelled_and_tried_elsewhere() -> None:
    driver = Driver(fleet_of(2))
    actions = driver.arrive(1)
    late = driver.fire(actions)
    assert driver.now_s == LIMITS.first_byte_timeout_s
    assert only(Cancel, late).attempt_id == only(Dispatch, actions).attempt_id
    assert only(Dispatch, late).backend != only(Dispatch, actions).backend


def test_a_first_byte_in_time_ends_that_guard() -> None:
    driver = Driver(fleet_of(2))
    actions = driver.arrive(1)
    driver.now_s = 1.0
    driver.send(FirstToken(only(Dispatch, actions).attempt_id))
    assert not [action for action in driver.fire(actions) if isinstance(action, Cancel | Dispatch)]


def test_an_answer_that_comes_whole_may_take_longer_than_a_first_byte() -> None:
    driver = Driver(fleet_of(2))
    actions = driver.arrive(1, streamed=False)
    late = driver.fire(actions)
    assert driver.now_s == LIMITS.answer_timeout_s
    assert only(Cancel, late).attempt_id == only(Dispatch, actions).attempt_id


def test_a_long_answer_does_not_hide_the_guard_of_a_stream_behind_it() -> None:
    driver = Driver(fleet_of(2))
    driver.arrive(1, streamed=False)
    stream = driver.arrive(2)
    late = driver.fire(stream)
    assert driver.now_s == LIMITS.first_byte_timeout_s
    assert only(Cancel, late).attempt_id == only(Dispatch, stream).attempt_id


def test_a_full_fleet_queues_in_order_and_serves_as_room_appears() -> None:
    driver = Driver(fleet_of(1, max_in_flight=1))
    first = only(Dispatch, driver.arrive(1))
    assert [only(Enqueue, driver.arrive(i)).request_id for i in (2, 3)] == [2, 3]
    second = only(Dispatch, driver.send(Finished(first.attempt_id, 100, 10)))
    assert second.request_id == 2


def test_who_waits_too_long_is_told_when_to_come_back() -> None:
    driver = Driver(fleet_of(1, max_in_flight=1))
    driver.arrive(1)
    rejected = only(Reject, driver.fire(driver.arrive(2)))
    assert rejected.request_id == 2
    assert rejected.retry_after_s >= 1.0


def test_a_drained_backend_finishes_and_takes_no_more() -> None:
    driver = Driver(fleet_of(2))
    driver.send(FleetChanged(("b0",)))
    assert {only(Dispatch, driver.arrive(i)).backend for i in range(4)} == {"b1"}
    driver.send(FleetChanged(()))
    assert {only(Dispatch, driver.arrive(10 + i)).backend for i in range(4)} == {"b0"}, "it is the emptier one"


def test_with_every_backend_tried_the_request_has_failed() -> None:
    driver = Driver(fleet_of(2))
    actions = driver.arrive(1)
    for _ in range(2):
        actions = driver.send(AttemptFailed(only(Dispatch, actions).attempt_id, FailureKind.MISCONFIGURED))
    assert only(Reject, actions).retry_after_s >= 1.0


def test_who_waits_is_served_when_a_pause_ends_though_nothing_else_happens() -> None:
    """The queue once slept until its timeout beside an idle backend."""
    driver = Driver(fleet_of(1, max_in_flight=1))
    first = only(Dispatch, driver.arrive(1))
    waits = driver.arrive(2)
    assert only(Enqueue, waits).request_id == 2
    driver.now_s = 0.2
    paused = driver.send(AttemptFailed(first.attempt_id, FailureKind.OVERLOADED, retry_after_s=1.0))
    woken = [action for action in paused if isinstance(action, SetTimer) and action.at_s == pytest.approx(1.2)]
    assert woken, paused
    driver.now_s = woken[0].at_s
    assert only(Dispatch, driver.send(TimerFired(woken[0].timer_id))).request_id == 1, "who came first goes first"


def test_who_comes_during_a_pause_waits_for_its_end_only() -> None:
    driver = Driver(fleet_of(2, max_in_flight=1))
    for request_id in (1, 2):
        driver.arrive(request_id)
    driver.send(AttemptFailed(1, FailureKind.OVERLOADED, retry_after_s=2.0))
    driver.now_s = 0.5
    actions = driver.arrive(3)
    times = [action.at_s for action in actions if isinstance(action, SetTimer)]
    assert only(Enqueue, actions).request_id == 3
    assert all(at_s <= driver.now_s + LIMITS.queue_timeout_s for at_s in times)
    driver.now_s = 2.0
    assert any(isinstance(action, Dispatch) for action in driver.send(TimerFired(WAKE_TIMER)))


def test_deadlines_of_what_has_ended_do_not_pile_up() -> None:
    driver = Driver(fleet_of(1))
    for request_id in range(500):
        dispatch = only(Dispatch, driver.arrive(request_id, streamed=False))
        driver.send(Finished(dispatch.attempt_id, 100, 10))
    assert sum(map(len, driver.engine._timers.deadlines.values())) <= 1
