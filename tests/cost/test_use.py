"""What a request uses of its pool, counted by hand: list prices, hours, joules, tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.config import load_fleet
from headrace.cost import energy_rate, marginal_cost, period_rates, replica_rate, share_rates, spend_rate
from headrace.errors import ConfigError
from headrace.fleet import Budget, Commitment, CommittedUnit, Hourly, Per, Share, ShareUnit
from headrace.metrics import WorkRate
from headrace.perf import speed_curve

FLEET = load_fleet()
GROQ, H100, TPU = (FLEET.pools[name] for name in ("groq", "h100", "tpu-v6e"))


def test_spend_on_a_per_token_pool_is_its_list_price() -> None:
    assert spend_rate(GROQ).work(1_000_000, 500_000) == pytest.approx(0.15 + 0.30)
    assert spend_rate(GROQ).work(1_000_000, 0, 400_000) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075)


def test_spend_on_an_hourly_pool_is_its_part_of_the_hours_and_its_energy() -> None:
    curve, price = speed_curve(H100.deployment), H100.price
    assert isinstance(price, Hourly)
    busy_s = 10_000 * curve.prefill_s_per_token + 2_000 * curve.step_s[curve.max_batch] / curve.max_batch
    assert replica_rate(H100).work(10_000, 2_000) == pytest.approx(busy_s)
    hours_usd = busy_s / 3600 * 8 * price.usd_per_accelerator_hour
    cost = marginal_cost(H100, curve)
    energy_usd = 10_000 * cost.usd_per_input_token + 2_000 * cost.usd_per_output_token
    assert spend_rate(H100).work(10_000, 2_000) == pytest.approx(hours_usd + energy_usd)
    assert spend_rate(H100).work(10_000, 0, 10_000) == pytest.approx(0.0), "what is cached is not computed again"


def test_a_replica_that_is_busy_for_an_hour_spends_its_hour_and_its_joules() -> None:
    rate = replica_rate(H100)
    tokens = 3600.0 / rate.per_output_token
    price = H100.price
    assert isinstance(price, Hourly)
    assert H100.power_w is not None
    assert energy_rate(H100).work(0, tokens) == pytest.approx(3600.0 * H100.power_w)
    kwh_usd = H100.power_w / 1000 * price.electricity_usd_per_kwh
    assert spend_rate(H100).work(0, tokens) == pytest.approx(8 * price.usd_per_accelerator_hour + kwh_usd)


def test_power_is_as_assumed_else_that_of_the_chips_at_the_meter_else_unknown() -> None:
    price = H100.price
    assert isinstance(price, Hourly)
    warm = replace(H100, price=replace(price, pue=1.5))
    assert (H100.power_w, warm.power_w) == (8 * 1730.0, 12 * 1730.0)
    assert replace(warm, assumed_w=9.0).power_w == 9.0
    assert TPU.power_w is None
    with pytest.raises(ConfigError, match="assumed_w"):
        energy_rate(TPU)


def test_shares_of_spend_and_power_count_by_pool_and_the_others_do_not() -> None:
    share = Share("s", ("groq",), 0.1, ShareUnit.REQUESTS)
    assert share_rates(FLEET, share) == WorkRate(1.0, 0.0, 0.0)
    spend = share_rates(FLEET, replace(share, of=ShareUnit.SPEND))
    assert not isinstance(spend, WorkRate)
    assert spend == {name: spend_rate(pool) for name, pool in FLEET.pools.items()}


def test_a_commitment_counts_in_its_unit_on_its_pools_and_a_budget_in_usd_on_all() -> None:
    def committed(unit: CommittedUnit) -> float:
        each = Commitment("c", ("h100",), 1.0, unit, Per.DAY)
        (rate,) = period_rates(replace(FLEET, commitments={"c": each}))["commitments.c"].values()
        return rate.work(1000, 100)

    assert committed(CommittedUnit.TOKENS) == 1100
    assert committed(CommittedUnit.USD) == spend_rate(H100).work(1000, 100)
    assert committed(CommittedUnit.ACCELERATOR_HOURS) == pytest.approx(8 * replica_rate(H100).work(1000, 100) / 3600)
    rates = period_rates(replace(FLEET, budgets={"b": Budget("b", 1.0, Per.DAY)}))["budgets.b"]
    assert list(rates) == list(FLEET.pools)


def test_a_month_is_a_twelfth_of_a_year() -> None:
    assert 12 * Per.MONTH.seconds == Per.YEAR.seconds == 8766 * Per.HOUR.seconds
    assert Per.DAY.seconds == 24 * Per.HOUR.seconds
