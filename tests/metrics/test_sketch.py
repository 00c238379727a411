from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InvariantError
from headrace.metrics import QuantileSketch

LATENCIES = st.lists(st.floats(2e-9, 9e8), min_size=1, max_size=60)


def sketch_of(values: list[float]) -> QuantileSketch:
    sketch = QuantileSketch()
    for value in values:
        sketch.add(value)
    return sketch


@settings(max_examples=100, deadline=None)
@given(LATENCIES, st.floats(0, 1))
def test_every_quantile_is_within_half_a_percent_of_a_sample(values: list[float], q: float) -> None:
    true = sorted(values)[int(q * (len(values) - 1))]
    found = sketch_of(values).quantile(q)
    assert found == pytest.approx(true, rel=0.00501)


@settings(max_examples=50, deadline=None)
@given(LATENCIES, LATENCIES)
def test_merged_sketches_equal_the_sketch_of_everything(first: list[float], second: list[float]) -> None:
    merged = sketch_of(first)
    merged.merge(sketch_of(second))
    whole = sketch_of(first + second)
    assert merged.count == whole.count
    assert [merged.quantile(q / 10) for q in range(11)] == [whole.quantile(q / 10) for q in range(11)]


def test_an_empty_sketch_has_no_quantile() -> None:
    assert QuantileSketch().quantile(0.5) is None


def test_zero_stays_zero_and_giants_are_held_at_the_upper_bound() -> None:
    sketch = sketch_of([0.0, 0.0, 1e15])
    assert sketch.quantile(0.5) == 0.0
    assert sketch.quantile(1.0) == pytest.approx(1e9, rel=0.02)


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_what_is_no_duration_is_refused(value: float) -> None:
    with pytest.raises(InvariantError, match="finite non-negative"):
        QuantileSketch().add(value)
