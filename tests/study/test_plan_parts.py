"""What is had by the token is steered to the plan's own part; run from its files, a plan does what it promised."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from headrace.config import fleet_text, load_scenario, parse_fleet
from headrace.fleet import ShareUnit
from headrace.perf import compute_rate
from headrace.plan.build import Built
from headrace.sim import simulate
from headrace.study.plan.make import Made, Wanted, make_plan
from headrace.study.plan.parts import part_shares
from headrace.study.plan.promises import price_of
from headrace.study.plan.traces import write_traffic
from headrace.study.plan.trial import planned_usd_per_h
from headrace.traces import TraceOptions, open_traces

COMPANY = Path(__file__).resolve().parents[2] / "examples" / "plan-c-company.toml"
BUSIEST = "2027 Mon 08:00"
SECONDS = 1800.0


@cache
def made() -> Made:
    return make_plan(load_scenario(COMPANY), [], Wanted(proof=False, threads=1, period=BUSIEST))


def candidate(built: Built, name: str) -> int:
    return next(k for k, one in enumerate(built.problem.candidates) if one.name == name)


def test_the_part_is_the_plans_own_figure() -> None:
    built, plan, period = made().built, made().solution, made().shown
    (share,) = made().fleet().shares.values()
    rate = compute_rate(built.offer(candidate(built, "own")).deployment)
    sent = total = 0.0
    for j, cell in enumerate(built.problem.cells):
        work = {
            ShareUnit.REQUESTS: 1.0,
            ShareUnit.OUTPUT_TOKENS: cell.output_tokens,
            ShareUnit.COMPUTE: rate.work(cell.input_tokens, cell.output_tokens),
        }[share.of]
        sent += work * float(plan.flow[j, candidate(built, "groq"), period])
        total += work * cell.rate_per_s[period]
    assert (share.pools, share.report_only) == (("groq",), False)
    assert share.target == pytest.approx(sent / total)
    assert 0.05 < share.target < 0.95


def test_its_price_draws_traffic_in_by_what_the_held_seconds_are_worth() -> None:
    built, plan, period = made().built, made().solution, made().shown
    (share,) = made().fleet().shares.values()
    usd_per_s = -price_of(plan, "capacity", f"own, {BUSIEST}")
    assert share.of is ShareUnit.REQUESTS
    flow = plan.flow[:, candidate(built, "groq"), period]
    uses = built.problem.candidates[candidate(built, "own")].uses
    worth = sum(float(flow[j]) * use.unit_s for j, use in uses.items()) * usd_per_s / float(flow.sum())
    assert share.starting_price_usd == pytest.approx(-worth)
    assert share.starting_price_usd < 0.0


def test_what_a_rule_steers_has_no_second_share_and_what_carries_nothing_has_none() -> None:
    built, plan, period = made().built, made().solution, made().shown
    pools = {k: one.name for k, one in enumerate(built.problem.candidates)}
    assert [share.pools for share in part_shares(built, plan, pools, [period], frozenset()).values()] == [("groq",)]
    assert part_shares(built, plan, pools, [period], frozenset({"groq"})) == {}


def test_the_plan_of_the_company_keeps_its_word_when_its_files_are_simulated(tmp_path: Path) -> None:
    """Share within half a point, SLOs kept, money and waiting within a tenth, as the live run of docs/plan.md."""
    fleet = parse_fleet(fleet_text(made().fleet()), "plan")
    traces = {one.workload_class: str(one.path) for one in write_traffic(made(), tmp_path, SECONDS)}
    records = []
    result = simulate(fleet, open_traces(traces, TraceOptions()), on_request=records.append)
    ((name, share),) = fleet.shares.items()
    assert result.metrics.shares[name].realized == pytest.approx(share.target, abs=0.005)
    held, added, waiting = planned_usd_per_h(made().built, made().solution, made().shown)
    hours = SECONDS / 3600.0
    assert held + sum(one.cost_usd for one in records) / hours == pytest.approx(held + added, rel=0.1)
    value = {one.name: one.value_of_time_usd_per_s for one in fleet.classes.values()}
    waited = sum(value[one.workload_class] * (one.e2e_s or 0.0) for one in records)
    assert waited / hours == pytest.approx(waiting, rel=0.1)
    for one in fleet.classes.values():
        own = [record for record in records if record.workload_class == one.name]
        met = sum(record.outcome == "completed" and one.slo.met(record.ttft_s, record.tpot_s) for record in own)
        assert met >= one.slo.attainment * len(own)
