"""What a gateway sees of each fault, one at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_rig import one_pool_fleet

from headrace import rng
from headrace.errors import InvariantError
from headrace.fleet import (
    Down,
    Flapping,
    Fleet,
    Incident,
    Limits,
    LostAccelerator,
    OperatingPoint,
    Quota,
    QuotaCut,
    Share,
    ShareUnit,
    Slow,
    Spares,
    catalog,
)
from headrace.metrics import AttemptRecord
from headrace.modelserver import HostedServer, ImpairedServer, Job, ProviderTerms
from headrace.perf import speed_curve
from headrace.policy import (
    AnyAction,
    AnyEvent,
    AttemptFailed,
    Dispatch,
    End,
    FailureKind,
    Finished,
    FirstToken,
    PolicyEngine,
)
from headrace.sim import FaultTimeline, SimulatedBackend, SimulationDriver, SimulationResult, simulate
from headrace.sim.run import _backends, eligible_pools
from headrace.workload import Request

POINT = OperatingPoint(ttft_s=0.1, input_tokens_per_s=1e9, tpot_s=0.01)
QUICK = Limits(hedge_budget=0.0, queue_depth=100, queue_timeout_s=1000.0, breaker_failures=2, breaker_cooldown_s=2.0)


class Seen:
    """Everything that happened, by time."""

    def __init__(self) -> None:
        self.events: list[tuple[float, AnyEvent]] = []
        self.actions: list[tuple[float, AnyAction]] = []

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        self.events.append((now_s, event))
        self.actions += [(now_s, action) for action in actions]

    def failures(self) -> list[tuple[float, FailureKind, bool, int]]:
        failed = [(at_s, event) for at_s, event in self.events if isinstance(event, AttemptFailed)]
        return [(at_s, event.kind, event.committed, event.output_tokens) for at_s, event in failed]

    def times(self, kind: type) -> list[float]:
        return [at_s for at_s, each in (*self.events, *self.actions) if isinstance(each, kind)]

    def backends(self) -> list[str]:
        return [action.backend for _, action in self.actions if isinstance(action, Dispatch)]


def run(fleet: Fleet, requests: list[Request], *incidents: Incident) -> tuple[Seen, SimulationResult]:
    seen = Seen()
    return seen, simulate(fleet, iter(requests), on_step=seen, incidents=incidents)


def two_backends(limits: Limits = QUICK) -> Fleet:
    return one_pool_fleet(2, 10, point=POINT, limits=limits)


def chat(at_s: float, tokens: int = 101) -> Request:
    """Takes 0.1 s to its first token, and a second more for the other hundred."""
    return Request(at_s, "chat", 10, tokens)


def test_a_backend_that_goes_down_refuses_and_another_takes_over_at_once() -> None:
    seen, result = run(two_backends(), [chat(5.0)], Down(backends=("b0",), from_s=1.0))
    assert seen.failures() == [(5.0, FailureKind.REFUSED, False, 0)]
    assert seen.backends() == ["b0", "b1"]
    assert result.metrics.classes["chat"].outcomes["completed"] == 1


def test_an_answer_that_has_begun_is_gone_on_with_and_one_that_has_not_is_tried_anew() -> None:
    requests = [chat(0.0), chat(0.45)]
    fleet = one_pool_fleet(2, 2, point=POINT, limits=QUICK)
    seen, result = run(fleet, requests, Down(backends=("b0", "b1"), from_s=0.505, to_s=0.6))
    committed = [(kind, committed, tokens) for _, kind, committed, tokens in seen.failures() if committed]
    assert committed == [(FailureKind.RESET, True, 41)], "0.4 s after its first token"
    assert (FailureKind.RESET, False, 0) in [failure[1:] for failure in seen.failures()]
    assert (FailureKind.REFUSED, False, 0) in [failure[1:] for failure in seen.failures()], "the pool went as one"
    outcomes = result.metrics.classes["chat"].outcomes
    assert (outcomes["failed"], outcomes["completed"]) == (0, 2), "both came back when the pool was there again"
    assert result.metrics.pools["p"].output_tokens == sum(request.output_tokens for request in requests)
    assert result.metrics.pools["p"].rescues >= 1


def test_nobody_is_told_that_a_backend_is_back_before_it_is_tried() -> None:
    """Two failures open the breaker; it is tried when its cooldown ends, not when the backend comes back."""
    fleet = one_pool_fleet(1, 10, point=POINT, limits=replace(QUICK, breaker_cooldown_s=20.0, max_attempts=1))
    requests = [chat(0.0), chat(1.0), chat(2.0), chat(19.0)]
    seen, result = run(fleet, requests, Down(backends=("b0",), from_s=0.0, to_s=5.0))
    assert seen.times(Dispatch) == [0.0, 1.0]
    assert result.metrics.classes["chat"].outcomes == {"completed": 0, "rejected": 2, "failed": 2, "cancelled": 0}


def test_slow_stretches_what_is_left_by_its_factor() -> None:
    seen, result = run(two_backends(), [chat(0.0)], Slow(backends=("b0",), from_s=0.6, to_s=1.2, factor=3.0))
    assert seen.times(FirstToken) == [pytest.approx(0.1)]
    assert seen.times(Finished) == [pytest.approx(1.5)], "of 0.5 s left, 0.2 s take 0.6 s, then the rest"
    assert result.busy_s["p"] == pytest.approx(1.5)


def test_slowdowns_multiply_and_end_apart() -> None:
    slow = [Slow(backends=("b0",), from_s=0.0, to_s=t, factor=f) for t, f in ((0.6, 2.0), (1.1, 3.0))]
    seen, _ = run(two_backends(), [chat(0.0)], *slow)
    assert seen.times(Finished) == [pytest.approx(1.1 + (1.1 - 0.6 / 6.0 - 0.5 / 3.0))]


def test_flapping_is_down_at_the_beginning_of_each_period() -> None:
    flaps = Flapping(backends=("b0",), from_s=10.0, to_s=45.0, period_s=20.0, down_fraction=0.25)
    assert list(flaps.spells()) == [(10.0, 15.0), (30.0, 35.0)]
    cut = replace(flaps, to_s=31.0)
    assert list(cut.spells()) == [(10.0, 15.0), (30.0, 31.0)]
    fleet = one_pool_fleet(1, 10, point=POINT, limits=replace(QUICK, breaker_failures=1000, max_attempts=1))
    seen, _ = run(fleet, [chat(float(at_s)) for at_s in (8, 12, 16, 31, 36)], flaps)
    assert seen.times(AttemptFailed) == [12.0, 31.0]


def with_quota(quota: Quota) -> Fleet:
    fleet = one_pool_fleet(point=POINT, max_in_flight=100, limits=replace(QUICK, max_attempts=1))
    service = replace(fleet.deployments["d"], quota=quota)
    return replace(fleet, deployments={"d": service}, pools={"p": replace(fleet.pools["p"], deployment=service)})


def test_a_cut_quota_turns_away_with_a_true_time_to_come_back() -> None:
    """Six a minute, of which a third is left: two at once, and the third half a minute later."""
    requests = [chat(float(at_s)) for at_s in (10, 11, 12)]
    fleet = with_quota(Quota(requests_per_minute=6))
    cut = QuotaCut(backends=("b0",), from_s=5.0, fraction=1 / 3)
    seen, _ = run(fleet, requests, cut)
    (event,) = [event for _, event in seen.events if isinstance(event, AttemptFailed)]
    assert (event.kind, event.retry_after_s) == (FailureKind.OVERLOADED, pytest.approx(30.0 - 2.0))
    assert not run(fleet, requests, replace(cut, to_s=6.0))[0].failures()[1:], "what was granted again refills"


def test_a_slow_service_keeps_the_pace_of_its_quota() -> None:
    curve = speed_curve(one_pool_fleet(point=POINT).deployments["d"])
    server = ImpairedServer(HostedServer(curve, ProviderTerms(Quota(requests_per_minute=1))))
    server.slow(0.0, 10.0)
    server.submit(0.0, Job(1, 10, 2))
    assert [report.at_s for report in server.advance(50.0)] == pytest.approx([1.0, 1.1])
    with pytest.raises(Exception, match="rate limit") as refused:
        server.submit(50.0, Job(2, 10, 2))
    assert refused.value.retry_after_s == pytest.approx(10.0)  # type: ignore[attr-defined]
    server.submit(60.0, Job(2, 10, 2))


def sram_fleet(spares: Spares | None) -> Fleet:
    fleet = two_backends()
    chip = next(each for each in catalog.accelerators() if each.name == "LPU")
    model = next(each for each in catalog.models() if each.name == "llama-3.1-8b")
    own = replace(fleet.deployments["d"], model=model, accelerator=chip, count=256, observed=None, spares=spares)
    return replace(fleet, deployments={"d": own}, pools={"p": replace(fleet.pools["p"], deployment=own)})


def test_a_lost_accelerator_takes_the_replica_until_its_spare_is_loaded() -> None:
    fleet = replace(sram_fleet(Spares(count=1, recover_s=60.0, repair_s=3600.0)), limits=replace(QUICK, max_attempts=1))
    (only, _), pool = fleet.pools["p"].backends, fleet.pools["p"]
    fleet = replace(fleet, pools={"p": replace(pool, backends=(only,))})
    requests = [chat(0.0, 4000), *(chat(10.0 + 5.0 * number) for number in range(20))]
    seen, result = run(fleet, requests, LostAccelerator(backends=("b0",), from_s=1.0))
    assert seen.failures()[0][1:3] == (FailureKind.RESET, True)
    refused = [failure[0] for failure in seen.failures()[1:]]
    assert refused
    assert max(refused) < 61.0
    assert all(kind is FailureKind.REFUSED for _, kind, _, _ in seen.failures()[1:]), "a dead process names no time"
    assert min(at_s for at_s in seen.times(FirstToken) if at_s > 1.0) >= 61.0
    assert result.metrics.classes["chat"].outcomes["completed"] >= 5


def test_without_spares_declared_a_loss_is_refused() -> None:
    with pytest.raises(InvariantError, match="what spares it has"):
        run(sram_fleet(None), [chat(0.0)], LostAccelerator(backends=("b0",), from_s=0.2))
    with pytest.raises(InvariantError, match="b7"):
        run(two_backends(), [chat(0.0)], Down(backends=("b7",), from_s=0.2))


def test_what_hits_nobody_changes_nothing_and_keeps_no_run_going() -> None:
    requests = [chat(0.1 * number) for number in range(50)]
    plain, result = run(two_backends(), requests)
    later = (Down(backends=("b0",), from_s=1e6), Slow(backends=("b1",), from_s=1e6, factor=2.0))
    seen, other = run(two_backends(), requests, *later)
    assert (seen.events, seen.actions) == (plain.events, plain.actions)
    assert (other.end_s, other.busy_s, other.utilization) == (result.end_s, result.busy_s, result.utilization)


def split_fleet() -> Fleet:
    """The pool `p` of two backends and a pool `q` of one; `q` is to have a fifth of the requests."""
    fleet = one_pool_fleet(2, 100, point=POINT, limits=QUICK)
    one = fleet.pools["p"].backends[0]
    other = replace(fleet.pools["p"], name="q", backends=(replace(one, name="q0", pool="q", url="http://127.0.0.1:9"),))
    route = replace(fleet.routes[0], pools=("p", "q"))
    share = Share("s", ("q",), 0.2, ShareUnit.REQUESTS)
    return replace(fleet, pools={**fleet.pools, "q": other}, routes=(route,), shares={"s": share})


def test_a_share_is_not_judged_by_what_a_pool_could_not_do_while_it_was_down() -> None:
    requests = [chat(float(at_s)) for at_s in range(1800)]
    _, whole = run(split_fleet(), requests)
    _, hit = run(split_fleet(), requests, Down(backends=("q0",), from_s=300.0, to_s=900.0))
    whole.metrics.shares["s"].close(1800.0)
    meter = hit.metrics.shares["s"]
    meter.close(1800.0)
    assert whole.metrics.shares["s"].reasons == {}
    assert sum(meter.reasons.values()) > 20, "windows in which the pool was mostly down"


def test_pools_are_eligible_by_their_state_at_dispatch() -> None:
    """An attempt that ends after the outage, or before it began, is judged by when it was dispatched."""
    fleet, records = split_fleet(), list[AttemptRecord]()
    backends: list[SimulatedBackend] = _backends(fleet, 0)
    timeline = FaultTimeline(fleet, backends, (Down(backends=("q0", "b0"), from_s=5.0, to_s=15.0),), 0)
    eligible = timeline.up_when_dispatched(eligible_pools(fleet))
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    driver = SimulationDriver(engine, backends, lambda record: None, records.append, eligible)
    timeline.start(driver)
    driver.run(iter([chat(0.3 * number) for number in range(100)]))
    expected = [("p",) if 5.0 <= record.dispatch_s < 15.0 else ("p", "q") for record in records]
    assert [record.eligible_pools for record in records] == expected
    down = [("q",) if pools == ("p",) else () for pools in expected]
    assert [record.down_pools for record in records] == down
    assert {record.pool for record in records if 5.0 <= record.dispatch_s < 15.0} == {"p", "q"}, "until it is known"


def test_an_attempt_that_used_nothing_is_no_work_in_a_share_of_requests() -> None:
    """The engine steers by that; the meter must not count what the engine does not."""
    _, result = run(split_fleet(), [chat(float(at_s)) for at_s in range(100)], Down(backends=("q0",), from_s=0.0))
    meter = result.metrics.shares["s"]
    assert meter.work == 100.0
    assert meter.realized == 0.0
    meter.book(AttemptRecord("q", 50.0, 50.0, 0, 0, 0.0, ("p", "q")))
    assert meter.work == 100.0


def test_every_request_of_a_fleet_that_is_gone_ends() -> None:
    seen, result = run(two_backends(), [chat(float(n)) for n in range(30)], Down(backends=("b0", "b1"), from_s=5.5))
    outcomes = result.metrics.classes["chat"].outcomes
    assert sum(outcomes.values()) == 30 == len(seen.times(End))
    assert outcomes["completed"] in (4, 5)


def test_who_waits_is_served_when_the_first_token_of_a_probe_closes_the_breaker() -> None:
    """Not when the probe's answer is complete: from its first token on the backend is known to be well."""
    fleet = one_pool_fleet(2, 2, point=POINT, limits=replace(QUICK, breaker_failures=1, breaker_cooldown_s=2.0))
    pool = fleet.pools["p"]
    narrow = replace(pool.backends[1], max_in_flight=1)
    fleet = replace(fleet, pools={"p": replace(pool, backends=(pool.backends[0], narrow))})
    requests = [chat(0.0, 1001), chat(0.1), chat(0.2)]
    seen, _ = run(fleet, requests, Down(backends=("b0",), from_s=0.0, to_s=1.0))
    sent = [(at_s, action.backend) for at_s, action in seen.actions if isinstance(action, Dispatch)]
    assert sent[:2] == [(0.0, "b0"), (0.0, "b1")], "refused, and retried"
    assert sent[2:] == [(pytest.approx(2.0), "b0"), (pytest.approx(2.1), "b0")]
