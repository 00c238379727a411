"""Neuron speed: a graph compiled for a fixed batch, KV in buckets, experts gathered token by token."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.fleet import Attention, Deployment, catalog
from headrace.perf import (
    Claim,
    Law,
    accelerators_needed,
    check_conservation,
    decode_step_s,
    prefill_s,
    speculates,
    speed_curve,
    speed_law,
)
from headrace.perf.coefficients import coefficient, has_coefficients
from headrace.perf.neuron import always_read_parameters, bucket_tokens, kv_bytes_per_core, routed_parameters

CHIPS = [c.name for c in catalog.accelerators() if has_coefficients(c) and speed_law(c) is Law.NEURON]
MODELS = [model.name for model in catalog.models()]
chips, models, slots = st.sampled_from(CHIPS), st.sampled_from(MODELS), st.integers(1, 64)


def deployment(chip: str, model: str, max_batch: int = 16) -> Deployment:
    one = Deployment("d", catalog.model(model), catalog.accelerator(chip), 1, weight_bits=16, max_batch=max_batch)
    return replace(one, count=accelerators_needed(one))


@settings(max_examples=60, deadline=None)
@given(chips, models, slots, st.integers(0, 2000))
def test_an_idle_server_steps_as_slowly_as_a_full_one(chip: str, model: str, batch: int, context: int) -> None:
    place = deployment(chip, model, batch)
    assert decode_step_s(place, 1, context) == decode_step_s(place, batch, context)
    assert len(set(speed_curve(place).step_s)) == 1
    more = replace(place, max_batch=batch + 1)
    assert decode_step_s(more, 1, context).value > decode_step_s(place, 1, context).value


@given(st.floats(1.0, 1e6))
def test_a_bucket_is_the_least_power_of_two_that_holds_it(tokens: float) -> None:
    bucket = bucket_tokens(tokens)
    assert bucket >= tokens
    assert bucket == 128 or bucket < 2 * tokens


@settings(max_examples=80, deadline=None)
@given(chips, models, slots, st.floats(0.0, 1.0))
def test_the_curve_lies_between_half_and_twice_the_staircase(chip: str, model: str, batch: int, part: float) -> None:
    """For a full batch of equal contexts, whatever they are: line and buckets differ in the KV read alone."""
    place = deployment(chip, model, batch)
    context = int(part * place.model.context_tokens)
    exact, line = decode_step_s(place, batch, context).value, speed_curve(place).tpot_s(batch, context)
    assert exact / 2 <= line <= exact * 2
    if context > 0:
        stairs, straight = prefill_s(place, context).value, speed_curve(place).prefill_s(context)
        assert straight == pytest.approx(stairs, rel=0.5) or context < 128


@settings(max_examples=80, deadline=None)
@given(chips, models, slots)
def test_no_step_reads_more_than_the_memory_gives(chip: str, model: str, batch: int) -> None:
    place = deployment(chip, model, batch)
    check_conservation([Claim(place, decode_step_s(place, batch, 0).value, 0.0, float(batch))])


@settings(max_examples=60, deadline=None)
@given(models)
def test_what_is_always_read_and_what_is_routed_are_all_but_the_embedding(model: str) -> None:
    figures = catalog.model(model)
    parts = always_read_parameters(figures) + routed_parameters(figures)
    assert parts <= figures.parameters * 1.001
    assert parts >= 0.8 * figures.parameters


def test_kv_heads_are_replicated_past_one_head_a_core() -> None:
    model = catalog.model("llama-3.1-8b")
    per_head = 2.0 * 32 * 128 * 2
    assert [kv_bytes_per_core(model, cores) / per_head for cores in (1, 4, 8, 64)] == [8, 2, 1, 1]
    latent = catalog.model("deepseek-v3")
    assert latent.attention is Attention.MLA
    assert kv_bytes_per_core(latent, 64) == kv_bytes_per_core(latent, 1)


def test_beyond_the_largest_batch_measured_the_interval_widens() -> None:
    inside, beyond = (decode_step_s(deployment("Trainium2", "llama-3.1-8b", batch), 1, 0) for batch in (32, 128))
    assert beyond.high / beyond.value == pytest.approx(4 * inside.high / inside.value)
    assert beyond.value / beyond.low == pytest.approx(4 * inside.value / inside.low)


def test_a_prefill_of_experts_has_a_fixed_part_that_stops_everything() -> None:
    dense, experts = deployment("Trainium2", "llama-3.3-70b"), deployment("Trainium2", "llama-4-maverick")
    assert speed_curve(dense).prefill_fixed_s == 0.0
    assert speed_curve(experts).prefill_fixed_s > 0.3


def test_speculation_yields_several_tokens_a_pass() -> None:
    place = replace(deployment("Trainium2", "llama-3.1-405b", 1), speculation=True)
    plain = replace(place, speculation=False)
    assert decode_step_s(place, 1, 0).value < decode_step_s(plain, 1, 0).value / 2
    assert speed_curve(place).tokens_per_pass == pytest.approx(5.08, rel=0.02)
    assert coefficient(catalog.accelerator("Trainium2"), "acceptance").n > 0
    assert [chip for chip in CHIPS if speculates(catalog.accelerator(chip))] == ["Trainium2", "Trainium3"]
