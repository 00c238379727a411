"""Memory: more accelerators never hold less, and the bounded layers of a model stay bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, OperatingPoint, catalog
from headrace.perf import accelerators_needed, kv_bytes_per_sequence, kv_bytes_per_token, memory_fit, weight_bytes

CHIPS = [chip.name for chip in catalog.accelerators()]
MODELS = [model.name for model in catalog.models()]


def deployment(chip: str = "H100", count: int = 8, model: str = "gpt-oss-120b", **more: int) -> Deployment:
    return Deployment("d", catalog.model(model), catalog.accelerator(chip), count, **more)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHIPS), st.sampled_from(MODELS), st.integers(1, 600), st.integers(0, 600))
def test_more_accelerators_never_leave_less_room(chip: str, model: str, count: int, more: int) -> None:
    small, large = memory_fit(deployment(chip, count, model)), memory_fit(deployment(chip, count + more, model))
    assert large.kv_capacity_tokens >= small.kv_capacity_tokens
    assert large.fits >= small.fits


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHIPS), st.integers(1, 600), st.integers(1, 512), st.integers(0, 512))
def test_more_sequences_never_leave_more_room_for_context(chip: str, count: int, batch: int, more: int) -> None:
    few = memory_fit(deployment(chip, count, max_batch=batch))
    many = memory_fit(deployment(chip, count, max_batch=batch + more))
    assert many.kv_capacity_tokens <= few.kv_capacity_tokens


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHIPS), st.sampled_from(MODELS), st.sampled_from([4, 8, 16]))
def test_accelerators_needed_is_the_least_count_that_fits(chip: str, model: str, bits: int) -> None:
    needed = accelerators_needed(deployment(chip, 1, model, weight_bits=bits))
    assert memory_fit(deployment(chip, needed, model, weight_bits=bits)).fits
    assert needed == 1 or not memory_fit(deployment(chip, needed - 1, model, weight_bits=bits)).fits


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CHIPS), st.integers(1, 1000))
def test_what_is_placed_never_exceeds_the_memory(chip: str, count: int) -> None:
    place = deployment(chip, count)
    fit = memory_fit(place)
    if fit.fits:
        model = place.model
        kv = fit.kv_capacity_tokens * kv_bytes_per_token(model, 16)
        assert fit.weight_bytes + kv + place.max_batch * kv_bytes_per_sequence(model, 16) <= fit.memory_bytes


def test_native_weights_are_the_checkpoint_and_others_follow_the_bits() -> None:
    place = deployment()
    assert weight_bytes(place) == pytest.approx(60.8 * 2**30)
    assert weight_bytes(replace(place, weight_bits=4)) == weight_bytes(place)
    assert weight_bytes(replace(place, weight_bits=16)) == pytest.approx(2 * place.model.parameters)


def test_sliding_window_layers_add_nothing_per_context_token() -> None:
    model = catalog.model("gpt-oss-120b")
    assert kv_bytes_per_token(model, 16) == 18 * 2 * 8 * 64 * 2
    assert kv_bytes_per_sequence(model, 16) == 18 * 128 * 2 * 8 * 64 * 2
    assert kv_bytes_per_sequence(catalog.model("llama-3.1-8b"), 16) == 0


def test_a_deployment_known_by_observation_has_no_memory_to_fill() -> None:
    observed = Deployment("o", catalog.model("gpt-oss-120b"), observed=OperatingPoint(0.2, 1e4, 0.001))
    with pytest.raises(ModelRangeError, match="observation"):
        memory_fit(observed)
