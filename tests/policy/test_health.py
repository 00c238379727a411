"""Outliers of a pool, recovery, and vendors that fail as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_engine_paths import LIMITS, Driver, broken, fleet_of, only, two_pools

from headrace.fleet import Fleet
from headrace.policy import Arrived, AttemptFailed, Dispatch, FailureKind, Finished, FirstToken

PATIENT = replace(LIMITS, breaker_failures=100, retry_budget=1.0, retry_burst=1000, first_byte_timeout_s=1000.0)


def breakers(driver: Driver) -> dict[str, str]:
    return {view.name: view.breaker for view in driver.engine.view().backends}


def serve(driver: Driver, rounds: int, ill: dict[str, int], slow: dict[str, float] | None = None) -> None:
    """Requests, one after the other; every n-th of those on an `ill` backend fails, a `slow` one's tokens come late."""
    asked: dict[str, int] = {}
    for request_id in range(rounds):
        attempts = [only(Dispatch, driver.send(Arrived(1000 + request_id, "chat", 100)))]
        while attempts:
            attempt = attempts.pop()
            name = attempt.backend
            asked[name] = asked.get(name, 0) + 1
            if name in ill and asked[name] % ill[name] == 0:
                failed = driver.send(AttemptFailed(attempt.attempt_id, FailureKind.SERVER_ERROR))
                attempts = [action for action in failed if isinstance(action, Dispatch)]
                continue
            driver.now_s += (slow or {}).get(name, 0.03)
            driver.send(FirstToken(attempt.attempt_id))
            driver.now_s += 0.01
            driver.send(Finished(attempt.attempt_id, 100, 10))


def ill_pool(backends: int, **limits: float) -> Driver:
    fleet = fleet_of(backends, limits=replace(PATIENT, **limits))  # type: ignore[arg-type]
    return Driver(replace(fleet, policy="prices"))


def test_a_backend_that_fails_often_but_never_in_a_row_is_ejected() -> None:
    driver = ill_pool(3)
    for round_ in range(40):
        driver.send(Arrived(round_, "chat", 100))
    ended = 0
    while breakers(driver)["b0"] == "closed" and ended < 200:
        for attempt in list(driver.engine._attempts.live.values()):
            if attempt.backend.name == "b0" and ended % 2:
                driver.send(AttemptFailed(attempt.attempt_id, FailureKind.SERVER_ERROR))
            else:
                driver.send(Finished(attempt.attempt_id, 100, 10))
            ended += 1
        driver.now_s += 0.1
        for k in range(12):
            driver.send(Arrived(10_000 + 100 * ended + k, "chat", 100))
    assert breakers(driver) == {"b0": "open", "b1": "closed", "b2": "closed"}


def test_where_all_fail_nobody_is_an_outlier() -> None:
    driver = ill_pool(3)
    serve(driver, 150, dict.fromkeys(("b0", "b1", "b2"), 2))
    assert set(breakers(driver).values()) == {"closed"}


def test_a_backend_far_slower_than_its_pool_is_ejected_and_comes_back_when_it_is_well() -> None:
    driver = ill_pool(3, hedge_budget=0.0)
    slow = next(b for b in driver.engine._backends if b.name == "b0")
    attempts = []
    for k in range(3):
        attempts.append(only(Dispatch, driver.send(Arrived(k, "chat", 100))))
    late = next(each for each in attempts if each.backend == "b0")
    slow.ttft_factor = 4.2
    driver.now_s = 100.0
    driver.send(FirstToken(late.attempt_id))
    assert breakers(driver)["b0"] == "open"
    driver.now_s += LIMITS.breaker_cooldown_s
    slow.ttft_factor = 0.5  # so that it is the cheapest, and probed
    for k in range(3, 6):
        probe = only(Dispatch, driver.send(Arrived(k, "chat", 100)))
        if probe.backend == "b0":
            break
    (predicted,) = [a.ttft_s for a in driver.engine._attempts.live.values() if a.attempt_id == probe.attempt_id]
    driver.now_s += 2.0 * predicted
    driver.send(FirstToken(probe.attempt_id))
    assert breakers(driver)["b0"] == "closed"
    assert slow.ttft_factor == pytest.approx(1.0), "what its probe saw counts, not what was before"


