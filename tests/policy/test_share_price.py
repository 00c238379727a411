"""The share's price: what a request pays, and the share that comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.config import load_fleet
from headrace.policy.pool_shares import share_meters
from headrace.policy.prices import ShareController, barrier, potential
from headrace.sim import simulate
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, generate

SAMPLE = load_fleet()


def seasoned(debt_bands: float) -> ShareController:
    """A controller that has seen traffic and carries a debt."""
    controller = share_meters(SAMPLE, steer=True)[0]
    assert isinstance(controller, ShareController)
    for i in range(600):
        controller.book(i * 0.5, 1.0, inside=i % 10 == 0)
        controller.learn(0.001 * (i % 7), 1.0)
    controller.debt = controller.windows.centre + debt_bands * controller.windows.half_width
    return controller


@given(st.floats(-3.0, 3.0))
def test_the_potential_is_the_integral_of_the_barrier(x: float) -> None:
    step = 1e-5
    slope = (potential(x + step) - potential(x - step)) / (2 * step)
    assert slope == pytest.approx(barrier(x), rel=1e-3, abs=1e-3)


@given(st.floats(-2.0, 2.0))
def test_a_small_request_pays_price_times_work(debt_bands: float) -> None:
    controller = seasoned(debt_bands)
    work = controller.windows.half_width * 1e-6
    assert controller.surcharge_usd(work) == pytest.approx(controller.price_usd_per_unit() * work, rel=1e-3, abs=1e-12)


@given(st.floats(-2.0, 2.0), st.floats(0.0, 1.0), st.floats(0.001, 5.0))
def test_the_surcharge_never_falls_as_the_share_gets_more_than_its_due(debt: float, more: float, work: float) -> None:
    low, high = seasoned(debt), seasoned(debt + more)
    assert high.surcharge_usd(work) >= low.surcharge_usd(work)


def test_a_request_larger_than_the_band_is_sent_where_it_leaves_the_smaller_debt() -> None:
    owed = seasoned(-4.0)
    owed.level_usd_per_unit = 0.0
    assert owed.surcharge_usd(5.0 * owed.windows.half_width) < 0.0, "inside leaves 0.5 bands, outside 4.5"
    paid = seasoned(0.0)
    paid.level_usd_per_unit = 0.0
    assert paid.surcharge_usd(5.0 * paid.windows.half_width) > 0.0, "inside leaves 4.5 bands, outside 0.5"


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_the_share_of_a_fleet_of_eight_kinds_stays_near_its_target(seed: int) -> None:
    traffic = {"coding": CODING, "chat": CHAT, "agent": AGENT}
    classes = [ClassTraffic(name, traffic[name], 1.0) for name in SAMPLE.classes]
    result = simulate(SAMPLE, generate(classes, 600.0, seed), seed=seed)
    meter = result.metrics.shares["fast"]
    meter.close(result.last_arrival_s)
    assert meter.judged > 20
    assert meter.realized == pytest.approx(0.10, abs=0.005)
