"""Law 7: the realized share is within half a point of its target in every judged feasible window."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headrace.config import load_fleet, parse_fleet
from headrace.fleet import Fleet
from headrace.metrics import ShareMeter
from headrace.sim import simulate
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, generate

TRAFFIC = {"coding": CODING, "chat": CHAT, "agent": AGENT}
SECONDS = 1200.0
WINDOWS = 90  # of 300 s, sliding by 10 s, in those seconds
HALF_A_POINT_PP = 0.5
A_FEW = settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])


def share_of(fleet: Fleet, load: float, seed: int) -> ShareMeter:
    """The steered share over generated traffic, `load` times as dense as the traces that the generators come from."""
    classes = [ClassTraffic(name, TRAFFIC[name], load) for name in fleet.classes]
    result = simulate(fleet, generate(classes, SECONDS, seed), seed=seed)
    meter = result.metrics.shares["fast"]
    meter.close(result.last_arrival_s)
    return meter


@pytest.fixture(scope="module")
def two_pools(examples_dir: Path) -> Fleet:
    return load_fleet(examples_dir / "azure-acceptance.toml")


@A_FEW  # 300 others were tried: the worst window was off by 0.49
@given(seed=st.integers(0, 10**6), load=st.floats(1.0, 2.0))
def test_the_share_of_two_pools_holds_in_every_window(two_pools: Fleet, seed: int, load: float) -> None:
    meter = share_of(two_pools, load, seed)
    assert meter.feasible == meter.judged >= WINDOWS - 2
    assert meter.worst_error_pp is not None
    assert meter.worst_error_pp <= HALF_A_POINT_PP


@A_FEW  # 120 others were tried: the worst window was off by 0.496
@given(seed=st.integers(0, 10**6), load=st.floats(1.0, 3.0))
def test_the_share_of_a_fleet_of_eight_kinds_with_agents_holds_in_every_window(seed: int, load: float) -> None:
    """A request of an agent is up to 1.6 % of a window's work here, and traffic wanes by a third within minutes."""
    meter = share_of(load_fleet(), load, seed)
    assert meter.feasible == meter.judged >= WINDOWS - 2
    assert meter.worst_error_pp is not None
    assert meter.worst_error_pp <= HALF_A_POINT_PP


# Watts that make a token cost about as many joules on either pool: where it costs many times more inside, one request
# of a length that nobody knows beforehand is a large part of the tolerance.
WATTS = {"gpu": 10_000.0, "fast": 5_000.0}


def counted_by_pool(examples_dir: Path, of: str) -> Fleet:
    text = (examples_dir / "azure-acceptance.toml").read_text()
    text = text.replace('of = "compute"\nreference = "gpu"', f'of = "{of}"')
    for pool, watts in WATTS.items():
        text = text.replace(f"[pools.{pool}]", f"[pools.{pool}]\nassumed_w = {watts}")
    return parse_fleet(text, of)


@pytest.mark.parametrize("of", ["spend", "power"])
@settings(A_FEW, max_examples=3)
@given(seed=st.integers(0, 10**6), load=st.floats(1.0, 2.0))
def test_a_share_of_spend_or_of_power_holds_in_every_window(
    examples_dir: Path, of: str, seed: int, load: float
) -> None:
    """A dollar inside buys fewer tokens than one outside, so what a request counts depends on where it goes."""
    meter = share_of(counted_by_pool(examples_dir, of), load, seed)
    assert meter.feasible == meter.judged >= WINDOWS - 2
    assert meter.worst_error_pp is not None
    assert meter.worst_error_pp <= HALF_A_POINT_PP
