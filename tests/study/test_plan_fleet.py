"""A plan's fleet loads back from its file as it is, checks out, holds what the plan holds, and simulates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_rig import SCENARIO, planned

from headrace.config import fleet_text, parse_fleet
from headrace.fleet import Hourly, PerToken, thinned
from headrace.fleet.check import check_fleet
from headrace.fleet.scenario import ShareUnit
from headrace.plan.solution import LimitPrice
from headrace.study.plan.fleet import busiest_period, class_flow, planned_fleet
from headrace.study.plan.shares import realized_share
from headrace.study.plan.traffic import Course, planned_traffic

ALL_DAY = (0, 1)
LIMITED = SCENARIO.replace("output_usd_per_mtok = 4.0", "output_usd_per_mtok = 4.0\nrequests_per_minute = 6000.0")


def test_the_fleet_of_a_plan_is_read_back_as_it_was_written() -> None:
    built, plan = planned(LIMITED)
    for period, over in ((0, ALL_DAY), (1, ALL_DAY), (1, None)):
        fleet = planned_fleet(built, plan, period, over)
        assert check_fleet(fleet) == ()
        assert parse_fleet(fleet_text(fleet), "plan") == fleet


def test_a_backend_is_a_unit_and_costs_what_the_plan_pays() -> None:
    built, plan = planned()
    for period in ALL_DAY:
        pools = planned_fleet(built, plan, period).pools
        for k, candidate in enumerate(built.problem.candidates):
            units = 1 if candidate.by_token else round(plan.units[k, period])
            assert (len(pools[candidate.name].backends) if candidate.name in pools else 0) == units
            if units and not candidate.by_token:
                price = pools[candidate.name].price
                assert isinstance(price, Hourly)
                assert price.usd_per_accelerator_hour == pytest.approx(candidate.usd_per_unit_hour[0])
    assert isinstance(planned_fleet(built, plan, 0).pools["fast"].price, PerToken)


def test_every_class_may_go_wherever_the_plan_sends_it() -> None:
    built, plan = planned()
    for period in ALL_DAY:
        fleet = planned_fleet(built, plan, period)
        routes = {route.workload_class: route.pools for route in fleet.routes}
        for k, supply in enumerate(built.supplies):
            for name in fleet.classes:
                if supply.name in fleet.pools and class_flow(built, plan, k, name) > 0.0:
                    assert supply.name in routes[name]


def test_a_share_is_steered_to_what_the_plan_came_to_and_starts_at_its_price() -> None:
    """`at least` costs: pulling traffic in is worth as much to the fleet as the bound costs the plan."""
    built, plan = planned()
    share = planned_fleet(built, plan, 0, ALL_DAY).shares["fast-share"]
    inside = {k for k, supply in enumerate(built.supplies) if supply.offer.vendor == "Fast"}
    assert share.target == pytest.approx(realized_share(built, plan, ShareUnit.REQUESTS, inside, ALL_DAY))
    assert share.target == pytest.approx(0.1, abs=1e-6)
    price = next(p.usd_per_unit for p in plan.prices if p.name == "fast share, at least")
    assert price > 0.0
    assert share.starting_price_usd == -price


def test_a_class_starts_from_what_the_plan_pays_for_one_more_request() -> None:
    built, plan = planned()
    fleet = planned_fleet(built, plan, 0)
    paid = {p.name: p.usd_per_unit for p in plan.prices if p.kind == "demand"}
    assert fleet.classes["chat"].slo.priced
    assert fleet.classes["chat"].slo.starting_price_usd == pytest.approx(paid["chat"])
    assert not fleet.classes["batch"].slo.priced  # it has no threshold


def test_commitments_and_budgets_are_a_years_and_start_at_the_plans_prices() -> None:
    budget = (
        '[[constraints]]\ntype = "budget"\nname = "this year"\nmax_usd = 90000.0\nreason = "approved"\n\n[uncertainty]'
    )
    steps = "steps = [{ min_usd_per_year = 20000.0, discount = 0.5 }]"
    spend = f'[contracts.fast-deal]\ntype = "spend"\n{steps}\n\n[terms.token]'
    text = SCENARIO.replace("[uncertainty]", budget).replace("[terms.token]", spend)
    text = text.replace("output_usd_per_mtok = 4.0", 'output_usd_per_mtok = 4.0\ncontract = "fast-deal"')
    built, plan = planned(text)
    assert any(name == "fast-deal@20000" for name in plan.signed)
    prices = [*plan.prices, LimitPrice("commitment", "fast-deal@20000, 2027", 0.25, "USD", True)]
    prices += [LimitPrice("budget", "this year", -0.5, "USD", True)]
    fleet = planned_fleet(built, replace(plan, prices=tuple(prices)), 0, ALL_DAY)
    (commitment,) = fleet.commitments.values()
    assert (commitment.amount, commitment.pools) == (pytest.approx(20000.0), ("fast.20000",))
    assert commitment.starting_price_usd == pytest.approx(
        -0.25 - sum(p.usd_per_unit for p in plan.prices if p.kind == "commitment")
    )
    assert (fleet.budgets["this-year"].usd, fleet.budgets["this-year"].starting_price_usd) == (90000.0, 0.5)
    assert parse_fleet(fleet_text(fleet), "plan") == fleet


def test_an_apis_limits_are_thinned_with_it() -> None:
    built, plan = planned(LIMITED)
    thin, _ = thinned(planned_fleet(built, plan, 1), 0.25)
    quota = thin.pools["fast"].deployment.quota
    assert quota is not None
    assert quota.requests_per_minute == pytest.approx(1500.0)


def test_traffic_has_the_plans_rates_sizes_and_burstiness() -> None:
    built, plan = planned()
    period = busiest_period(built.problem)
    course = Course(2000.0, lambda name, at_s: 1.0, 1.0)
    requests = list(planned_traffic(built, plan, period, course, 0.5, 7))
    assert requests == list(planned_traffic(built, plan, period, course, 0.5, 7))
    assert [r.arrival_s for r in requests] == sorted(r.arrival_s for r in requests)
    for name in ("chat", "batch"):
        rate = sum(c.rate_per_s[period] for c in built.problem.cells if c.workload_class == name) * 0.5
        came = [r for r in requests if r.workload_class == name]
        assert len(came) / 2000.0 == pytest.approx(rate, rel=0.06)
    chat = [r for r in requests if r.workload_class == "chat"]
    assert {(r.input_tokens, r.output_tokens) for r in chat} == {(500, 100), (2000, 300)}
    assert _dispersion([r.arrival_s for r in chat]) == pytest.approx(2.0, rel=0.25)
    assert _dispersion([r.arrival_s for r in requests if r.workload_class == "batch"]) == pytest.approx(1.0, rel=0.25)


def _dispersion(times_s: list[float], window_s: float = 4.0) -> float:
    """Variance over mean of the counts in windows."""
    counts = [0] * int(2000.0 / window_s)
    for at_s in times_s:
        counts[min(int(at_s / window_s), len(counts) - 1)] += 1
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / len(counts) / mean
