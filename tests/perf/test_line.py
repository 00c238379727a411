"""The curve of continuous batching against its law: never below, close above; and monotone where the law is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.fleet import Deployment, catalog
from headrace.perf import (
    Law,
    Load,
    SpeedCurve,
    accelerators_needed,
    closed_loop,
    decode_step_s,
    is_predictable,
    speed_curve,
    speed_law,
)
from headrace.perf.continuous import Line, line_of

EXCESS = 0.25  # of the line over the law, where contexts are not shorter than a sliding window
BATCH = 256
chips = st.sampled_from(
    [c.name for c in catalog.accelerators() if is_predictable(c) and speed_law(c) is Law.CONTINUOUS]
)
models = st.sampled_from([model.name for model in catalog.models()])
softwares = st.sampled_from((None, "vllm", "sglang", "trtllm"))
batches, contexts = st.integers(1, BATCH), st.integers(0, 200_000)


def deployment(chip: str, model: str, software: str | None = None) -> Deployment:
    one = Deployment("d", catalog.model(model), catalog.accelerator(chip), 1, max_batch=BATCH, software=software)
    return replace(one, count=accelerators_needed(one))


def held(place: Deployment, curve: SpeedCurve, batch: int, context: int) -> int:
    """The context that so many sequences can have here."""
    assert curve.kv_capacity_tokens is not None
    return min(context, place.model.context_tokens, curve.kv_capacity_tokens // batch)


@settings(max_examples=150)
@given(chips, models, softwares, batches, contexts)
def test_the_line_is_never_below_the_law_and_close_above(
    chip: str, model: str, software: str | None, batch: int, context: int
) -> None:
    place = deployment(chip, model, software)
    curve = speed_curve(place)
    context = held(place, curve, batch, context)
    law, line = decode_step_s(place, batch, context).value, curve.tpot_s(batch, context)
    assert line >= law * (1 - 1e-9)
    assume(context >= (place.model.sliding_window_tokens or 0))
    assert line <= law * (1 + EXCESS)


def faster(place: Deployment, times: float) -> Line:
    assert place.accelerator is not None
    bandwidth = (place.accelerator.memory_bandwidth_bytes_per_s or 0.0) * times
    return line_of(replace(place, accelerator=replace(place.accelerator, memory_bandwidth_bytes_per_s=bandwidth)))


@settings(max_examples=60)
@given(chips, models, softwares, st.floats(1.0, 20.0))
def test_with_more_bandwidth_no_part_of_the_curve_is_slower(
    chip: str, model: str, software: str | None, times: float
) -> None:
    place = deployment(chip, model, software)
    slow, fast = line_of(place), faster(place, times)
    assert all(after <= before * (1 + 1e-9) for before, after in zip(slow.step_s, fast.step_s, strict=True))
    assert fast.kv_s_per_token <= slow.kv_s_per_token * (1 + 1e-9)
    assert fast.prefill_s_per_token <= slow.prefill_s_per_token * (1 + 1e-9)


@settings(max_examples=60)
@given(chips, models, softwares)
def test_a_larger_batch_never_has_a_shorter_step(chip: str, model: str, software: str | None) -> None:
    line = line_of(deployment(chip, model, software))
    assert list(line.step_s) == sorted(line.step_s)
    assert min(line[1:]) >= 0.0
    assert line.prefill_s_per_token > 0.0


@settings(max_examples=40)
@given(chips, softwares, st.sampled_from(("llama-3.1-8b", "gpt-oss-120b", "qwen3-32b")), st.integers(100, 30_000))
def test_a_lone_client_waits_as_long_by_the_curve_as_in_the_closed_loop(
    chip: str, software: str | None, model: str, tokens: int
) -> None:
    """Within a third; and the closed loop waits about a step for the scheduler, which a lone arrival does not."""
    place = deployment(chip, model, software)
    curve, loop = speed_curve(place), closed_loop(place, [Load(tokens, 1)])[0]
    waits_s = loop.ttft.value - curve.ttft_s(tokens)
    assert -0.34 * loop.ttft.value <= waits_s <= 0.34 * loop.ttft.value + 3 * loop.tpot.value
    assert curve.tpot_s(1, tokens) == pytest.approx(loop.tpot.value, rel=0.02)


@pytest.mark.parametrize("chip", ["Rubin", "TPU 8i", "TPU 8t"])
def test_a_chip_with_one_flops_figure_has_a_speed(chip: str) -> None:
    assert speed_curve(deployment(chip, "gpt-oss-120b")).tpot_s() > 0.0
