"""Histograms: what is put aside is counted once, in the right bucket, whoever reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from headrace.telemetry import Histogram

BOUNDS = (0.001, 0.5, 1.0, 64.0)
values = st.one_of(st.floats(0.0, 100.0), st.integers(0, 100), st.sampled_from(BOUNDS))


@given(st.lists(st.lists(values, max_size=20), max_size=5))
def test_an_observation_lies_in_the_bucket_of_the_first_bound_that_it_does_not_exceed(
    batches: list[list[float]],
) -> None:
    histogram, expected = Histogram(BOUNDS), [0] * (len(BOUNDS) + 1)
    for batch in batches:
        for value in batch:
            histogram.observe(value)
            expected[bisect_left(BOUNDS, value)] += 1
        histogram.settle()
    assert histogram.counts == expected
    everything = [value for batch in batches for value in batch]
    assert histogram.total == [*accumulate(everything, initial=0.0)][-1]


def test_nothing_is_lost_or_counted_twice_while_others_read() -> None:
    histogram, over = Histogram(BOUNDS), threading.Event()

    def read() -> None:
        while not over.is_set():
            assert sum(histogram.counts) >= 0

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60_000):
        histogram.observe(number % 3)
        if number % 100 == 0:
            histogram.settle()
    over.set()
    for reader in readers:
        reader.join()
    assert sum(histogram.counts) == 60_000
    assert histogram.total == 60_000


def test_what_another_has_counted_is_added() -> None:
    histogram, other = Histogram(BOUNDS), Histogram(BOUNDS)
    histogram.observe(0.2)
    other.observe(70.0)
    histogram.add(other.counts, other.total)
    assert (histogram.counts, histogram.total) == ([0, 1, 0, 0, 1], 70.2)
