"""A provider's quota is reserved before a request is sent, settled when it ends, and corrected by what headers say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.errors import QuotaExceeded
from headrace.fleet import Backend, Deployment, Fleet, Limits, Model, OperatingPoint, PerToken, Pool, Quota, Route
from headrace.modelserver import Job, QuotaGate
from headrace.policy import (
    AnyAction,
    Arrived,
    AttemptFailed,
    Dispatch,
    Enqueue,
    FailureKind,
    Finished,
    PolicyEngine,
    Reject,
    RejectReason,
    SetTimer,
    SignalReceived,
    TimerFired,
    quota_signal,
)
from headrace.workload import WorkloadClass

MODEL = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
CLASSES = {
    "coding": WorkloadClass("coding", 0.002, expected_output_tokens=100.0),
    "chat": WorkloadClass("chat", 0.0001, expected_output_tokens=100.0),
}


def service(name: str, tpot_s: float, quota: Quota | None, dialect: str = "cerebras", backends: int = 1) -> Pool:
    deployment = Deployment(name, MODEL, observed=OperatingPoint(0.1, 1e4, tpot_s), quota=quota)
    members = tuple(Backend(f"{name}-{k}", name, f"http://127.0.0.1:{k + 1}", dialect=dialect) for k in range(backends))
    return Pool(name, deployment, PerToken(0.0, 0.0), members)


def fleet_of(*pools: Pool) -> Fleet:
    return Fleet(
        models={"m": MODEL},
        deployments={pool.name: pool.deployment for pool in pools},
        pools={pool.name: pool for pool in pools},
        classes=CLASSES,
        shares={},
        limits=Limits(first_byte_timeout_s=1e9),  # nobody is given up on: the provider here is not told of it
        routes=(Route(tuple(pool.name for pool in pools)),),
        default_class="chat",
    )


def engine_of(*pools: Pool) -> PolicyEngine:
    return PolicyEngine(fleet_of(*pools), rng.stream(0, "policy"))


def sent(actions: list[AnyAction]) -> list[str]:
    return [action.backend for action in actions if isinstance(action, Dispatch)]


def arrive(
    engine: PolicyEngine, request_id: int, ceiling: int | None, now_s: float = 0.0, name: str = "chat"
) -> list[AnyAction]:
    return engine.handle(now_s, Arrived(request_id, name, 100, max_output_tokens=ceiling))


JOBS = st.lists(
    st.tuples(st.floats(0.0, 20.0), st.integers(1, 500), st.integers(1, 900), st.none() | st.integers(900, 3000)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(JOBS, st.booleans(), st.booleans(), st.sampled_from(["cerebras", "groq"]))
def test_what_is_sent_is_never_refused_by_a_provider_that_counts_as_we_do(
    jobs: list[tuple[float, int, int, int | None]], true_up: bool, at_once: bool, dialect: str
) -> None:
    quota = Quota(
        tokens_per_minute=6000, requests_per_minute=8, assumed_output_tokens=1500, true_up=true_up, at_once=at_once
    )
    gate = QuotaGate(replace(quota, reserve_output=dialect == "cerebras"))
    engine, now_s = engine_of(service("fast", 0.001, quota, dialect)), 0.0
    timers: list[SetTimer] = []
    known = dict(enumerate(jobs, 1))
    live: list[tuple[int, int, int]] = []

    def carry_out(actions: list[AnyAction]) -> None:
        for action in actions:
            if isinstance(action, SetTimer):
                timers.append(action)
            elif isinstance(action, Dispatch):
                _, i, o, ceiling = known[action.request_id]
                reserved = gate.reserve(now_s, Job(action.attempt_id, i, o, max_output_tokens=ceiling), 0)
                live.append((action.attempt_id, action.request_id, reserved))

    for number, (gap_s, i, _, ceiling) in known.items():
        now_s += gap_s
        for timer in sorted((t for t in timers if t.at_s <= now_s), key=lambda t: t.at_s):
            timers.remove(timer)
            carry_out(engine.handle(now_s, TimerFired(timer.timer_id)))
        carry_out(engine.handle(now_s, Arrived(number, "chat", i, max_output_tokens=ceiling)))
        if len(live) > 2:
            attempt_id, request_id, reserved = live.pop(0)
            _, i, o, _ = known[request_id]
            gate.true_up(now_s, reserved, i + o)
            if dialect == "groq" and gate.stated(now_s, "tokens", "minute")[1] < 0.0:  # type: ignore[index]
                return  # longer than was predicted: nobody knew
            carry_out(engine.handle(now_s, Finished(attempt_id, i, o)))


def test_a_backend_without_room_is_passed_over_and_who_has_nowhere_else_to_go_waits_for_the_refill() -> None:
    quota = Quota(tokens_per_minute=6000, true_up=False)
    alone = engine_of(service("fast", 0.001, quota))
    assert sent(arrive(alone, 1, 5000)) == ["fast-0"]
    waits = arrive(alone, 2, 1900)
    assert any(isinstance(action, Enqueue) for action in waits)
    wake = min(action.at_s for action in waits if isinstance(action, SetTimer))
    assert wake == pytest.approx(12.2), "2,000 tokens and a little that is kept back, of which 900 are there"
    timer = next(action for action in waits if isinstance(action, SetTimer) and action.at_s == wake)
    assert sent(alone.handle(wake, TimerFired(timer.timer_id))) == ["fast-0"]
    both = engine_of(service("fast", 0.001, quota), service("slow", 0.05, None))
    assert [*sent(arrive(both, 1, 5000)), *sent(arrive(both, 2, 5000))] == ["fast-0", "slow-0"]


def test_what_was_not_used_is_given_back_when_the_provider_does() -> None:
    engine = engine_of(service("fast", 0.001, Quota(tokens_per_minute=6000)))
    arrive(engine, 1, 5000)
    assert not sent(arrive(engine, 2, 5000, 0.1))
    assert sent(engine.handle(0.2, Finished(1, 100, 50))) == ["fast-0"]


def test_backends_with_the_quota_of_one_name_share_it() -> None:
    quota = Quota(tokens_per_minute=6000, name="acme")
    engine = engine_of(service("fast", 0.001, quota, backends=2), service("other", 0.002, quota))
    assert sent(arrive(engine, 1, 5000))
    assert not sent(arrive(engine, 2, 5000))
    apart = engine_of(service("fast", 0.001, replace(quota, name=None), backends=2))
    assert sent(arrive(apart, 1, 5000)) + sent(arrive(apart, 2, 5000)) == ["fast-0", "fast-1"]


def test_a_request_that_is_larger_than_a_limit_goes_elsewhere_or_is_unfit() -> None:
    quota = Quota(tokens_per_minute=6000)
    both = engine_of(service("fast", 0.001, quota), service("slow", 0.05, None))
    assert sent(arrive(both, 1, 7000)) == ["slow-0"]
    assert sent(arrive(both, 2, None)) == ["slow-0"], "without a ceiling Cerebras assumes 16,384 tokens"
    alone = engine_of(service("fast", 0.001, quota))
    (reject, *_) = arrive(alone, 1, 7000)
    assert isinstance(reject, Reject)
    assert reject.reason is RejectReason.UNFIT


def test_a_header_corrects_the_account_by_what_was_sent_since() -> None:
    engine = engine_of(service("fast", 0.001, Quota(tokens_per_minute=60_000, true_up=False)))
    arrive(engine, 1, 900, 1.0)
    arrive(engine, 2, 900, 2.0)
    said = SignalReceived("fast-0", quota_signal("remaining", "tokens", "minute"), 5000.0, 1.0)
    engine.handle(2.0, said)
    (limit,) = engine.view().limits
    assert limit.name == "quotas.fast-0"
    assert (1.0 - limit.use) * 60_000 == pytest.approx(5000.0 - 1000.0 + 1000.0), (
        "less the second, and one second's refill"
    )
    assert not sent(arrive(engine, 3, 5000, 2.0))
    assert sent(engine.handle(2.0, replace_value(said, 60_000.0))) == ["fast-0"], "who waited for it goes"
    left = (1.0 - engine.view().limits[0].use) * 60_000
    assert left == pytest.approx(5000.0 + 0.1 * 55_000.0 - 5100.0), "a higher level is believed by a part"


def replace_value(event: SignalReceived, value: float) -> SignalReceived:
    return SignalReceived(event.backend, event.name, value, event.as_of_s)


def test_one_that_was_refused_gives_nothing_back_for_its_minute() -> None:
    engine = engine_of(service("fast", 0.001, Quota(tokens_per_minute=6000)))
    (dispatch, *_) = arrive(engine, 1, 4000)
    assert isinstance(dispatch, Dispatch)
    before = engine.view().limits[0].use
    engine.handle(0.0, AttemptFailed(dispatch.attempt_id, FailureKind.OVERLOADED, retry_after_s=3.0))
    assert engine.view().limits[0].use == before


def test_a_scarce_quota_goes_to_the_requests_that_gain_most() -> None:
    """Twice as much is offered as there is quota for: coding, worth twenty times as much, gets nearly all of it."""
    quota = Quota(tokens_per_minute=60_000)
    engine = engine_of(service("fast", 0.001, quota), service("slow", 0.02, None))
    fast = {"coding": 0, "chat": 0}
    for number in range(4000):
        name, now_s = ("coding", "chat")[number % 2], number * 0.1
        (dispatch, *_) = arrive(engine, number, 100, now_s, name)
        assert isinstance(dispatch, Dispatch)
        fast[name] += number > 1000 and dispatch.backend == "fast-0"
        engine.handle(now_s, Finished(dispatch.attempt_id, 100, 100))
    assert fast["coding"] > 1400
    assert fast["coding"] + fast["chat"] > 1400, "and none of it is left"
    (limit,) = engine.view().limits
    assert limit.lambda_usd_per_unit > 0.0


def test_a_gate_that_counts_otherwise_does_refuse() -> None:
    """The law above can fail: a provider with half the quota that we know of says 429."""
    gate = QuotaGate(Quota(tokens_per_minute=3000))
    gate.reserve(0.0, Job(1, 100, 1, max_output_tokens=2500), 0)
    with pytest.raises(QuotaExceeded):
        gate.reserve(0.0, Job(2, 100, 1, max_output_tokens=2500), 0)
