"""From a scenario to the problem: demand is conserved, prices and dates arrive, and rules become constraints."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headrace.config.scenario_file import build_scenario
from headrace.cost import hourly_cost, unit_of
from headrace.errors import ConfigError, InfeasiblePlan
from headrace.fleet.scenario import Scenario, ShareUnit, Speed, TraceDemand
from headrace.fleet.terms import Owned
from headrace.perf import compute_rate
from headrace.plan.bill import recomputed
from headrace.plan.build import Built, Outlook, build
from headrace.plan.demand import profile
from headrace.plan.solution import Ending, Money, Solution

TEXT = """
schema = 1
discount_rate = 0.1
[horizon]
start = 2026-01-01
years = 3
period_hours = 12
[models.gpt-oss-120b]
[deployments.h100]
model = "gpt-oss-120b"
accelerator = "H100"
count = 4
max_batch = 256
kv_cache = { prefix_cache = true }
[deployments.wafers]
model = "gpt-oss-120b"
accelerator = "WSE-3"
count = 4
[deployments.service]
model = "gpt-oss-120b"
observed = { ttft_s = 0.3, input_tokens_per_s = 10000.0, tpot_s = 0.001, ttft_quantiles_s = { p50 = 0.3, p95 = 0.9 } }
[terms.own]
type = "owned"
capex_usd = 30000
life_years = 5
discount_rate = 0.1
electricity_usd_per_kwh = 0.08
idle_fraction = 0.3
[terms.spot]
type = "rented"
usd_per_hour = 1.0
term = "spot"
interruptions_per_hour = 0.1
recover_s = 360
[terms.deal]
type = "committed"
contract = "deal"
[terms.api]
type = "per_token"
input_usd_per_mtok = 0.4
cached_input_usd_per_mtok = 0.1
output_usd_per_mtok = 0.8
tokens_per_minute = 6e6
contract = "spend"
[contracts.deal]
type = "capacity"
usd = 60e6
priced_by = "total"
tranches = [{ start = 2027-01-01, mw = 1 }, { start = 2028-01-01, mw = 1 }]
end = 2029-01-01
overhead = 1.3
take_or_pay = 0.8
[contracts.spend]
type = "spend"
steps = [{ min_usd_per_year = 1e6, discount = 0.1 }, { min_usd_per_year = 2e6, discount = 0.2 }]
[candidates.gpu]
deployment = "h100"
terms = ["own", "spot"]
site = "home"
available_from = 2026-06-01
min_accelerators = 6
max_accelerators = 64
[candidates.wafers]
deployment = "wafers"
terms = ["deal"]
[candidates.service]
deployment = "service"
terms = ["api"]
vendor = "Fast"
[classes.chat]
models = ["gpt-oss-120b"]
value_of_time_usd_per_s = 0.0003
slo = { ttft_s = 1.0, tpot_s = 0.05 }
degraded = { ttft_s = 5.0, tpot_s = 0.1 }
growth_per_year = 0.5
cached_input_fraction = 0.5
[classes.chat.demand]
type = "lognormal"
input_median = 1000
input_sigma = 0.5
output_median = 200
output_sigma = 0.5
buckets = [2, 2]
requests_per_day = 1e6
weekend = 0.5
[classes.batch]
models = ["gpt-oss-120b"]
value_of_time_usd_per_s = 0
[classes.batch.demand]
type = "stated"
requests_per_day = 1e5
buckets = [{ input_tokens = 8000, output_tokens = 500, fraction = 1 }]
[[constraints]]
type = "share"
name = "a tenth"
of = "compute"
reference = "h100"
vendors = ["Cerebras", "Fast"]
at_least = 0.1
reason = "r1"
[[constraints]]
type = "survival"
name = "one down"
lose = "any_vendor"
level = { chat = 0.8 }
utilization = 0.9
reason = "r2"
[[constraints]]
type = "residency"
name = "at home"
classes = ["batch"]
sites = ["home", "deal"]
reason = "r3"
[[constraints]]
type = "budget"
max_usd = 5e6
year = 1
reason = "r4"
[[constraints]]
type = "power"
site = "home"
max_mw = [0.1, 0.2, 0.3]
reason = "r5"
[[constraints]]
type = "concentration"
of = "spend"
at_most = 0.6
reason = "r6"
"""


def scenario(*changes: tuple[str, str]) -> Scenario:
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return build_scenario(tomllib.loads(text), "x")


@pytest.fixture(scope="module")
def built() -> Built:
    return build(scenario())


def candidate_of(built: Built, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in built.problem.candidates if one.name == name)


def test_requests_are_conserved(built: Built) -> None:
    """Over the horizon, as many requests as the class asks for, with its growth."""
    hours = np.array([period.hours for period in built.problem.periods])
    assert hours.sum() == pytest.approx(3 * 8760.0)
    for name, daily, growth in (("chat", 1e6, 0.5), ("batch", 1e5, 0.0)):
        cells = [cell for cell in built.problem.cells if cell.workload_class == name]
        found = sum(float(np.dot(cell.rate_per_s, hours)) * 3600 for cell in cells)
        mean_growth = (1.5**3 - 1) / (3 * np.log(1.5)) if growth else 1.0
        assert found == pytest.approx(daily * 365 * 3 * mean_growth, rel=1e-9)


def test_a_weekend_is_quieter_and_every_week_is_the_same(built: Built) -> None:
    rate = {p.name: built.problem.cells[0].rate_per_s[k] for k, p in enumerate(built.problem.periods)}
    assert rate["2026 Sat 12:00"] == pytest.approx(0.5 * rate["2026 Fri 12:00"])
    assert rate["2027 Mon 00:00"] == pytest.approx(1.5 * rate["2026 Mon 00:00"])


def test_work_is_counted_in_every_unit(built: Built) -> None:
    rate = compute_rate(next(o.deployment for o in built.scenario.offers if o.deployment.name == "h100"))
    for cell in built.problem.cells:
        assert cell.work[ShareUnit.REQUESTS] == 1.0
        assert cell.work[ShareUnit.OUTPUT_TOKENS] == cell.output_tokens
        assert cell.work[ShareUnit.COMPUTE] == pytest.approx(rate.work(cell.input_tokens, cell.output_tokens))


def test_owned_capacity_comes_when_it_can_and_stays(built: Built) -> None:
    own = candidate_of(built, "gpu.own")
    offer = next(one for one in built.scenario.offers if one.name == "gpu.own")
    assert isinstance(offer.terms, Owned)
    held = hourly_cost(offer.terms, unit_of(offer.deployment)).held
    assert own.usd_per_unit_hour == pytest.approx((held,) * 3)
    assert own.max_units == (0.0, 16, 16)  # June is after the first stage's start
    assert own.min_units == (0.0, 2, 2)  # six accelerators: two units of four
    assert (own.keeps, own.elastic) == (True, False)
    assert own.unit_w == pytest.approx(4 * 1730.0)


def test_spot_is_elastic_and_sometimes_away(built: Built) -> None:
    spot = candidate_of(built, "gpu.spot")
    assert (spot.keeps, spot.elastic) == (False, True)
    assert spot.availability == pytest.approx(1 / 1.01)
    assert spot.usd_per_unit_hour == (4.0,) * 3


def test_committed_capacity_follows_its_tranches(built: Built) -> None:
    wafers, problem = candidate_of(built, "wafers"), built.problem
    assert wafers.contract == "deal"
    assert wafers.unit_w == pytest.approx(4 * 23e3 * 1.3)
    assert wafers.max_units == (0, 8, 16)
    contract = next(one for one in problem.contracts if one.name == "deal")
    assert contract.min_usd == pytest.approx((0.0, 0.8 * 20e6, 0.8 * 40e6))
    limit = next(one for one in problem.power if one.site == "deal")
    assert limit.max_w == (0.0, 1e6, 2e6)
    # all of it, held for its term, costs the contract's price
    megawatts = wafers.unit_w / 1e6
    assert wafers.usd_per_unit_hour[0] / megawatts * 8760 * 3.0 == pytest.approx(60e6)


def test_steps_of_a_price_list_exclude_each_other(built: Built) -> None:
    names = ["service", "service@1e+06", "service@2e+06"]
    offers = [candidate_of(built, name) for name in names]
    assert [one.contract for one in offers] == ["spend@list", "spend@1e+06", "spend@2e+06"]
    contracts = [one for one in built.problem.contracts if one.group == "spend"]
    assert [one.min_usd for one in contracts] == [(), (1e6,) * 3, (2e6,) * 3]
    usd = [one.uses[0].usd for one in offers]
    assert usd == pytest.approx([usd[0], 0.9 * usd[0], 0.8 * usd[0]])
    cell = built.problem.cells[0]
    paid = cell.input_tokens * (0.5 * 0.4 + 0.5 * 0.1) / 1e6 + cell.output_tokens * 0.8 / 1e6
    assert usd[0] == pytest.approx(paid)
    assert all(one.by_token and one.tokens_per_s == 1e5 for one in offers)


def test_rules_become_constraints_with_their_reasons(built: Built) -> None:
    problem = built.problem
    (share,) = problem.shares
    assert share.candidates == {"wafers", "service", "service@1e+06", "service@2e+06"}
    assert (share.at_least, share.reason) == (0.1, "r1")
    assert [one.name for one in problem.survivals] == ["one down: NVIDIA", "one down: Cerebras", "one down: Fast"]
    assert problem.survivals[0].lost == {"gpu.own", "gpu.spot"}
    assert problem.survivals[0].level == {"chat": 0.8}
    assert [(one.stage, one.max_usd, one.reason) for one in problem.budgets] == [(1, 5e6, "r4")]
    assert problem.power[0].max_w == (1e5, 2e5, 3e5)
    assert [(one.at_most, one.vendor) for one in problem.concentrations] == [(0.6, None)]


def test_residency_leaves_other_sites_no_use(built: Built) -> None:
    batch = next(k for k, cell in enumerate(built.problem.cells) if cell.workload_class == "batch")
    users = {one.name for one in built.problem.candidates if batch in one.uses}
    assert users == {"gpu.own", "gpu.spot", "wafers"}


def test_degraded_service_takes_no_more_of_a_unit(built: Built) -> None:
    for one in built.problem.candidates:
        for use in one.uses.values():
            assert use.degraded_unit_s is not None
            assert use.degraded_unit_s <= use.unit_s * (1 + 1e-6)


def test_what_scatters_is_held_to_its_quantile() -> None:
    """A service whose p95 of TTFT is 0.9 s plus prefill serves a class that asks for 1 s, and not for 0.8 s."""
    loose, tight = build(scenario()), build(scenario(("slo = { ttft_s = 1.0", "slo = { ttft_s = 0.8")))
    assert 0 in candidate_of(loose, "service").uses
    assert 0 not in candidate_of(tight, "service").uses


def test_what_nobody_can_serve_is_said_with_everybodys_reason() -> None:
    with pytest.raises(InfeasiblePlan) as refused:
        build(
            scenario(
                ("slo = { ttft_s = 1.0, tpot_s = 0.05 }\ndegraded", "slo = { ttft_s = 0.01 }\ndegraded"),
                ("degraded = { ttft_s = 5.0, tpot_s = 0.1 }", "degraded = { ttft_s = 5.0 }"),
            )
        )
    message = str(refused.value)
    assert "class 'chat', 699/140 tokens" in message
    assert "service: TTFT 0.935 s, TPOT 0.001 s miss TTFT 0.01 s" in message
    assert "gpu.own: misses TTFT 0.01 s at any load" in message


def test_an_outlook_moves_what_it_says(built: Built) -> None:
    future = build(built.scenario, Outlook(demand=2.0, growth=0.0, price=1.5, speed=-1.0)).problem
    base = built.problem
    assert future.cells[0].rate_per_s[0] == pytest.approx(2.0 * base.cells[0].rate_per_s[0] / base_growth(0.5))
    assert future.candidates[0].usd_per_unit_hour[0] == pytest.approx(1.5 * base.candidates[0].usd_per_unit_hour[0])
    wafers = [next(one for one in problem.candidates if one.name == "wafers") for problem in (base, future)]
    assert wafers[0].usd_per_unit_hour == wafers[1].usd_per_unit_hour  # a contract keeps its price
    assert future.candidates[0].uses[0].unit_s > base.candidates[0].uses[0].unit_s


def base_growth(per_year: float) -> float:
    """Mean over the first year."""
    return float(per_year / np.log(1.0 + per_year))


def test_a_scenario_may_plan_with_the_slow_end(built: Built) -> None:
    cautious = replace(built.scenario, uncertainty=replace(built.scenario.uncertainty, speed=Speed.UNFAVOURABLE))
    assert build(cautious).problem == build(built.scenario, Outlook(speed=-1.0)).problem


def test_scaling_to_a_billion_requests_a_day_keeps_the_mix(built: Built) -> None:
    scaled = build(replace(built.scenario, requests_per_day=1e9))
    factors = {
        big.rate_per_s[0] / small.rate_per_s[0]
        for big, small in zip(scaled.problem.cells, built.problem.cells, strict=True)
    }
    assert min(factors) == pytest.approx(max(factors))
    assert min(factors) == pytest.approx(1e9 / 1.1e6)


def test_a_trace_is_cut_into_buckets_that_keep_its_tokens(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = np.column_stack(
        [np.sort(rng.uniform(0, 7200, 3000)), rng.integers(10, 5000, 3000), rng.integers(1, 900, 3000)]
    )
    path = tmp_path / "trace.csv"
    lines = [
        f"2024-05-13 {int(9 + t // 3600):02d}:{int(t % 3600 // 60):02d}:{t % 60:09.6f},{int(i)},{int(o)}"
        for t, i, o in rows
    ]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines) + "\n")
    base = scenario()
    planned = replace(base.classes[0], demand=TraceDemand(str(path), (4, 3)))
    found = profile(planned, base.horizon)
    assert len(found.input_tokens) == 12
    monday_at_nine = found.rate_per_s[:, 9].sum()
    assert monday_at_nine * 3600 == pytest.approx(np.sum(rows[:, 0] < 3600), rel=1e-3)
    uncovered = found.rate_per_s[:, 30]
    assert uncovered.sum() * 3600 == pytest.approx(1500, rel=0.01)
    share = uncovered / uncovered.sum()
    assert share @ found.input_tokens == pytest.approx(rows[:, 1].mean())
    assert share @ found.output_tokens == pytest.approx(rows[:, 2].mean())


def test_a_trace_without_requests_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    base = scenario()
    with pytest.raises(ConfigError, match="gives no request"):
        profile(replace(base.classes[0], demand=TraceDemand(str(path), (2, 2))), base.horizon)


def test_a_plans_money_is_its_quantities_at_their_prices(built: Built) -> None:
    """By hand: one unit of everything that has units, and a thousandth of each cell's demand on each of its users."""
    problem = built.problem
    hours = np.array([period.hours for period in problem.periods])
    units = np.array([[0.0 if one.by_token else 1.0] * len(hours) for one in problem.candidates])
    flow = np.zeros((len(problem.cells), len(problem.candidates), len(hours)))
    usd = 0.0
    for index, one in enumerate(problem.candidates):
        for cell, use in one.uses.items():
            flow[cell, index] = np.array(problem.cells[cell].rate_per_s) / 1000
            usd += use.usd * float(flow[cell, index] @ hours) * 3600
        usd += (one.usd_per_unit_hour[0] if one.usd_per_unit_hour else 0.0) * float(units[index] @ hours)
    nothing = np.zeros((len(problem.candidates), len(problem.stages)))
    money = Money(nothing, nothing, nothing, nothing, 0.0)
    solution = Solution(problem, Ending.OPTIMAL, units, flow, frozenset(), money, 0.0, 0.0)
    assert recomputed(built, solution).usd == pytest.approx(usd)
    signed = replace(solution, signed=frozenset({"deal"}))
    missing = recomputed(built, signed).promised["deal"]
    wafer_usd = candidate_of(built, "wafers").usd_per_unit_hour[0] * 8760
    assert missing == pytest.approx((0.0, 16e6 - wafer_usd, 32e6 - wafer_usd))
