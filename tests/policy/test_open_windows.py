"""The range of debt that sliding windows allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.windows import BAND, BIN_S, BINS, LEAST_BAND, SAFETY, TOLERANCE, WINDOW_S, OpenWindows

PER_BIN = 10.0


def filled(debts: list[float], works: list[float] | None = None) -> OpenWindows:
    """Windows that saw one booking at the start of each bin, with the debt that it found."""
    windows = OpenWindows(0.1)
    for index, debt in enumerate(debts):
        windows.book(index * BIN_S, PER_BIN if works is None else works[index], debt, False)
    return windows


def bounds(windows: OpenWindows) -> tuple[float, float]:
    return windows.centre - windows.half_width, windows.centre + windows.half_width


def test_with_no_debt_the_range_is_the_band_around_zero() -> None:
    low, high = bounds(filled([0.0] * (BINS + 5)))
    assert high == -low == pytest.approx(BAND * TOLERANCE * PER_BIN * BINS, rel=0.05)


def test_the_first_windows_band_is_that_of_a_whole_window_at_the_same_pace() -> None:
    windows = filled([0.0] * 10)
    assert windows.missing * windows.work == pytest.approx(PER_BIN * BINS)
    assert bounds(windows)[1] == pytest.approx(BAND * TOLERANCE * PER_BIN * BINS)


def test_a_window_that_began_with_debt_must_close_near_it() -> None:
    """It began with a debt of +2 % of its work: ending at 0 would be 2 points off."""
    work = PER_BIN * BINS
    debts = [0.02 * work if index in (6, 7) else 0.0 for index in range(BINS + 6)]
    low, high = bounds(filled(debts))
    assert low > 0.0
    assert (low + high) / 2 == pytest.approx((0.02 - SAFETY * TOLERANCE + BAND * TOLERANCE) * work / 2, rel=0.05)


def test_the_range_narrows_as_traffic_wanes() -> None:
    busy = filled([0.0] * (2 * BINS))
    waned = filled([0.0] * (2 * BINS), [PER_BIN] * BINS + [PER_BIN / 4] * BINS)
    assert bounds(waned)[1] < bounds(busy)[1] / 3


def test_the_range_never_closes() -> None:
    debts = [(-1.0) ** index * 50.0 for index in range(2 * BINS)]
    windows = filled(debts)
    assert windows.half_width >= LEAST_BAND * TOLERANCE * windows.work * (1 - 1e-9)


def test_a_correction_belongs_to_the_window_of_its_dispatch() -> None:
    """Booked in bin 5, corrected in bin 34: windows that began at bin 6 or later began with the mended debt."""
    last = BINS + 4
    at_once = filled([0.0] * 6 + [1.0] * (last - 5))
    later = filled([0.0] * (last + 1))
    later.correct(5 * BIN_S, 0.0, 1.0, False)
    for windows in (at_once, later):
        windows.book((last + 1) * BIN_S, PER_BIN, 1.0, False)
    assert bounds(later) == bounds(at_once)


def test_a_correction_of_work_counts_while_it_is_in_the_window() -> None:
    windows = filled([0.0] * 5)
    windows.correct(2 * BIN_S, 7.0, 0.0, False)
    assert windows.work == pytest.approx(5 * PER_BIN + 7.0)
    windows.book(2 * BIN_S + WINDOW_S, 0.0, 0.0, False)
    windows.correct(2 * BIN_S, 7.0, 0.0, False)
    assert windows.work == pytest.approx(2 * PER_BIN), "both are out of the window"


@given(st.lists(st.tuples(st.floats(0.0, 2000.0), st.floats(0.0, 100.0)), max_size=60))
def test_the_work_of_a_window_is_what_was_booked_in_it(steps: list[tuple[float, float]]) -> None:
    windows, now_s, booked = OpenWindows(0.1), 0.0, []
    for gap_s, work in steps:
        now_s += gap_s
        windows.book(now_s, work, 0.0, False)
        booked.append((int(now_s / BIN_S), work))
        inside = sum(work for index, work in booked if index > int(now_s / BIN_S) - BINS)
        assert windows.work == pytest.approx(inside, abs=1e-6)


def test_a_share_is_starved_once_its_pools_have_had_next_to_nothing_for_a_while() -> None:
    windows, starved = OpenWindows(0.1), []
    for second in range(200):
        windows.book(float(second), 1.0, 0.0, second % 10 == 0 and not 60 <= second < 120)
        starved.append(windows.starved)
    assert not any(starved[:90])
    assert all(starved[90:130])
    assert not any(starved[130:])
