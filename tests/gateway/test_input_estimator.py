"""The estimate of input tokens follows what backends count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.policy.input_estimator import MEMORY_TOKENS, InputEstimator


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 10**7), st.integers(-5, 10**6)), max_size=20), st.integers(0, 10**7))
def test_an_estimate_is_at_least_one_and_grows_with_the_body(seen: list[tuple[int, int]], size: int) -> None:
    estimator = InputEstimator()
    for body_bytes, tokens in seen:
        estimator.observe(body_bytes, tokens)
    assert 1 <= estimator.estimate(size) <= estimator.estimate(size + 1000)


def test_it_follows_traffic_that_changes() -> None:
    estimator = InputEstimator()
    for ratio in (3.0, 6.0):
        for _ in range(int(8 * MEMORY_TOKENS / 100_000)):
            estimator.observe(int(100_000 * ratio), 100_000)
        assert estimator.bytes_per_token == pytest.approx(ratio, rel=0.01)
