"""Engines over one fleet: what they tell each other is priced, limits what each may use, and is forgotten with age."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.errors import InvariantError
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
    catalog,
)
from headrace.policy import (
    AnyAction,
    AnyEvent,
    Arrived,
    AttemptFailed,
    Dispatch,
    Enqueue,
    FailureKind,
    Finished,
    FirstToken,
    PeerLoad,
    PeersReported,
    PolicyEngine,
    Reject,
    RejectReason,
    TimerFired,
    summed,
)
from headrace.policy.timers import SIGNAL_TIMER
from headrace.workload import WorkloadClass

POINT = OperatingPoint(ttft_s=0.1, input_tokens_per_s=1e4, tpot_s=0.01)


def fleet(backends: int = 2, max_in_flight: int = 8, limits: Limits = Limits()) -> Fleet:  # noqa: B008 - frozen
    model = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m"}))  # type: ignore[arg-type]
    deployment = Deployment("d", model, observed=POINT)
    members = tuple(Backend(f"b{i}", "p", f"http://127.0.0.1:{i + 1}", None, max_in_flight) for i in range(backends))
    return Fleet(
        models={"m": model},
        deployments={"d": deployment},
        pools={"p": Pool("p", deployment, PerToken(0.1, 0.4), members)},
        classes={"chat": WorkloadClass("chat", 0.0003)},
        shares={},
        routes=(Route(("p",)),),
        limits=limits,
        default_class="chat",
    )


def engine(of: Fleet) -> PolicyEngine:
    return PolicyEngine(of, rng.stream(0, "policy"))


def sent(actions: list[AnyAction]) -> list[Dispatch]:
    return [action for action in actions if isinstance(action, Dispatch)]


def asked(each: PolicyEngine, now_s: float, first: int, count: int) -> list[Dispatch]:
    return [d for k in range(count) for d in sent(each.handle(now_s, Arrived(first + k, "chat", 500)))]


def limit(each: PolicyEngine, index: int = 0) -> int:
    return each.view().backends[index].max_in_flight


def test_an_engine_may_use_its_part_and_what_the_others_leave() -> None:
    one = engine(fleet(1, 8))
    one.handle(0.0, PeersReported(0.0, 3))
    assert limit(one) == 2, "an even part, and an even part of what nobody has"
    assert len(asked(one, 0.0, 1, 3)) == 2
    one.handle(0.1, PeersReported(0.1, 3, (PeerLoad("b0", 1),)))
    assert limit(one) == 4, "five are free, and the others see it, too"
    one.handle(0.1, PeersReported(0.1, 3, (PeerLoad("b0", 5),)))
    assert limit(one) == 3
    one.handle(0.2, PeersReported(0.2, 3, (PeerLoad("b0", 8),)))
    assert limit(one) == 2, "a fourth of eight is its own whatever they do"
    one.handle(0.3, PeersReported(0.3, 63, (PeerLoad("b0", 8),)))
    assert limit(one) == 1
    one.handle(0.4, PeersReported(0.4, 0))
    assert limit(one) == 8, "it is alone again"


def test_who_waits_goes_when_the_others_have_left() -> None:
    one = engine(fleet(1, 4))
    one.handle(0.0, PeersReported(0.0, 1, (PeerLoad("b0", 2),)))
    assert len(asked(one, 0.0, 1, 3)) == 2
    assert len(sent(one.handle(0.25, PeersReported(0.25, 1)))) == 1, "of two that are free"


def test_what_peers_say_no_more_is_forgotten() -> None:
    one = engine(fleet(1, 4))
    one.handle(0.0, PeersReported(0.0, 1, (PeerLoad("b0", 4),)))
    assert len(asked(one, 0.0, 1, 5)) == 2
    at_s = 0.0
    for at_s in (1.0, 2.0, 3.0, 4.0):
        assert not sent(one.handle(at_s, TimerFired(SIGNAL_TIMER))), "some trust is left"
    assert len(sent(one.handle(5.0, TimerFired(SIGNAL_TIMER)))) == 2
    assert limit(one) == 4


@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 10**6))
def test_all_together_come_back_to_the_limit_and_nobody_starves(count: int, whole: int, seed: int) -> None:
    """Whatever each had before, with reports going round and attempts ending; everybody has work for ever."""
    random, shared = Random(seed), fleet(1, whole, Limits(queue_depth=10**6, queue_timeout_s=1e9))
    engines = [engine(shared) for _ in range(count)]
    live: list[list[int]] = [[] for _ in engines]
    first = random.randrange(count)
    for number in (first, *(k for k in range(count) if k != first)):  # the first takes everything
        live[number] += [d.attempt_id for d in asked(engines[number], 0.0, 1, whole + 1)]
    now_s, came = 0.0, whole + 1
    for _ in range(4 * whole + 40):
        now_s += 0.25
        reports = [each.report() for each in engines]
        for number, each in enumerate(engines):
            others = [report for k, report in enumerate(reports) if k != number]
            live[number] += [d.attempt_id for d in sent(each.handle(now_s, summed(now_s, others)))]
            came += 1
            live[number] += [d.attempt_id for d in asked(each, now_s, came, 1)]
            if live[number]:
                ended = live[number].pop(0)
                live[number] += [d.attempt_id for d in sent(each.handle(now_s, Finished(ended, 500, 10)))]
    assert sum(map(len, live)) <= max(whole, count) + count - 1
    assert all(len(each) >= max(whole // count, 1) for each in live)


def test_load_of_peers_is_priced() -> None:
    model = next(each for each in catalog.models() if each.name == "llama-3.1-8b")
    gpu = Deployment("gpu", model, next(each for each in catalog.accelerators() if each.name == "H100"), max_batch=8)
    of = fleet(2, 100)
    one = engine(replace(of, pools={"p": replace(of.pools["p"], deployment=gpu)}))
    assert asked(one, 0.0, 1, 1)[0].backend == "b0"
    one.handle(0.1, Finished(1, 500, 10))
    one.handle(0.2, PeersReported(0.2, 1, (PeerLoad("b0", 20, 20_000.0, 0.5),)))
    assert asked(one, 0.3, 2, 1)[0].backend == "b1"


def test_a_report_says_what_is_in_flight_and_sums_say_it_once() -> None:
    one, other = engine(fleet()), engine(fleet())
    asked(one, 0.0, 1, 3)
    asked(other, 0.0, 1, 1)
    total = summed(0.0, [one.report(), other.report()])
    assert total.engines == 2
    assert sum(load.in_flight for load in total.loads) == 4
    tokens = sum(load.kv_tokens for load in total.loads)
    assert tokens == pytest.approx(sum(b.expected_kv_tokens for e in (one, other) for b in e.view().backends))


def test_a_breaker_opened_elsewhere_makes_careful_and_decides_nothing() -> None:
    one = engine(fleet(1, 100))
    one.handle(0.0, PeersReported(0.0, 1, (PeerLoad("b0", tripped=True),)))
    assert one.view().backends[0].breaker == "closed"
    assert len(asked(one, 0.1, 1, 5)) == 1, "one at a time"
    assert len(sent(one.handle(0.2, FirstToken(1)))) == 2, "then two"
    one.handle(0.3, PeersReported(0.3, 1, (PeerLoad("b0", tripped=True),)))
    assert len(sent(one.handle(0.4, FirstToken(2)))) >= 1, "an old hint holds nobody up again"


def test_an_open_breaker_stays_open_whatever_peers_say() -> None:
    one = engine(fleet(1, 100, Limits(breaker_failures=1, max_attempts=1)))
    asked(one, 0.0, 1, 1)
    one.handle(0.1, AttemptFailed(1, FailureKind.REFUSED))
    assert one.report().loads[0].tripped
    one.handle(0.2, PeersReported(0.2, 1))
    assert one.view().backends[0].breaker == "open"
    assert not asked(one, 0.3, 2, 1)


def test_what_peers_spent_of_a_hard_budget_is_spent() -> None:
    budget = Budget("b", 1.0, Per.DAY, pools=("p",), hard=True)
    each = engine(replace(fleet(1, 100), budgets={"b": budget}))
    assert len(asked(each, 0.0, 1, 1)) == 1
    mine = dict(each.report().used)["budgets.b"]
    assert mine > 0.0
    each.handle(1.0, PeersReported(1.0, 1, used=(("budgets.b", 1.0),)))
    (refused,) = [a for a in each.handle(1.0, Arrived(2, "chat", 500)) if isinstance(a, Reject)]
    assert refused.reason is RejectReason.BUDGET_SPENT
    assert dict(each.report().used)["budgets.b"] == pytest.approx(mine), "what others spent is not its own"
    each.handle(2.0, PeersReported(2.0, 1))
    assert len(asked(each, 2.0, 3, 1)) == 1


def test_no_report_is_from_the_future() -> None:
    with pytest.raises(InvariantError, match="future"):
        engine(fleet()).handle(0.0, PeersReported(1.0, 1))


def test_a_journal_of_reports_runs_again() -> None:
    entries: list[tuple[float, AnyEvent]] = []
    random, attempt = Random(7), 0
    for k in range(1, 60):
        at_s = k * 0.1
        entries.append((at_s, Arrived(k, "chat", random.randint(1, 2000))))
        if k % 3 == 0:
            loads = (PeerLoad("b0", random.randint(0, 9), 1000.0, 0.1, k % 2 == 0), PeerLoad("b1", k % 5))
            entries.append((at_s, PeersReported(at_s, 2, loads)))
        if k > 6:
            attempt += 1
            entries.append((at_s, Finished(attempt, 100, 20)))
    one, again = engine(fleet(2, 6)), engine(fleet(2, 6))
    first = [one.handle(*entry) for entry in entries]
    assert first == [again.handle(*entry) for entry in entries]
    assert any(isinstance(a, Enqueue) for actions in first for a in actions)
