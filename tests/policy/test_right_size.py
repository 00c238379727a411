"""A quota that takes ceilings at admission reserves what answers need, and an answer that needs more goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.fleet import Backend, Deployment, Fleet, Limits, Model, OperatingPoint, PerToken, Pool, Quota, Route
from headrace.policy import (
    AnyAction,
    Arrived,
    AttemptFailed,
    BackendView,
    Dispatch,
    DispatchReason,
    End,
    FailureKind,
    Finished,
    FirstToken,
    Outcome,
    PolicyEngine,
    resizable_backends,
)
from headrace.policy.predict import BinnedPredictor
from headrace.policy.right_size import LEAST_TOKENS
from headrace.workload import WorkloadClass

MODEL = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
QUOTA = Quota(tokens_per_minute=1e6, reserve_output=True)
BOTH = ("fast-0", "fast-1")


def fleet_of(quota: Quota | None = QUOTA, limits: Limits | None = None) -> Fleet:
    deployment = Deployment("fast", MODEL, observed=OperatingPoint(0.1, 1e4, 0.001), quota=quota)
    members = tuple(Backend(f"fast-{k}", "fast", f"http://127.0.0.1:{k + 1}") for k in range(2))
    return Fleet(
        models={"m": MODEL},
        deployments={"fast": deployment},
        pools={"fast": Pool("fast", deployment, PerToken(0.0, 0.0), members)},
        classes={"chat": WorkloadClass("chat", 0.0001, expected_output_tokens=100.0)},
        shares={},
        routes=(Route(("fast",)),),
        default_class="chat",
        limits=limits or Limits(right_size=0.98),
    )


class Driver:
    """An engine that has seen a hundred answers of at most 100 tokens."""

    def __init__(self, quota: Quota | None = QUOTA, limits: Limits | None = None, longest: int = 100) -> None:
        self.engine = PolicyEngine(fleet_of(quota, limits), rng.stream(0, "policy"))
        for number in range(1, 101):
            dispatch = self.arrive(number, resizable=())
            self.engine.handle(0.0, Finished(dispatch.attempt_id, 100, max(longest * number // 100, 1)))

    def arrive(self, number: int, ceiling: int | None = 5000, resizable: tuple[str, ...] = BOTH) -> Dispatch:
        arrived = Arrived(number, "chat", 100, max_output_tokens=ceiling, resizable=resizable)
        (dispatch,) = [a for a in self.engine.handle(0.0, arrived) if isinstance(a, Dispatch)]
        return dispatch

    def view(self, backend: str) -> BackendView:
        return next(view for view in self.engine.view().backends if view.name == backend)

    def used(self, backend: str) -> float:
        """Tokens that are taken from a backend's quota now."""
        return next(v.use for v in self.engine.view().limits if v.name == f"quotas.{backend}") * 1e6


def test_the_quota_reserves_the_lowered_ceiling_and_the_dispatch_says_it() -> None:
    driver = Driver()
    fresh = Driver()
    dispatch, unlowered = driver.arrive(200), fresh.arrive(200, resizable=())
    assert dispatch.max_output_tokens is not None
    assert 98 <= dispatch.max_output_tokens <= 98 * 9 // 8
    assert unlowered.max_output_tokens is None
    saved = fresh.used(unlowered.backend) - driver.used(dispatch.backend)
    assert saved == pytest.approx(5000 - dispatch.max_output_tokens)


@pytest.mark.parametrize(
    ("quota", "limits"),
    [
        (None, Limits(right_size=0.98)),
        (replace(QUOTA, reserve_output=False), Limits(right_size=0.98)),
        (QUOTA, Limits(right_size=0.0)),
        (QUOTA, Limits(right_size=0.98, reserve_quota=False)),
        (QUOTA, Limits(right_size=0.98, rescue=False)),
        (QUOTA, Limits(right_size=0.98, rescue_max_bytes=0)),
        (QUOTA, Limits(right_size=0.98, rescue_max_bytes=100)),
    ],
)
def test_nothing_is_lowered_where_nothing_is_gained_or_nobody_could_go_on(
    quota: Quota | None, limits: Limits | None
) -> None:
    assert Driver(quota, limits).arrive(200).max_output_tokens is None


def test_drivers_are_told_where_it_pays_to_look() -> None:
    assert resizable_backends(fleet_of()) == BOTH
    assert resizable_backends(fleet_of(None)) == ()
    assert resizable_backends(fleet_of(limits=Limits(right_size=0.0))) == ()


def test_a_ceiling_is_lowered_to_half_at_most_and_never_below_a_floor() -> None:
    driver = Driver(longest=10)
    assert driver.arrive(200).max_output_tokens == LEAST_TOKENS
    assert driver.arrive(201, 2 * LEAST_TOKENS).max_output_tokens == LEAST_TOKENS
    assert driver.arrive(202, 2 * LEAST_TOKENS - 1).max_output_tokens is None
    assert driver.arrive(203, None).max_output_tokens is None, "nothing is reserved for it"
    assumed = Driver(replace(QUOTA, assumed_output_tokens=4096), longest=10)
    assert assumed.arrive(200, None).max_output_tokens == LEAST_TOKENS
    assert assumed.arrive(201, resizable=()).max_output_tokens is None


