"""A bucket is what a provider's limit is: never more than its size, refilled evenly or at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bucket import Bucket

STEPS = st.lists(st.tuples(st.floats(0.0, 90.0), st.floats(0.0, 100.0)), max_size=40)


@given(STEPS, st.booleans())
def test_who_waits_as_long_as_it_says_finds_enough(steps: list[tuple[float, float]], at_once: bool) -> None:
    bucket, now_s = Bucket(100.0, 60.0, at_once), 0.0
    for gap_s, amount in steps:
        now_s += gap_s
        assert bucket.level(now_s) <= bucket.limit
        now_s += bucket.wait_s(now_s, amount)
        assert bucket.level(now_s) >= amount - 1e-6
        bucket.take(now_s, amount)
        assert bucket.level(now_s) >= -1e-6


def test_one_that_is_whole_at_once_says_when_its_window_ends() -> None:
    bucket = Bucket(100.0, 60.0, at_once=True)
    bucket.take(10.0, 100.0)
    assert (bucket.level(59.0), bucket.wait_s(59.0, 1.0)) == (0.0, pytest.approx(1.0))
    assert bucket.level(60.0) == 100.0
    bucket.take(130.0, 40.0)
    assert (bucket.level(179.0), bucket.level(180.0)) == (60.0, 100.0), "windows go on from the first"
    bucket.renews(200.0, 5.0)
    bucket.take(201.0, 100.0)
    assert (bucket.level(204.0), bucket.level(205.0)) == (0.0, 100.0), "unless it is told when one ends"
