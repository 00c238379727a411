from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InvariantError
from headrace.fleet import Deployment, Fleet, Model, OperatingPoint, PerToken, Pool, Share, ShareUnit
from headrace.metrics import (
    AttemptRecord,
    PolicyReport,
    RequestRecord,
    RunFacts,
    RunMetrics,
    WorkRate,
    encode_report,
)
from headrace.workload import Slo, WorkloadClass

MODEL = Model("m", 1e9, 1e9, 1e9, 4, 1, 1, 1, 1, 1, 4096, 1000, "test")
RATE = WorkRate(0.0, 1e-3, 1e-2)


def fleet() -> Fleet:
    deployment = Deployment("d", MODEL, observed=OperatingPoint(0.2, 1e4, 0.01))
    pools = {name: Pool(name, deployment, PerToken(0.1, 0.4), ()) for name in ("gpu", "fast")}
    classes = {
        "coding": WorkloadClass("coding", 0.002, Slo(ttft_s=1.0, tpot_s=0.02), timeout_s=100.0),
        "chat": WorkloadClass("chat", 0.0003, timeout_s=50.0),
    }
    share = Share("fast", ("fast",), 0.1, ShareUnit.COMPUTE, deployment)
    return Fleet({"m": MODEL}, {"d": deployment}, pools, classes, {"fast": share}, ())


def request(outcome="completed", name="coding", ttft_s=0.5, tpot_s=0.01, e2e_s=2.0, output_tokens=100) -> RequestRecord:
    if outcome != "completed":
        return RequestRecord(name, outcome, 0.0, 100, 0, None, None, None, 0.0)
    return RequestRecord(name, outcome, 0.0, 100, output_tokens, ttft_s, tpot_s, e2e_s, 0.001)


def attempt(pool="gpu", dispatch_s=0.0, output_tokens=100, cost_usd=0.001) -> AttemptRecord:
    return AttemptRecord(pool, dispatch_s, dispatch_s + 2, 100, output_tokens, cost_usd, ("gpu", "fast"))


def metrics(**options) -> RunMetrics:
    return RunMetrics(fleet(), {"fast": RATE}, **options)


def result(run: RunMetrics, **facts) -> dict:
    return json.loads(encode_report(run.finish(RunFacts("simulate", 600.0, seed=1, **facts))))


OUTCOMES = st.lists(
    st.tuples(st.sampled_from(["completed", "rejected", "failed", "cancelled"]), st.sampled_from(["coding", "chat"]))
)


@settings(max_examples=50, deadline=None)
@given(OUTCOMES)
def test_arrivals_are_the_sum_of_the_outcomes(ends: list[tuple[str, str]]) -> None:
    run = metrics()
    for outcome, name in ends:
        run.request(request(outcome, name))
    report = result(run)
    counts = report["requests"]
    assert counts["arrived"] == len(ends)
    assert counts["arrived"] == sum(counts[o] for o in ("completed", "rejected", "failed", "cancelled"))
    assert counts["arrived"] == sum(entry["count"] for entry in report["classes"].values())


def test_an_empty_run_is_null_not_zero() -> None:
    report = result(metrics())
    nothing = {"p50": None, "p90": None, "p99": None}
    coding = report["classes"]["coding"]
    assert (coding["count"], coding["ttft_s"], coding["tpot_s"], coding["e2e_s"]) == (0, nothing, nothing, nothing)
    assert coding["slo_attainment"] is None
    assert report["shares"]["fast"]["realized"] is None
    assert report["shares"]["fast"]["worst_5min_error_pp"] is None
    assert report["cost"]["usd_per_mtok_output"] is None
    assert set(report["pools"]["gpu"]["share"].values()) == {None}
    assert report["pools"]["gpu"]["utilization"] is None
    assert report["policy"] == {"name": None, "value_captured_usd": None, "hindsight_value_usd": None, "regret": None}


