"""What capacity costs on its terms, and a plan in total: laws first, then figures that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cost import (
    Line,
    Quantities,
    Unit,
    capacity_years,
    capital_recovery_factor,
    hourly_cost,
    live_w,
    meter_w,
    tco,
    unit_of,
)
from headrace.fleet import Deployment, PerToken, Split, catalog
from headrace.fleet.dates import add_months, years_between
from headrace.fleet.terms import (
    ByToken,
    CapacityContract,
    Committed,
    Electricity,
    Owned,
    PricedBy,
    Rented,
    Term,
    Tranche,
)

UNIT = Unit(8, 8 * 1730.0)
OWNED = Owned(30_000.0, 5.0, 0.1, Electricity(0.08, pue=1.2, idle_fraction=0.25), 100.0, 500.0)


@given(st.floats(0.0, 0.5), st.integers(1, 30))
def test_the_recovery_factor_pays_back_what_was_borrowed(rate: float, years: int) -> None:
    """A loan of one, with interest, is paid after as many yearly payments of the factor."""
    owed, payment = 1.0, capital_recovery_factor(rate, float(years))
    for _ in range(years):
        owed = owed * (1.0 + rate) - payment
    assert owed == pytest.approx(0.0, abs=1e-9 * (1.0 + rate) ** years)


def test_an_owned_hour_is_capital_hosting_people_and_idle_power() -> None:
    cost = hourly_cost(OWNED, UNIT)
    assert cost.capital == pytest.approx(8 * 30_000 * 0.263797 / 8760, rel=1e-5)
    assert cost.hosting == pytest.approx(100 * 13.84 * 12 / 8760)
    assert cost.staff == pytest.approx(8 * 500 / 8760)
    full_usd = 13.84 * 1.2 * 0.08
    assert cost.idle_power == pytest.approx(0.25 * full_usd)
    assert cost.busy == pytest.approx(0.75 * full_usd)
    assert cost.held == pytest.approx(cost.capital + cost.hosting + cost.staff + cost.idle_power + cost.rent)
    assert meter_w(OWNED, UNIT) == pytest.approx(8 * 1730.0 * 1.2)


def test_rent_is_all_there_is_to_a_rented_hour() -> None:
    cost = hourly_cost(Rented(1.3, Term.THREE_YEARS), UNIT)
    assert cost.held == pytest.approx(10.4)
    assert cost.busy == 0.0


def test_spot_is_there_for_a_part_of_the_time() -> None:
    assert Rented(1.0, Term.SPOT, interruptions_per_hour=0.5, recover_s=3600.0).availability == pytest.approx(2 / 3)
    assert Rented(1.0, Term.ON_DEMAND).availability == 1.0


def contract(priced_by: PricedBy, usd: float) -> CapacityContract:
    tranches = (Tranche(date(2026, 1, 1), power_w=1e6), Tranche(date(2027, 7, 2), power_w=2e6))
    return CapacityContract("c", usd, priced_by, tranches, date(2028, 1, 1), overhead=1.25)


def test_a_price_is_the_same_however_it_is_quoted() -> None:
    """Two years of 1 MW and half a year of 2 MW: three megawatt-years, and a unit of 13.84 kW * 1.25."""
    years = capacity_years(contract(PricedBy.TOTAL, 1.0))
    assert years == pytest.approx(2.0 + 2.0 * 183 / 365)
    by_total = hourly_cost(Committed("c"), UNIT, contract(PricedBy.TOTAL, years * 5e6))
    by_year = hourly_cost(Committed("c"), UNIT, contract(PricedBy.MW_YEAR, 5e6))
    by_hour = hourly_cost(Committed("c"), UNIT, contract(PricedBy.ACCELERATOR_HOUR, by_year.held / 8))
    assert by_total.held == pytest.approx(by_year.held) == pytest.approx(by_hour.held)
    assert by_year.held == pytest.approx(5e6 * 13.84e3 * 1.25 / 1e6 / 8760)


def test_stages_of_a_contract_add_up_to_its_term() -> None:
    deal, days = contract(PricedBy.TOTAL, 1.0), [date(2026, 1, 1), date(2027, 1, 1), date(2028, 1, 1)]
    parts = [capacity_years(deal, start, end) for start, end in pairwise(days)]
    assert sum(parts) == pytest.approx(capacity_years(deal))
    assert capacity_years(deal, date(2028, 1, 1), date(2029, 1, 1)) == 0.0


def test_a_tranche_is_live_from_its_day_on() -> None:
    deal = contract(PricedBy.TOTAL, 1.0)
    live = [live_w(deal, day, 1730.0) for day in (date(2025, 12, 31), date(2027, 7, 1), date(2027, 7, 2))]
    assert live == [0.0, 1e6, 3e6]
    assert live_w(deal, deal.end, 1730.0) == 0.0
    counted = replace(deal, tranches=(Tranche(date(2026, 1, 1), accelerators=10),))
    assert live_w(counted, date(2026, 1, 1), 1730.0) == pytest.approx(10 * 1730.0 * 1.25)


def test_a_unit_with_split_prefill_holds_both_groups() -> None:
    model, chip = catalog.model("gpt-oss-120b"), catalog.accelerator("H100")
    together = unit_of(Deployment("d", model, chip, count=4))
    apart = unit_of(Deployment("d", model, chip, count=4, split=Split(1, 3, 1e11)))
    assert (together.accelerators, apart.accelerators) == (4, 16)
    assert apart.power_w == 4 * together.power_w


def test_a_total_is_what_was_held_used_and_promised() -> None:
    api = ByToken(PerToken(1.0, 4.0, 0.5))
    stages = (Quantities(input_tokens=3e6, cached_input_tokens=1e6, output_tokens=2e6), Quantities())
    rows = {
        "api": Line(api, Unit(0, 0.0), stages, discount=0.1, promise="deal"),
        "own": Line(OWNED, UNIT, (Quantities(unit_hours=100.0, busy_unit_s=36_000.0), Quantities(unit_hours=200.0))),
    }
    found, hour = tco(rows, {"deal": (20.0, 5.0)}), hourly_cost(OWNED, UNIT)
    assert found.used["api"] == pytest.approx((0.9 * (2.0 + 0.5 + 8.0), 0.0))
    assert found.promised["deal"] == pytest.approx((20.0 - 9.45, 5.0))
    assert found.held["own"] == pytest.approx((100 * hour.held, 200 * hour.held))
    assert found.used["own"] == pytest.approx((10 * hour.busy, 0.0))
    assert found.usd == pytest.approx(20.0 + 5.0 + 300 * hour.held + 10 * hour.busy)


def test_present_value_discounts_each_stage_from_its_middle() -> None:
    found = tco({"own": Line(OWNED, UNIT, (Quantities(unit_hours=1.0), Quantities(unit_hours=1.0)))}, {})
    assert found.present_value_usd(0.0, [1.0, 1.0]) == pytest.approx(found.usd)
    expected = found.by_stage[0] / 1.1**0.5 + found.by_stage[1] / 1.1**1.5
    assert found.present_value_usd(0.1, [1.0, 1.0]) == pytest.approx(expected)


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)), st.integers(0, 120))
def test_whole_months_are_whole_years(start: date, months: int) -> None:
    end = add_months(start, months)
    assert (end.year - start.year) * 12 + end.month - start.month == months
    if months % 12 == 0 and start.day <= 28:
        assert years_between(start, end) == months / 12
    assert years_between(end, start) == 0.0
