"""Marginal cost: the list price, or the energy, never zero by mistake."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cost import capacity_cost_usd, marginal_cost, request_cost_usd
from headrace.errors import ConfigError
from headrace.fleet import Backend, Deployment, Hourly, OperatingPoint, PerToken, Pool, PriceTerms, catalog
from headrace.perf import speed_curve

MODEL = catalog.model("gpt-oss-120b")
H100 = Deployment("h100", MODEL, catalog.accelerator("H100"), 8)


def pool(price: PriceTerms, deployment: Deployment = H100, backends: int = 2) -> Pool:
    each = tuple(Backend(f"b{index}", "p", "http://127.0.0.1:1") for index in range(backends))
    return Pool("p", deployment, price, each)


def test_per_token_terms_cost_the_list_price() -> None:
    terms = pool(PerToken(0.15, 0.60, 0.075))
    cost = marginal_cost(terms, speed_curve(H100))
    assert request_cost_usd(cost, 1_000_000, 1_000_000, 400_000) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.60)


def test_without_a_cached_price_cached_input_costs_as_much_as_other_input() -> None:
    cost = marginal_cost(pool(PerToken(0.35, 0.75)), speed_curve(H100))
    assert cost.usd_per_cached_input_token == cost.usd_per_input_token


def test_hourly_terms_cost_the_energy_of_the_seconds_that_a_token_takes() -> None:
    curve = speed_curve(H100)
    cost = marginal_cost(pool(Hourly(1.30, 0.10, pue=1.2)), curve)
    watts_usd_per_s = 8 * 1730 * 1.2 / 1000 * 0.10 / 3600
    assert cost.usd_per_input_token == pytest.approx(curve.prefill_s_per_token * watts_usd_per_s)
    assert cost.usd_per_output_token == pytest.approx(curve.step_s[128] / 128 * watts_usd_per_s)
    assert cost.usd_per_cached_input_token == 0


def test_hourly_terms_without_a_power_figure_are_refused() -> None:
    tpu = Deployment("tpu", MODEL, catalog.accelerator("TPU v6e"), 8)
    service = Deployment("s", MODEL, observed=OperatingPoint(0.2, 1e4, 0.001))
    for deployment in (tpu, service):
        with pytest.raises(ConfigError, match="power"):
            marginal_cost(pool(Hourly(1.0, 0.1), deployment), speed_curve(deployment))


def test_capacity_costs_its_hours_whether_used_or_not() -> None:
    assert capacity_cost_usd(pool(Hourly(1.30, 0.1)), 2 * 1800.0) == pytest.approx(1.30 * 8 * 2 * 0.5)
    assert capacity_cost_usd(pool(PerToken(0.1, 0.2)), 1800.0) == 0


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**4), st.integers(0, 10**4))
def test_more_tokens_never_cost_less_and_a_cache_hit_never_costs_more(
    hourly: bool, inputs: int, more: int, outputs: int, more_out: int
) -> None:
    terms = Hourly(1.3, 0.08) if hourly else PerToken(0.15, 0.6, 0.075)
    cost = marginal_cost(pool(terms), speed_curve(H100))
    base = request_cost_usd(cost, inputs, outputs)
    assert 0 <= base <= request_cost_usd(cost, inputs + more, outputs + more_out)
    assert request_cost_usd(cost, inputs, outputs, inputs) <= base
