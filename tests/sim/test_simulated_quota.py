"""A provider's rate limits in a simulation."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from sim_rig import one_pool_fleet

from headrace.fleet import Fleet, OperatingPoint, Quota
from headrace.policy import (
    AnyAction,
    AnyEvent,
    AttemptFailed,
    Dispatch,
    End,
    FailureKind,
    Finished,
    Reject,
    RejectReason,
)
from headrace.sim import SimulationResult, simulate
from headrace.workload import Request


def with_quota(quota: Quota | None, reserved: bool = False) -> Fleet:
    """A service with this quota, which the policy engine knows only if it is reserved."""
    fleet = one_pool_fleet(point=OperatingPoint(0.1, 1e4, 0.001), max_in_flight=100)
    service, pool = replace(fleet.deployments["d"], quota=quota), fleet.pools["p"]
    limits = replace(fleet.limits, reserve_quota=reserved)
    pools = {"p": replace(pool, deployment=service)}
    return replace(fleet, deployments={"d": service}, pools=pools, limits=limits)


def seven_at_once() -> list[Request]:
    """Seven requests at once, which ask for 1,000 tokens each, and one twelve seconds later."""
    arrivals_s = [number * 0.01 for number in range(7)] + [12.0]
    return [Request(at_s, "chat", 100, 50, max_output_tokens=900) for at_s in arrivals_s]


def run(quota: Quota | None) -> tuple[SimulationResult, list[AttemptFailed]]:
    """What became of them, and who was turned away."""
    failures: list[AttemptFailed] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if isinstance(event, AttemptFailed):
            failures.append(event)

    return simulate(with_quota(quota), iter(seven_at_once()), on_step=note), failures


def test_who_was_turned_away_waits_for_the_time_it_was_told_and_goes() -> None:
    """Six fit; the seventh does after ten seconds, and what the eighth asks for is there ten seconds later."""
    result, failures = run(Quota(tokens_per_minute=6000, true_up=False))
    assert {failure.kind for failure in failures} == {FailureKind.OVERLOADED}
    assert failures[0].retry_after_s == pytest.approx(10.0 - 0.06)
    assert failures[1].retry_after_s == pytest.approx(8.0)
    outcomes = result.metrics.classes["chat"].outcomes
    assert (outcomes["completed"], outcomes["failed"]) == (8, 0)
    assert result.metrics.pools["p"].requests == 8 + len(failures)


def test_a_time_beyond_the_deadline_is_passed_on_at_once() -> None:
    rejections: list[tuple[float, Reject]] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        rejections.extend((now_s, action) for action in actions if isinstance(action, Reject))

    fleet = with_quota(Quota(tokens_per_minute=6000, true_up=False))
    hurried = replace(fleet, classes={"chat": replace(fleet.classes["chat"], timeout_s=5.0)})
    result = simulate(hurried, iter(seven_at_once()), on_step=note)
    (at_s, rejection), *more = rejections
    assert (rejection.reason, at_s) == (RejectReason.NO_BACKEND, pytest.approx(0.06))
    assert rejection.retry_after_s == pytest.approx(10.0 - 0.06)
    assert not more, "the eighth comes when there is enough"
    outcomes = result.metrics.classes["chat"].outcomes
    assert (outcomes["completed"], outcomes["rejected"]) == (7, 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_rush_is_served_at_the_pace_of_the_quota_first_come_first_served(workers: int) -> None:
    """Twenty at once, two a second: nobody fails, however often several workers tell each other's backend apart."""
    ends: list[int] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        ends.extend(action.request_id for action in actions if isinstance(action, End))

    requests = [Request(0.001 * number, "chat", 10, 5, max_output_tokens=5) for number in range(20)]
    result = simulate(with_quota(Quota(requests_per_minute=5)), iter(requests), on_step=note, workers=workers)
    assert result.metrics.classes["chat"].outcomes["completed"] == 20
    assert result.end_s > 60.0 * (20 - 5) / 5 - 1.0
    if workers == 1:
        assert ends == sorted(ends)


def test_a_full_provider_says_try_again_and_one_without_limits_says_nothing() -> None:
    _, failures = run(Quota(max_in_flight=6))
    assert [(failure.kind, failure.retry_after_s) for failure in failures] == [(FailureKind.OVERLOADED, 1.0)]
    result, failures = run(None)
    assert (failures, result.metrics.classes["chat"].outcomes["completed"]) == ([], 8)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("dialect", ["cerebras", "groq"])
def test_a_quota_that_is_reserved_is_used_up_and_says_no_429(dialect: str, workers: int) -> None:
    """More comes than there is quota for: who waits for a 429 hears one for every second request that it sends.

    Four engines share the quota by what they tell each other.
    """

    def shares_of_429(reserved: bool) -> tuple[float, float]:
        fleet = with_quota(Quota(tokens_per_minute=60_000), reserved)
        members = tuple(replace(each, dialect=dialect, emulated=True) for each in fleet.pools["p"].backends)
        fleet = replace(fleet, pools={"p": replace(fleet.pools["p"], backends=members)})
        sent, refused, used = 0, 0, 0

        def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
            nonlocal sent, refused, used
            sent += sum(isinstance(action, Dispatch) for action in actions)
            refused += isinstance(event, AttemptFailed)
            if isinstance(event, Finished) and now_s <= 600.0:
                used += (event.input_tokens or 0) + (event.output_tokens or 0)

        chance = Random(0)
        rows = [(chance.uniform(0.0, 600.0), chance.randint(50, 1500), chance.randint(10, 800)) for _ in range(600)]
        requests = [Request(at_s, "chat", i, o, max_output_tokens=2000) for at_s, i, o in sorted(rows)]
        simulate(fleet, iter(requests), on_step=note, workers=workers)
        return refused / sent, used / 600_000

    (reserved, used), (reactive, _) = shares_of_429(True), shares_of_429(False)
    assert used > 0.95
    assert reserved <= 0.005
    assert reactive >= 0.05
