"""Law 7: the realized share is within half a point of its target in every judged feasible window."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headrace.config import load_fleet
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