def test_the_report_has_exactly_the_keys_of_schema_1_in_order() -> None:
    run = metrics()
    run.request(request())
    run.attempt(attempt())
    report = result(run, policy=PolicyReport("prices", 1.0, 2.0, 0.5))
    assert list(report) == ["schema", "command", "seed", "requests", "shares", "classes", "pools", "cost", "policy"]
    assert list(report["shares"]["fast"]) == ["of", "target", "realized", "worst_5min_error_pp", "windows"]
    assert list(report["shares"]["fast"]["windows"]) == ["judged", "feasible", "reasons"]
    latencies = ["ttft_s", "tpot_s", "e2e_s"]
    assert list(report["classes"]["chat"]) == ["count", *latencies, "slo_attainment", "value_of_time_usd"]
    pool_keys = ["accelerator", "memory", "requests", "output_tokens", "share", "utilization", "cost_usd"]
    assert list(report["pools"]["gpu"]) == pool_keys
    assert list(report["pools"]["gpu"]["share"]) == ["requests", "output_tokens", "compute", "spend", "power"]
    assert (report["schema"], report["command"], report["seed"]) == (1, "simulate", 1)


def test_attainment_counts_misses_and_leaves_client_cancellations_out() -> None:
    run = metrics()
    for record in (
        request(),
        request(ttft_s=1.5),
        request(tpot_s=0.03),
        request(e2e_s=101.0),
        request(tpot_s=None, output_tokens=1),
        request("rejected"),
        request("failed"),
        request("cancelled"),
    ):
        run.request(record)
    assert result(run)["classes"]["coding"]["slo_attainment"] == pytest.approx(2 / 7)


def test_an_unfinished_request_costs_the_time_of_its_class_timeout() -> None:
    run = metrics()
    run.request(request(e2e_s=3.0))
    run.request(request("failed"))
    assert result(run)["classes"]["coding"]["value_of_time_usd"] == pytest.approx(0.002 * 103.0)
    assert run.j_usd == pytest.approx(0.001 + 0.002 * 103.0)


def test_tpot_is_summed_up_over_long_enough_answers_only() -> None:
    run = metrics()
    run.request(request(tpot_s=0.5, output_tokens=7))
    assert result(run)["classes"]["coding"]["tpot_s"]["p50"] is None
    run.request(request(tpot_s=0.01, output_tokens=8))
    assert result(run)["classes"]["coding"]["tpot_s"]["p50"] == pytest.approx(0.01, rel=0.005)


def test_pool_shares_are_fractions_that_add_up() -> None:
    run = metrics()
    for pool, tokens, cost in (("gpu", 300, 0.003), ("fast", 100, 0.001)):
        run.attempt(attempt(pool, output_tokens=tokens, cost_usd=cost))
    pools = result(run, pool_energy_j={"gpu": 30.0, "fast": 10.0})["pools"]
    for unit in ("requests", "output_tokens", "compute", "spend", "power"):
        assert sum(pool["share"][unit] for pool in pools.values()) == pytest.approx(1.0)
    assert pools["fast"]["share"]["output_tokens"] == 0.25
    assert pools["fast"]["share"]["compute"] == pytest.approx(1.1 / (3.1 + 1.1))


def test_power_is_undefined_where_one_pool_has_no_figure() -> None:
    run = metrics()
    run.attempt(attempt())
    pools = result(run, pool_energy_j={"gpu": 30.0, "fast": None})["pools"]
    assert [pool["share"]["power"] for pool in pools.values()] == [None, None]


def test_a_pool_costs_its_capacity_where_that_is_given() -> None:
    run = metrics()
    run.request(request())
    run.attempt(attempt())
    report = result(run, pool_cost_usd={"gpu": 5.0})
    assert report["pools"]["gpu"]["cost_usd"] == 5.0
    assert report["cost"] == {"total_usd": 5.0, "usd_per_mtok_output": pytest.approx(5.0 / 100 * 1e6)}
    assert result(run, pool_cost_usd={"gpu": None})["cost"] == {"total_usd": None, "usd_per_mtok_output": None}


def test_the_same_run_gives_the_same_bytes() -> None:
    def once() -> bytes:
        run = metrics()
        for index in range(400):
            run.request(request(ttft_s=0.1 + index / 997))
            run.attempt(attempt("fast" if index % 7 == 0 else "gpu", dispatch_s=float(index)))
        return encode_report(run.finish(RunFacts("simulate", 600.0)))

    assert once() == once()


def test_unknown_names_are_a_bug_and_say_so() -> None:
    with pytest.raises(InvariantError, match="no such class or outcome"):
        metrics().request(msgspec.structs.replace(request(name="coding"), workload_class="other"))
    with pytest.raises(InvariantError, match="no such pool"):
        metrics().attempt(attempt(pool="other"))
