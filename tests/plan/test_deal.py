"""The arithmetic of the seed deal, to the digits of the page that it comes from and from that page's own inputs.

The inputs: 750 MW in three tranches of 250 MW from 1 January 2026, 2027 and 2028, paid to the end of 2028; 23 kW and
44 GB a CS-3; 1.3 for hosts, network and cooling (assumed there).
"""

from __future__ import annotations

from datetime import date
from math import floor

import pytest

from headrace.cost import Unit, capacity_years, contract_usd_per_hour
from headrace.fleet import Deployment, catalog
from headrace.fleet.terms import CapacityContract, PricedBy, Tranche
from headrace.plan.deal import Sizing, decode_power_w, output_rate, predicted_sizing, sram_fleet, systems_of_power

MW, SYSTEM_W, OVERHEAD, SRAM_BYTES = 750e6, 23e3, 1.3, 44e9
CASES = {
    "A": Sizing(4, SRAM_BYTES, 140e9, 2 * 80 * 8 * 128 * 2, 8_000, 2100),
    "B": Sizing(42, SRAM_BYTES, 60e9, 2 * 36 * 8 * 64 * 2, 96_300, 1706),
    "C": Sizing(46, SRAM_BYTES, 1.0e12, 61 * 576 * 2, 96_300, 981),
}


def deal(usd: float, overhead: float = OVERHEAD) -> CapacityContract:
    tranches = tuple(Tranche(date(year, 1, 1), power_w=250e6) for year in (2026, 2027, 2028))
    return CapacityContract("deal", usd, PricedBy.TOTAL, tranches, date(2029, 1, 1), overhead=overhead)


def test_systems_in_750_megawatts() -> None:
    assert round(systems_of_power(MW, SYSTEM_W, OVERHEAD)) == 25_084
    assert round(systems_of_power(MW, SYSTEM_W, 1.0)) == 32_609


@pytest.mark.parametrize(
    ("usd", "per_mw_year", "per_hour"), [(10e9, 6.67, 22.75), (20e9, 13.33, 45.51), (24.6e9, 16.40, 55.98)]
)
def test_hourly_price_of_a_system_under_the_contract(usd: float, per_mw_year: float, per_hour: float) -> None:
    assert capacity_years(deal(usd)) == 1500.0
    assert round(usd / capacity_years(deal(usd)) / 1e6, 2) == per_mw_year
    assert round(contract_usd_per_hour(deal(usd), Unit(1, SYSTEM_W)), 2) == per_hour


@pytest.mark.parametrize(("usd", "per_hour"), [(10e9, 17.50), (20e9, 35.01)])
def test_without_the_overhead_an_hour_is_cheaper(usd: float, per_hour: float) -> None:
    assert round(contract_usd_per_hour(deal(usd, overhead=1.0), Unit(1, SYSTEM_W)), 2) == per_hour


@pytest.mark.parametrize(
    ("case", "sessions", "per_system", "tokens_per_s"),
    [("A", 13, 3.3, 6_825), ("B", 251, 6.0, 10_195), ("C", 151, 3.3, 3_220)],
)
def test_sessions_and_speed_of_a_replica(case: str, sessions: int, per_system: float, tokens_per_s: int) -> None:
    sizing = CASES[case]
    assert sizing.sessions == sessions
    assert floor(10 * sizing.sessions_per_system + 0.5) / 10 == per_system  # halves up: 3.25 is printed as 3.3
    assert round(sizing.tokens_per_s_per_system) == tokens_per_s


@pytest.mark.parametrize(
    ("case", "sessions", "million_tokens_per_s"), [("A", 81_510, 171), ("B", 149_847, 256), ("C", 82_295, 81)]
)
def test_what_the_whole_contract_holds(case: str, sessions: int, million_tokens_per_s: int) -> None:
    fleet = sram_fleet(CASES[case], systems_of_power(MW, SYSTEM_W, OVERHEAD))
    assert fleet.sessions == sessions
    assert round(fleet.tokens_per_s / 1e6) == million_tokens_per_s


@pytest.mark.parametrize(
    ("case", "utilization", "usd"),
    [
        ("A", 0.5, (1.85, 3.42, 3.70)),
        ("B", 0.5, (1.24, 2.29, 2.48)),
        ("C", 0.5, (3.92, 7.24, 7.85)),
        ("A", 0.2, (4.63, 8.54, 9.26)),
        ("B", 0.2, (3.10, 5.72, 6.20)),
        ("C", 0.2, (9.81, 18.10, 19.63)),
    ],
)
def test_price_of_a_million_output_tokens(case: str, utilization: float, usd: tuple[float, ...]) -> None:
    found = [round(CASES[case].usd_per_mtok(hour, utilization), 2) for hour in (22.75, 41.96, 45.51)]
    assert tuple(found) == usd


@pytest.mark.parametrize(
    ("ratio", "million_tokens_per_s", "megawatts_b", "megawatts_c"),
    [(3, 6.25, 37, 116), (10, 2.27, 13, 42), (30, 0.81, 5, 15), (100, 0.25, 1.5, 5)],
)
def test_power_that_a_tenth_of_the_tokens_needs(
    ratio: float, million_tokens_per_s: float, megawatts_b: float, megawatts_c: float
) -> None:
    """15 B tokens a minute, of which 10 %: the power depends on how many of them are output."""
    output = output_rate(0.10 * 15e9 / 60, ratio)
    assert round(output / 1e6, 2) == million_tokens_per_s
    for case, megawatts in (("B", megawatts_b), ("C", megawatts_c)):
        power_w = decode_power_w(output, CASES[case], 0.5, SYSTEM_W * OVERHEAD)
        assert power_w / 1e6 == pytest.approx(megawatts, abs=0.5 if megawatts != 1.5 else 0.05)


def test_short_contexts_hold_twelve_times_the_sessions() -> None:
    b = CASES["B"]
    short = Sizing(b.systems, b.memory_bytes, b.weight_bytes, b.kv_bytes_per_token, 8_000, b.tokens_per_s)
    assert round(short.sessions_per_system) == 72
    assert round(short.sessions / b.sessions) == 12


def test_the_speed_model_holds_other_numbers_and_for_these_reasons() -> None:
    """gpt-oss-120b on 42 wafers: half of its layers keep a window only, so a token takes half the KV."""
    model, wafer = catalog.model("gpt-oss-120b"), catalog.accelerator("WSE-3")
    own, given = predicted_sizing(Deployment("b", model, wafer, count=42), 96_300), CASES["B"]
    assert model.sliding_window_layers * 2 == model.layers
    assert own.kv_bytes_per_token * 2 == given.kv_bytes_per_token
    assert own.memory_bytes < given.memory_bytes  # a tenth is left to activations
    assert own.weight_bytes > given.weight_bytes  # the checkpoint's own size
    without_windows = Sizing(42, own.memory_bytes, own.weight_bytes, given.kv_bytes_per_token, 96_300, 1.0)
    assert without_windows.sessions < given.sessions < own.sessions < 2 * given.sessions
