"""Where nobody else is left: a pause before the same backend is asked again, and what bounds it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_engine_paths import LIMITS, Driver, broken, fleet_of, only

from headrace.policy import (
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    DispatchReason,
    End,
    Enqueue,
    FailureKind,
    FirstToken,
    Outcome,
    Reject,
    SetTimer,
    TimerFired,
)
from headrace.policy.retry import PASSES
from headrace.policy.timers import BACKOFF_TIMER, EARLY_S, QUEUE_TIMER

PASSING = sorted(PASSES)
LASTING = sorted(set(FailureKind) - PASSES - {FailureKind.OVERLOADED})


def alone(timeout_s: float = 600.0, **limits: float) -> Driver:
    """A fleet of one backend."""
    fleet = fleet_of(1, limits=replace(LIMITS, **limits))  # type: ignore[arg-type]
    classes = {name: replace(each, timeout_s=timeout_s) for name, each in fleet.classes.items()}
    return Driver(replace(fleet, classes=classes))


@pytest.mark.parametrize("kind", PASSING)
def test_a_failure_that_may_pass_is_tried_again_on_the_only_backend_after_a_pause(kind: FailureKind) -> None:
    driver = alone()
    first = only(Dispatch, driver.arrive(1))
    paused = driver.send(AttemptFailed(first.attempt_id, kind))
    assert only(Enqueue, paused).request_id == 1
    assert only(SetTimer, paused).at_s <= LIMITS.backoff_base_s
    again = only(Dispatch, driver.fire(paused))
    assert (again.backend, again.reason) == (first.backend, DispatchReason.RETRY)


@pytest.mark.parametrize("kind", LASTING)
def test_a_failure_that_lasts_is_not(kind: FailureKind) -> None:
    driver = alone()
    first = only(Dispatch, driver.arrive(1))
    only(Reject, driver.send(AttemptFailed(first.attempt_id, kind)))


def test_pauses_end_with_the_tries() -> None:
    driver = alone(breaker_failures=10)
    actions = driver.arrive(1)
    for _ in range(LIMITS.max_attempts - 1):
        actions = driver.fire(driver.send(AttemptFailed(only(Dispatch, actions).attempt_id, FailureKind.RESET)))
    ended = driver.send(AttemptFailed(only(Dispatch, actions).attempt_id, FailureKind.RESET))
    assert only(End, ended).outcome is Outcome.FAILED


def test_a_broken_answer_goes_on_where_it_was_if_there_is_nobody_else() -> None:
    driver = alone()
    first = only(Dispatch, driver.arrive(1))
    driver.send(FirstToken(first.attempt_id))
    again = only(Dispatch, driver.fire(driver.send(broken(first.attempt_id, 7, FailureKind.CUT))))
    assert (again.backend, again.reason) == (first.backend, DispatchReason.RESCUE)


def test_an_open_breaker_is_waited_for_unless_the_request_would_be_too_late() -> None:
    for timeout_s, waits in ((60.0, True), (5.0, False)):
        driver = alone(timeout_s, breaker_failures=1)
        failed = driver.send(AttemptFailed(only(Dispatch, driver.arrive(1)).attempt_id, FailureKind.RESET))
        assert any(isinstance(action, Enqueue) for action in failed) is waits
        if waits:
            assert only(Dispatch, driver.fire(failed)).request_id == 1
            assert driver.now_s >= LIMITS.breaker_cooldown_s


def test_a_client_that_goes_during_the_pause_is_not_tried_for() -> None:
    driver = alone()
    paused = driver.send(AttemptFailed(only(Dispatch, driver.arrive(1)).attempt_id, FailureKind.RESET))
    assert only(End, driver.send(ClientGone(1))).outcome is Outcome.CANCELLED
    assert not driver.fire(paused)


def test_no_retry_is_begun_that_could_not_end_in_time() -> None:
    fleet = fleet_of(2)
    classes = {name: replace(each, timeout_s=5.0) for name, each in fleet.classes.items()}
    driver = Driver(replace(fleet, classes=classes))
    first = only(Dispatch, driver.arrive(1))
    driver.now_s = 4.9
    assert only(End, driver.send(AttemptFailed(first.attempt_id, FailureKind.RESET))).outcome is Outcome.FAILED


def test_a_class_may_have_a_guard_of_its_own_for_the_first_token() -> None:
    fleet = fleet_of(2)
    driver = Driver(
        replace(fleet, classes=fleet.classes | {"chat": replace(fleet.classes["chat"], ttft_timeout_s=1.5)})
    )
    actions = driver.arrive(1)
    late = driver.fire(actions)
    assert driver.now_s == 1.5
    assert only(Cancel, late).attempt_id == only(Dispatch, actions).attempt_id


def test_a_timer_that_fires_a_little_early_is_set_again() -> None:
    """Some event loops count milliseconds: who waited was once never turned away."""
    driver = Driver(fleet_of(1, max_in_flight=1))
    driver.arrive(1)
    due_s = only(SetTimer, driver.arrive(2)).at_s
    driver.now_s = due_s - EARLY_S / 2.0
    assert only(SetTimer, driver.send(TimerFired(QUEUE_TIMER))).at_s == due_s
    driver.now_s = due_s
    assert only(Reject, driver.send(TimerFired(QUEUE_TIMER))).request_id == 2


def test_pauses_are_spread_over_all_of_their_range() -> None:
    driver = Driver(fleet_of(1, max_in_flight=100, limits=replace(LIMITS, breaker_failures=1000, retry_burst=100)))
    at_s = []
    for request_id in range(50):
        dispatch = only(Dispatch, driver.arrive(request_id))
        driver.send(AttemptFailed(dispatch.attempt_id, FailureKind.RESET))
        at_s.append(driver.engine._requests._backoff.next_s() or 0.0)
        driver.send(ClientGone(request_id))
    parts = sorted(at / LIMITS.backoff_base_s for at in at_s)
    assert parts[0] < 0.2 < 0.8 < parts[-1] <= 1.0
    assert driver.engine._timers.due_s(BACKOFF_TIMER) == min(at_s)
