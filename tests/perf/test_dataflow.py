"""SRAM speed: laws first, then what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, catalog
from headrace.perf import (
    Claim,
    Law,
    accelerators_needed,
    check_conservation,
    decode_step_s,
    memory_fit,
    releases,
    speed_curve,
    speed_law,
    user_tokens_per_s,
    users_that_fit,
)
from headrace.perf.coefficients import coefficient, has_coefficients

CHIPS = [c.name for c in catalog.accelerators() if has_coefficients(c) and speed_law(c) is Law.SRAM]
MODELS = [model.name for model in catalog.models()]
chips, models = st.sampled_from(CHIPS), st.sampled_from(MODELS)


def deployment(chip: str, model: str, more: int = 0, max_batch: int = 64) -> Deployment:
    one = Deployment("d", catalog.model(model), catalog.accelerator(chip), 1, max_batch=max_batch)
    return replace(one, count=accelerators_needed(one) + more)


@settings(max_examples=60, deadline=None)
@given(chips, models, st.integers(1, 64), st.integers(1, 64), st.integers(1, 4000))
def test_more_users_or_context_never_raise_tokens_per_second_of_a_user(
    chip: str, model: str, users: int, more: int, context: int
) -> None:
    place = deployment(chip, model)
    context = min(context, place.model.context_tokens)
    room = users_that_fit(place, context)
    few, many = min(users, room), min(users + more, room)
    assert user_tokens_per_s(place, many, context).value <= user_tokens_per_s(place, few, context).value
    if many <= users_that_fit(place, context + 1000):
        assert user_tokens_per_s(place, many, context + 1000).value <= user_tokens_per_s(place, many, context).value


@settings(max_examples=60, deadline=None)
@given(chips, models, st.integers(0, 200), st.integers(1, 200))
def test_more_chips_never_hold_less_kv_and_are_never_faster(chip: str, model: str, extra: int, more: int) -> None:
    """Unlike on external memory: a further chip adds room and a boundary, and no bandwidth that anybody waits for."""
    small, large = deployment(chip, model, extra), deployment(chip, model, extra + more)
    assert users_that_fit(large, 1000) >= users_that_fit(small, 1000)
    assert memory_fit(large).kv_capacity_tokens >= memory_fit(small).kv_capacity_tokens
    assert decode_step_s(large, 1, 1000).value >= decode_step_s(small, 1, 1000).value


@settings(max_examples=60, deadline=None)
@given(chips, models, st.integers(1, 100_000))
def test_kv_fits_or_is_refused_and_never_exceeds_the_sram(chip: str, model: str, context: int) -> None:
    place = deployment(chip, model)
    room = users_that_fit(place, context)
    assert room * context <= memory_fit(place).kv_capacity_tokens
    with pytest.raises(ModelRangeError, match=f"KV room is for 1 to {room}"):
        user_tokens_per_s(place, room + 1, context)


@settings(max_examples=60, deadline=None)
@given(chips, models, st.integers(1, 64))
def test_a_prediction_lies_inside_its_interval_and_its_silicon(chip: str, model: str, users: int) -> None:
    place = deployment(chip, model)
    step = decode_step_s(place, users, 0)
    assert 0 < step.low < step.value < step.high
    assert step.why in ("layer latency", "hops", "fixed time", "shared tier", "users share the pipeline")
    curve = speed_curve(place)
    assert curve.step_s[users] == pytest.approx(step.value)
    rounds = max(1.0, users / curve.depth)
    check_conservation([Claim(place, step.value, 0.0, users / min(users, curve.depth) if rounds == 1.0 else rounds)])


def test_a_release_moves_the_speed_and_the_newest_is_the_default() -> None:
    wafer = catalog.accelerator("WSE-3")
    assert releases(wafer) == ("2024-08", "2024-10", "2026")
    place = Deployment("d", catalog.model("llama-3.1-8b"), wafer, 1, max_batch=1)
    launch, later, newest = (decode_step_s(replace(place, release=r), 1, 0).value for r in ("2024-08", "2025", None))
    assert launch > later, "a layer took 11.9 us at launch and takes 4.4 since"
    assert newest > later, "a third party measures 0.2 ms more on the shared tier of 2026"
    assert coefficient(wafer, "layer_s", "2025-06") == coefficient(wafer, "layer_s", "2024-10")
    with pytest.raises(ModelRangeError, match="older than the first, 2024-08"):
        decode_step_s(replace(place, release="2023"), 1, 0)


def test_speculation_divides_the_pass_and_not_the_fixed_time() -> None:
    place = Deployment(
        "d", catalog.model("llama-3.1-70b"), catalog.accelerator("WSE-3"), 5, max_batch=1, release="2025"
    )
    plain, drafted = decode_step_s(place, 1, 0).value, decode_step_s(replace(place, speculation=True), 1, 0).value
    gain, fixed = coefficient(catalog.accelerator("WSE-3"), "speculation_gain").value, 2.134e-4
    assert drafted == pytest.approx(fixed + (plain - fixed) / gain)
    assert speed_curve(replace(place, speculation=True)).tokens_per_pass == gain


def test_the_interval_reaches_the_speed_without_the_shared_tier() -> None:
    place = Deployment("d", catalog.model("gpt-oss-120b"), catalog.accelerator("WSE-3"), 2, max_batch=1)
    shared = user_tokens_per_s(place, 1, 1000)
    assert shared.low < 1705.8 < shared.high
    assert shared.high > 3000, "what the vendor publishes"


def test_chips_that_nobody_measured_have_wide_intervals_that_say_so() -> None:
    for chip in ("Groq 3 LPU", "Corsair"):
        step = decode_step_s(deployment(chip, "llama-3.1-70b"), 1, 0)
        assert step.high > 3.5 * step.low
        assert "assumed" in step.source
