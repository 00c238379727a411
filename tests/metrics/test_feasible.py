from __future__ import annotations

from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.metrics import Reason, WindowDebt, WindowWork, surely_feasible, why_infeasible, why_out_of_reach
from headrace.metrics.share import _Choices


def brute_force(window: WindowWork, target: float, tolerance: float) -> bool:
    total = window.must_inside + window.must_outside + sum(window.free)
    low, high = (target - tolerance) * total, (target + tolerance) * total
    high = high if window.capacity is None else min(high, window.capacity)
    sums = (
        window.must_inside + sum(chosen)
        for size in range(len(window.free) + 1)
        for chosen in combinations(window.free, size)
    )
    return any(low <= value <= high for value in sums)


WINDOWS = st.builds(
    WindowWork,
    must_inside=st.integers(0, 30).map(float),
    must_outside=st.integers(0, 300).map(float),
    free=st.lists(st.integers(1, 100).map(float), max_size=9),
    capacity=st.none() | st.integers(0, 200).map(float),
)


@settings(max_examples=400, deadline=None)
@given(WINDOWS, st.floats(0.05, 0.95))
def test_a_window_that_some_assignment_meets_is_never_called_infeasible(window: WindowWork, target: float) -> None:
    if brute_force(window, target, 0.005):
        assert why_infeasible(window, target, 0.005) is None


@settings(max_examples=400, deadline=None)
@given(WINDOWS, st.floats(0.05, 0.95))
def test_a_window_that_no_assignment_meets_is_called_infeasible(window: WindowWork, target: float) -> None:
    total = window.must_inside + window.must_outside + sum(window.free)
    if total > 0 and not brute_force(window, target, 0.005 + 1e-5):  # in doubt by the rounding, it counts as feasible
        assert why_infeasible(window, target, 0.005) is not None


@settings(max_examples=400, deadline=None)
@given(WINDOWS, st.floats(0.05, 0.95), st.sampled_from((0.005, 0.05, 0.2)))
def test_what_the_sums_prove_feasible_some_assignment_meets(
    window: WindowWork, target: float, tolerance: float
) -> None:
    unbounded = WindowWork(window.must_inside, window.must_outside, window.free)
    free, largest = sum(window.free), max(window.free, default=0.0)
    if surely_feasible(window.must_inside, window.must_outside, free, largest, target, tolerance):
        assert free + window.must_inside + window.must_outside == 0 or brute_force(unbounded, target, tolerance + 1e-9)


def test_many_small_items_are_always_feasible() -> None:
    assert why_infeasible(WindowWork(0.0, 0.0, [1.0] * 1000), 0.1, 0.005) is None


def test_the_reason_is_the_route_when_too_little_may_go_inside() -> None:
    found = why_infeasible(WindowWork(0.0, 97.0, [1.0, 1.0, 1.0]), 0.1, 0.005)
    assert found is not None
    assert found.reason is Reason.ROUTE
    assert found.why == "only 3 % of the work may go to the share's pools"


def test_the_reason_is_the_route_when_too_much_must_go_inside() -> None:
    found = why_infeasible(WindowWork(40.0, 60.0, []), 0.1, 0.005)
    assert found is not None
    assert (found.reason, found.why) == (Reason.ROUTE, "40 % of the work can go nowhere else")


def test_the_reason_is_capacity_when_the_pools_hold_too_little() -> None:
    found = why_infeasible(WindowWork(0.0, 0.0, [1.0] * 1000, capacity=50.0), 0.1, 0.005)
    assert found is not None
    assert (found.reason, found.why) == (Reason.CAPACITY, "the share's pools hold 5 % of the work")


def test_the_reason_is_granularity_when_items_are_too_large() -> None:
    found = why_infeasible(WindowWork(0.0, 0.0, [40.0, 30.0, 30.0]), 0.1, 0.005)
    assert found is not None
    assert found.reason is Reason.GRANULARITY


def test_subset_sums_are_searched_where_largest_first_fails() -> None:
    # Largest first takes 51 and gets stuck; 50 + 49 is the target.
    window = WindowWork(0.0, 801.0, [51.0, 50.0, 49.0, 49.0])
    assert why_infeasible(window, 0.099, 0.0005) is None


# Where what an item counts depends on the pool

WORKS = st.lists(st.floats(0.1, 10.0), max_size=2)
ITEMS = st.lists(st.tuples(WORKS, WORKS).filter(any), min_size=1, max_size=5)  # works inside, works outside


def window_of(items: list[tuple[list[float], list[float]]], target: float) -> WindowDebt:
    slot = _Choices()
    for inside, outside in items:
        slot.add(inside, outside, target)
    return WindowDebt(slot.least, slot.slack, slot.steps, slot.most_work)


def brute(items: list[tuple[list[float], list[float]]], target: float, tolerance: float) -> bool:
    options = [[(w, True) for w in inside] + [(w, False) for w in outside] for inside, outside in items]
    for chosen in product(*options):
        total = sum(w for w, _ in chosen)
        if abs(sum(w for w, is_in in chosen if is_in) - target * total) <= tolerance * total:
            return True
    return False


@given(ITEMS, st.floats(0.05, 0.95), st.sampled_from((0.005, 0.05)))
def test_what_brute_force_can_assign_by_pool_is_never_called_infeasible(
    items: list[tuple[list[float], list[float]]], target: float, tolerance: float
) -> None:
    if brute(items, target, tolerance):
        assert why_out_of_reach(window_of(items, target), tolerance) is None


def test_a_window_by_pool_is_infeasible_where_nothing_may_go_in_all_must_or_one_item_is_too_large() -> None:
    def reason(items: list[tuple[list[float], list[float]]]) -> Reason | None:
        found = why_out_of_reach(window_of(items, 0.1), 0.005)
        return None if found is None else found.reason

    assert reason([([], [1.0])] * 10) is Reason.ROUTE
    assert reason([([1.0], [])] * 10) is Reason.ROUTE
    assert reason([([5.0], [1.0])] * 10) is Reason.GRANULARITY  # one inside is 5 of 14
    assert reason([([1.0], [1.0])] * 10) is None
    assert reason([([3.0], [1.0])] * 28) is None  # one inside is 3 of 30
