"""A provider's rate limits in a simulation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_rig import one_pool_fleet

from headrace.fleet import Fleet, OperatingPoint, Quota
from headrace.policy import AnyAction, AnyEvent, AttemptFailed, FailureKind
from headrace.sim import SimulationResult, simulate
from headrace.workload import Request


def with_quota(quota: Quota | None) -> Fleet:
    fleet = one_pool_fleet(point=OperatingPoint(0.1, 1e4, 0.001), max_in_flight=100)
    service = replace(fleet.deployments["d"], quota=quota)
    return replace(fleet, deployments={"d": service}, pools={"p": replace(fleet.pools["p"], deployment=service)})


def run(quota: Quota | None) -> tuple[SimulationResult, list[AttemptFailed]]:
    """Seven requests at once, which ask for 1,000 tokens each, and one twelve seconds later."""
    arrivals_s = [number * 0.01 for number in range(7)] + [12.0]
    requests = [Request(at_s, "chat", 100, 50, max_output_tokens=900) for at_s in arrivals_s]
    failures: list[AttemptFailed] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        if isinstance(event, AttemptFailed):
            failures.append(event)

    return simulate(with_quota(quota), iter(requests), on_step=note), failures


def test_the_engine_is_told_who_was_turned_away_and_for_how_long() -> None:
    """Six fit; the seventh would after ten seconds, and the eighth comes after that."""
    result, failures = run(Quota(tokens_per_minute=6000, true_up=False))
    assert [failure.kind for failure in failures] == [FailureKind.OVERLOADED]
    assert failures[0].retry_after_s == pytest.approx(10.0 - 0.06)
    outcomes = result.metrics.classes["chat"].outcomes
    assert (outcomes["completed"], outcomes["failed"]) == (7, 1)
    assert result.metrics.pools["p"].requests == 8


def test_a_full_provider_says_try_again_and_one_without_limits_says_nothing() -> None:
    _, failures = run(Quota(max_in_flight=6))
    assert [(failure.kind, failure.retry_after_s) for failure in failures] == [(FailureKind.OVERLOADED, 1.0)]
    result, failures = run(None)
    assert (failures, result.metrics.classes["chat"].outcomes["completed"]) == ([], 8)