def test_a_pool_keeps_half_of_its_members() -> None:
    driver = ill_pool(2)
    first, second = (b for b in driver.engine._backends)
    for ill in (first, second):
        ill.failure_rate = 0.6
        other = second if ill is first else first
        other.failure_rate = 0.001
        attempt = None
        while attempt is None or attempt.backend != ill.name:
            attempt = only(Dispatch, driver.send(Arrived(driver.engine.requests_live + 1, "chat", 100)))
        driver.send(AttemptFailed(attempt.attempt_id, FailureKind.RESET))
        if ill is first:
            assert breakers(driver)[ill.name] == "open"
            driver.now_s += 0.1
    assert breakers(driver) == {first.name: "open", second.name: "closed"}


def test_a_breaker_that_closes_lets_two_come_first() -> None:
    driver = Driver(fleet_of(1, limits=replace(LIMITS, breaker_failures=1, max_attempts=1)))
    driver.send(AttemptFailed(only(Dispatch, driver.arrive(1)).attempt_id, FailureKind.RESET))
    driver.now_s += LIMITS.breaker_cooldown_s
    probe = only(Dispatch, driver.arrive(2))
    driver.send(FirstToken(probe.attempt_id))
    came = [a for k in range(3, 9) for a in driver.arrive(k) if isinstance(a, Dispatch)]
    assert len(came) == 2
    came = [a for a in driver.send(FirstToken(came[0].attempt_id)) if isinstance(a, Dispatch)]
    assert len(came) == 3, "four may wait now, and one does"


def vendors(breaker_failures: int = 1) -> Fleet:
    """Two pools of one vendor, with three backends, and one of another."""
    fleet = two_pools(fleet_of(3, limits=replace(PATIENT, breaker_failures=breaker_failures)))
    far = replace(fleet.pools["other"], domain="elsewhere")
    return replace(fleet, pools=fleet.pools | {"other": far})


def break_(driver: Driver, names: set[str], first_id: int = 100) -> None:
    for request_id in range(first_id, first_id + 100):
        attempt = only(Dispatch, driver.arrive(request_id))
        if attempt.backend in names:
            driver.send(AttemptFailed(attempt.attempt_id, FailureKind.MISCONFIGURED))
            names = names - {attempt.backend}
        if not names:
            return


def test_when_most_of_a_vendor_break_the_others_are_asked_one_at_a_time() -> None:
    driver = Driver(vendors())
    break_(driver, {"b0"})
    assert not driver.engine._health.suspects
    break_(driver, {"b1"}, 200)
    assert driver.engine._health.suspects == 0b111
    third = next(b for b in driver.engine._backends if b.name == "b2")
    assert third.breaker.window == 1
    o = next(b for b in driver.engine._backends if b.name == "o")
    assert not o.breaker.window, "it is not theirs"


def test_breaks_far_apart_are_no_loss_of_a_vendor() -> None:
    driver = Driver(vendors())
    break_(driver, {"b0"})
    driver.now_s += LIMITS.domain_window_s + 0.1
    break_(driver, {"b1"}, 200)
    assert not driver.engine._health.suspects


def test_a_rescue_rather_goes_to_another_vendor() -> None:
    driver = Driver(vendors(breaker_failures=10))
    o = next(b for b in driver.engine._backends if b.name == "o")
    o.failure_rate = 0.5  # dear
    first = only(Dispatch, driver.arrive(1))
    assert first.backend != "o"
    driver.send(FirstToken(first.attempt_id))
    assert only(Dispatch, driver.send(broken(first.attempt_id, 3))).backend == "o"


def test_a_retry_goes_where_it_is_cheapest_unless_the_vendor_is_suspect() -> None:
    for suspect in (False, True):
        driver = Driver(vendors(breaker_failures=10))
        driver.engine._health.suspects = 0b111 if suspect else 0
        o = next(b for b in driver.engine._backends if b.name == "o")
        o.failure_rate = 0.5
        first = only(Dispatch, driver.arrive(1))
        second = only(Dispatch, driver.send(AttemptFailed(first.attempt_id, FailureKind.RESET)))
        assert (second.backend == "o") is suspect
