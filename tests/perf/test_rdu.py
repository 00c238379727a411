"""SN40L: reads its weights like a GPU, pays less a layer, and never more than its memory gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.fleet import Deployment, catalog
from headrace.perf import Claim, accelerators_needed, check_conservation, decode_step_s, speed_curve
from headrace.perf.rdu import distinct_experts

MODELS = [model.name for model in catalog.models()]
models, batches = st.sampled_from(MODELS), st.integers(1, 64)


def deployment(model: str, speculation: bool = False) -> Deployment:
    chip = catalog.accelerator("SN40L")
    one = Deployment("d", catalog.model(model), chip, max_batch=64, speculation=speculation)
    return replace(one, count=max(16, accelerators_needed(one)))


@settings(max_examples=60, deadline=None)
@given(models, batches, st.booleans())
def test_no_token_is_faster_than_the_bytes_that_its_pass_reads(model: str, batch: int, speculation: bool) -> None:
    place = deployment(model, speculation)
    curve = speed_curve(place)
    claim = Claim(place, curve.tpot_s(batch), 0.0, float(batch), tokens_per_pass=curve.tokens_per_pass)
    check_conservation([claim])


@settings(max_examples=60, deadline=None)
@given(models, batches, st.booleans())
def test_the_curve_is_the_law_and_inside_its_interval(model: str, batch: int, speculation: bool) -> None:
    place = deployment(model, speculation)
    step = decode_step_s(place, batch, 1000)
    assert step.low < step.value < step.high
    assert speed_curve(place).tpot_s(batch, 1000) == pytest.approx(step.value)


@given(models, st.integers(1, 500))
def test_a_batch_touches_more_experts_and_never_more_than_there_are(model: str, batch: int) -> None:
    figures = catalog.model(model)
    assert distinct_experts(figures, 1) == pytest.approx(figures.active_experts)
    assert distinct_experts(figures, batch) <= distinct_experts(figures, batch + 1) <= figures.experts


def test_speculation_makes_a_large_dense_model_faster() -> None:
    plain, drafted = (decode_step_s(deployment("llama-3.1-405b", each), 1, 0).value for each in (False, True))
    assert drafted < plain / 2
