"""Hedges: when a second attempt is made, who wins, what it may cost."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from test_engine_paths import LIMITS, Driver, broken, fleet_of, only, two_pools

from headrace.fleet import Fleet, Hourly
from headrace.policy import (
    AnyAction,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    DispatchReason,
    End,
    FailureKind,
    Finished,
    FirstToken,
    Outcome,
    SetTimer,
    TimerFired,
)
from headrace.policy.lateness import FIRST_FACTOR, Lateness
from headrace.policy.timers import HEDGE_TIMER

PATIENT = replace(LIMITS, first_byte_timeout_s=1000.0, hedge_budget=1.0, retry_burst=0, retry_budget=0.0)


def hedging(
    backends: int = 2, budget: float = 1.0, value: float = 1.0, fleet: Fleet | None = None, retry_burst: int = 0
) -> Driver:
    """A fleet whose requests are in a hurry."""
    fleet = fleet or fleet_of(backends)
    classes = {name: replace(each, value_of_time_usd_per_s=value) for name, each in fleet.classes.items()}
    return Driver(
        replace(fleet, classes=classes, limits=replace(PATIENT, hedge_budget=budget, retry_burst=retry_burst))
    )


def overdue(driver: Driver, actions: list[AnyAction]) -> list[AnyAction]:
    """Let the timer for late attempts fire."""
    (timer,) = [each for each in actions if isinstance(each, SetTimer) and each.timer_id == HEDGE_TIMER]
    driver.now_s = timer.at_s
    return driver.send(TimerFired(HEDGE_TIMER))


def both(driver: Driver) -> tuple[Dispatch, Dispatch]:
    """A request and its hedge."""
    actions = driver.arrive(1)
    return only(Dispatch, actions), only(Dispatch, overdue(driver, actions))


def test_a_late_first_token_brings_a_second_attempt_on_other_silicon() -> None:
    first, second = both(hedging(fleet=two_pools(fleet_of(2))))
    assert (first.reason, second.reason) == (DispatchReason.FIRST, DispatchReason.HEDGE)
    assert {first.backend[0], second.backend[0]} == {"b", "o"}, "though a backend of the first pool is free"


@pytest.mark.parametrize("wins", [0, 1])
def test_the_first_to_answer_wins_and_the_other_is_cancelled(wins: int) -> None:
    for event in (FirstToken, Finished):
        driver = hedging()
        attempts = both(driver)
        won, lost = attempts[wins], attempts[1 - wins]
        actions = driver.send(event(won.attempt_id))
        assert only(Cancel, actions).attempt_id == lost.attempt_id
        assert not driver.send(FirstToken(lost.attempt_id)), "it is over"
        if event is FirstToken:
            actions = driver.send(Finished(won.attempt_id, 100, 10))
        assert only(End, actions).outcome is Outcome.COMPLETED
        assert sum(view.in_flight for view in driver.engine.view().backends) == 0


@pytest.mark.parametrize("fails", [0, 1])
def test_while_one_attempt_lives_the_request_has_not_failed(fails: int) -> None:
    driver = hedging()
    attempts = both(driver)
    assert not driver.send(AttemptFailed(attempts[fails].attempt_id, FailureKind.RESET))
    ended = driver.send(Finished(attempts[1 - fails].attempt_id, 100, 10))
    assert only(End, ended).outcome is Outcome.COMPLETED


def test_a_client_that_goes_ends_both() -> None:
    driver = hedging()
    attempts = both(driver)
    actions = driver.send(ClientGone(1))
    assert {a.attempt_id for a in actions if isinstance(a, Cancel)} == {each.attempt_id for each in attempts}
    assert only(End, actions).outcome is Outcome.CANCELLED


def test_a_winner_that_breaks_off_is_rescued() -> None:
    driver = hedging(3, retry_burst=10)
    _, second = both(driver)
    driver.send(FirstToken(second.attempt_id))
    again = only(Dispatch, driver.send(broken(second.attempt_id, 3)))
    assert again.reason is DispatchReason.RESCUE


def test_what_answers_in_time_is_not_hedged() -> None:
    driver = hedging()
    actions = driver.arrive(1)
    driver.now_s = 1e-6
    driver.send(FirstToken(only(Dispatch, actions).attempt_id))
    assert not overdue(driver, actions)


@pytest.mark.parametrize("budget", [0.0, 1e-9])
def test_without_a_budget_there_is_no_hedge(budget: float) -> None:
    driver = hedging(budget=budget)
    actions = driver.arrive(1)
    if not budget:
        assert HEDGE_TIMER not in {a.timer_id for a in actions if isinstance(a, SetTimer)}
    else:
        assert not [a for a in overdue(driver, actions) if isinstance(a, Dispatch)]


def test_who_is_in_no_hurry_is_not_hedged() -> None:
    driver = hedging(value=1e-12)
    assert not [a for a in overdue(driver, driver.arrive(1)) if isinstance(a, Dispatch)]


def test_a_fleet_of_one_backend_sets_no_timer_for_hedges() -> None:
    actions = hedging(1).arrive(1)
    assert HEDGE_TIMER not in {a.timer_id for a in actions if isinstance(a, SetTimer)}


def test_where_everything_is_free_the_budget_is_of_time() -> None:
    fleet = fleet_of(2)
    pool = replace(fleet.pools["h100"], price=Hourly(0.0, 0.0))
    free = replace(fleet, pools={"h100": pool})
    assert both(hedging(fleet=free))[1].reason is DispatchReason.HEDGE
    driver = hedging(fleet=free, budget=1e-6)
    assert not [a for a in overdue(driver, driver.arrive(1)) if isinstance(a, Dispatch)]


def test_hedges_of_a_storm_stay_within_their_budget() -> None:
    """Nothing answers: of all prompts in vain, and of what is written dearer, no more than a tenth of all cost."""
    driver = hedging(3, budget=0.1)
    spent, hedged, timers = 0.0, 0.0, []
    for request_id in range(300):
        driver.now_s += 0.05
        actions = driver.send(Arrived(request_id, "chat", 2000))
        due = [timer for timer in timers if timer.at_s <= driver.now_s]
        timers = [timer for timer in timers if timer.at_s > driver.now_s]
        for timer in due:
            actions += driver.send(TimerFired(timer.timer_id))
        timers += [a for a in actions if isinstance(a, SetTimer)]
        for dispatch in (a for a in actions if isinstance(a, Dispatch)):
            backend = next(b for b in driver.engine._backends if b.name == dispatch.backend)
            if dispatch.reason is DispatchReason.HEDGE:
                hedged += backend.cost_usd(2000, 0.0)
            else:
                spent += dispatch.cost_usd
            if request_id % 2:
                driver.send(FirstToken(dispatch.attempt_id))
        for gone in range(max(request_id - 20, 0), request_id - 10):
            driver.send(ClientGone(gone))
        assert hedged <= 0.1 * spent
    assert hedged > 0.0


def test_the_factor_settles_where_so_many_are_later() -> None:
    lateness = Lateness(0.9)
    ratios = [0.5 + 0.1 * ((7 * k) % 20) for k in range(20)]  # 0.5 to 2.4, evenly
    late = 0
    for k in range(4000):
        late += k >= 2000 and ratios[k % 20] > lateness.factor
        lateness.observe(1.0, ratios[k % 20])
    assert late / 2000 == pytest.approx(0.1, abs=0.02)
    assert 0.0 < lateness.excess < 0.2


def test_before_anything_is_seen_only_what_takes_very_long_is_late() -> None:
    driver = hedging()
    actions = driver.arrive(1)
    (attempt,) = driver.engine._attempts.live.values()
    (timer,) = [each for each in actions if isinstance(each, SetTimer) and each.timer_id == HEDGE_TIMER]
    assert timer.at_s == pytest.approx(FIRST_FACTOR * attempt.ttft_s)
    assert driver.engine._timers.due_s(HEDGE_TIMER) < inf