def test_before_enough_answers_were_seen_ceilings_stay_as_they_are() -> None:
    engine = PolicyEngine(fleet_of(), rng.stream(0, "policy"))
    for number in range(49):
        actions = engine.handle(0.0, Arrived(number, "chat", 100, max_output_tokens=5000, resizable=BOTH))
        (dispatch,) = [a for a in actions if isinstance(a, Dispatch)]
        assert dispatch.max_output_tokens is None
        engine.handle(0.0, Finished(dispatch.attempt_id, 100, 10))


def capped(dispatch: Dispatch, *, resumable: bool = True, unfit: tuple[str, ...] = ()) -> AttemptFailed:
    tokens = dispatch.max_output_tokens or 0
    return AttemptFailed(dispatch.attempt_id, FailureKind.CAPPED, True, None, tokens, resumable, unfit, 100)


def dispatched(actions: list[AnyAction]) -> Dispatch:
    (dispatch,) = [action for action in actions if isinstance(action, Dispatch)]
    return dispatch


def test_an_answer_that_reaches_it_goes_on_where_it_was_as_no_failure_and_no_retry() -> None:
    driver = Driver(limits=Limits(right_size=0.98, max_attempts=1, retry_budget=0.0, retry_burst=0, breaker_failures=1))
    first = driver.arrive(200)
    driver.engine.handle(1.0, FirstToken(first.attempt_id))
    before = driver.view(first.backend)
    second = dispatched(driver.engine.handle(2.0, capped(first)))
    assert (second.backend, second.reason) == (first.backend, DispatchReason.CONTINUED)
    assert second.max_output_tokens is None, "once"
    view = driver.view(first.backend)
    assert view.breaker == "closed"
    assert view.failure_rate <= before.failure_rate
    assert End(200, Outcome.COMPLETED) in driver.engine.handle(3.0, Finished(second.attempt_id, 200, 900))


def test_what_is_reserved_for_both_parts_is_what_the_client_allows() -> None:
    quota = replace(QUOTA, true_up=False)
    driver, whole = Driver(quota), Driver(quota)
    first, only = driver.arrive(200), whole.arrive(200, resizable=())
    before = driver.used(first.backend) - 100 - (first.max_output_tokens or 0)
    dispatched(driver.engine.handle(0.0, capped(first)))
    both = driver.used(first.backend) - before
    lowered = first.max_output_tokens or 0
    assert both == pytest.approx((100 + lowered) + (100 + lowered + 5000 - lowered))
    assert whole.used(only.backend) == pytest.approx(before + 5100)


def test_it_goes_on_elsewhere_where_its_backend_cannot_and_fails_where_none_can() -> None:
    driver = Driver()
    first = driver.arrive(200)
    other = next(name for name in BOTH if name != first.backend)
    assert dispatched(driver.engine.handle(0.0, capped(first, unfit=(first.backend,)))).backend == other
    again = driver.arrive(201)
    assert End(201, Outcome.FAILED) in driver.engine.handle(0.0, capped(again, resumable=False))


def test_the_whole_length_is_learnt_and_not_the_part_up_to_the_ceiling() -> None:
    driver = Driver()
    for number in range(200, 300):
        first = driver.arrive(number)
        if first.max_output_tokens is None:
            driver.engine.handle(0.0, Finished(first.attempt_id, 100, 4000))
            continue
        second = dispatched(driver.engine.handle(0.0, capped(first)))
        driver.engine.handle(0.0, Finished(second.attempt_id, 200, 4000 - (first.max_output_tokens or 0)))
    assert driver.arrive(400).max_output_tokens is None, "4,000 is more than half of 5,000"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50_000), min_size=100, max_size=400), st.sampled_from([0.5, 0.9, 0.98]))
def test_the_quantile_is_at_least_the_true_one_and_at_most_an_eighth_more(lengths: list[int], level: float) -> None:
    predictor = BinnedPredictor({"chat": 100.0})
    assert predictor.quantile("chat", "default", 7) is None
    predictor.keep_quantile(level)
    for length in lengths:
        predictor.observe("chat", "default", 7, length)
    found = predictor.quantile("chat", "default", 7)
    assert found is not None
    assert sum(length <= found for length in lengths) >= level * len(lengths)
    assert sum(length < found / 1.125 - 1 for length in lengths) <= level * len(lengths)


def test_a_quantile_is_of_its_class_tenant_and_input_length_and_forgets() -> None:
    predictor = BinnedPredictor({"chat": 100.0, "coding": 100.0})
    predictor.keep_quantile(0.9)
    for _ in range(100):
        predictor.observe("chat", "a", 10, 50)
        predictor.observe("chat", "a", 10_000, 1000)
    short, long, between = (predictor.quantile("chat", "a", tokens) for tokens in (10, 10_000, 300))
    assert short is not None
    assert long is not None
    assert 50 <= short <= 57 < 1000 <= long <= 1125
    assert between == long, "nothing is known of its input length: that of all"
    assert predictor.quantile("chat", "b", 10) is predictor.quantile("coding", "a", 10) is None
    for _ in range(9000):
        predictor.observe("chat", "a", 10, 400)
    forgotten = predictor.quantile("chat", "a", 10)
    assert forgotten is not None
    assert forgotten >= 400
