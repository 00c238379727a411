"""Every law of speed: monotone, inside its range, at one with its curve, and close to what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, catalog
from headrace.perf import (
    Law,
    accelerators_needed,
    coefficients,
    decode_step_s,
    is_predictable,
    neuron,
    prefill_s,
    rdu,
    speed_curve,
    speed_law,
)
from headrace.perf.coefficients import ANY
from headrace.perf.passes import touched_weight_bytes

LONGEST_CONTEXT = 131_072
CHIPS = [chip.name for chip in catalog.accelerators() if is_predictable(chip)]
MODELS = [model.name for model in catalog.models() if model.context_tokens >= LONGEST_CONTEXT]
BATCH = 64
BY_LAW = {law: [name for name in CHIPS if speed_law(catalog.accelerator(name)) is law] for law in Law}
NOT_NEURON = [name for name in CHIPS if name not in BY_LAW[Law.NEURON]]
OWN_LAW = [name for name in NOT_NEURON if name not in BY_LAW[Law.CONTINUOUS]]
NOT_SRAM = [name for name in CHIPS if name not in BY_LAW[Law.SRAM]]


def deployment(chip: str, count: int = 8, model: str = "gpt-oss-120b", max_batch: int = BATCH) -> Deployment:
    return Deployment("d", catalog.model(model), catalog.accelerator(chip), count, max_batch=max_batch)


def fitting(chip: str, model: str) -> Deployment:
    return deployment(chip, accelerators_needed(deployment(chip, 1, model)), model)


chips, models = st.sampled_from(CHIPS), st.sampled_from(MODELS)
batches, contexts = st.integers(1, BATCH), st.integers(0, LONGEST_CONTEXT)


@settings(max_examples=80, deadline=None)
@given(chips, models, batches, batches, contexts, contexts)
def test_a_step_never_gets_faster_with_batch_or_context(
    chip: str, model: str, batch_a: int, batch_b: int, context_a: int, context_b: int
) -> None:
    place = deployment(chip, 8, model)
    small = decode_step_s(place, min(batch_a, batch_b), min(context_a, context_b))
    large = decode_step_s(place, max(batch_a, batch_b), max(context_a, context_b))
    assert large.value >= small.value


@settings(max_examples=40, deadline=None)
@given(models, st.integers(1, BATCH - 1), st.integers(0, 100_000))
def test_on_external_memory_a_step_grows_with_batch_and_context(model: str, batch: int, context: int) -> None:
    place = deployment("H100", 8, model)
    here = decode_step_s(place, batch, context).value
    assert decode_step_s(place, batch, context + 1000).value > here
    assert decode_step_s(place, batch + 1, context + 1).value > here


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NOT_NEURON), models, contexts, contexts)
def test_prefill_is_monotone_and_superadditive(chip: str, model: str, first: int, second: int) -> None:
    place = deployment(chip, 8, model)
    short, long = sorted((first, second))
    assert prefill_s(place, short).value <= prefill_s(place, long).value
    apart = prefill_s(place, short).value + prefill_s(place, long - short).value
    assert apart <= prefill_s(place, long).value * (1 + 1e-9)


@settings(max_examples=80, deadline=None)
@given(chips, models, batches, contexts)
def test_every_estimate_lies_in_its_interval_and_says_why(chip: str, model: str, batch: int, context: int) -> None:
    place = deployment(chip, 8, model)
    for estimate in (decode_step_s(place, batch, context), prefill_s(place, context)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high
        assert estimate.unit == "s"
        assert estimate.why
        assert "n=" in estimate.source or "speed_parameters.csv" in estimate.source


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(OWN_LAW), models, batches, contexts)
def test_the_curve_says_what_the_law_says(chip: str, model: str, batch: int, context: int) -> None:
    place = fitting(chip, model)
    curve = speed_curve(place)
    assert curve.tpot_s(batch, context) == pytest.approx(decode_step_s(place, batch, context).value)
    assert curve.prefill_s(context) == pytest.approx(prefill_s(place, context).value)


@pytest.mark.parametrize("chip", NOT_SRAM)
def test_more_accelerators_never_slow_a_step(chip: str) -> None:
    assert decode_step_s(deployment(chip, 16), 32, 1000).value <= decode_step_s(deployment(chip, 8), 32, 1000).value


def test_a_batch_touches_each_expert_at_most_once() -> None:
    place = deployment("H100")
    touched = [touched_weight_bytes(place, batch) for batch in range(0, 2000, 50)]
    assert touched == sorted(touched)
    assert touched[-1] <= place.model.weight_bytes
    one = touched_weight_bytes(place, 1) / place.model.weight_bytes
    assert one == pytest.approx(1 - 0.9335 + 0.9335 * 4 / 128)


def test_an_sram_pipeline_costs_no_speed_up_to_its_depth_and_shares_beyond() -> None:
    curve = speed_curve(deployment("WSE-3", 4, max_batch=100))
    assert curve.depth == 36
    assert len(set(curve.step_s[: curve.depth + 1])) == 1
    assert curve.step_s[2 * curve.depth] == pytest.approx(2 * curve.step_s[1])


@pytest.mark.parametrize(("batch", "context"), [(0, 10), (BATCH + 1, 10), (1, -1), (1, 131_073)])
def test_outside_its_range_the_model_refuses(batch: int, context: int) -> None:
    with pytest.raises(ModelRangeError, match="outside"):
        decode_step_s(deployment("H100"), batch, context)


def test_a_prefill_beyond_the_context_is_refused() -> None:
    with pytest.raises(ModelRangeError, match="outside"):
        prefill_s(deployment("H100"), 131_073)


def test_every_accelerator_has_every_coefficient_its_law_needs() -> None:
    arithmetic = {"dense_compute_efficiency", "moe_compute_efficiency", "ttft_overhead_s"}
    needed = {
        Law.CONTINUOUS: set(),
        Law.SRAM: arithmetic | {"layer_s", "stages_per_layer", "speed_factor"},
        Law.RDU: arithmetic | {*rdu.ROWS, *rdu.DRAFT_ROWS, "speed_factor"},
        Law.NEURON: {*neuron.STEP_ROWS, *neuron.PREFILL_ROWS, "ttft_overhead_s", "speed_factor", "batch_measured"},
    }
    rows = {(row.accelerator, row.name) for row in coefficients()}
    for chip in map(catalog.accelerator, CHIPS):
        assert {name for name in needed[speed_law(chip)] if (chip.name, name) not in rows} == set(), chip.name
    unpredicted = [chip for chip in catalog.accelerators() if chip.name not in CHIPS]
    assert all((chip.availability or "").startswith("not shipped") for chip in unpredicted)


def test_a_chip_without_a_bandwidth_figure_has_no_speed() -> None:
    unknown = replace(catalog.accelerator("H100"), memory_bandwidth_bytes_per_s=None)
    with pytest.raises(ModelRangeError, match="no bandwidth or no FLOP/s figure"):
        decode_step_s(replace(deployment("H100"), accelerator=unknown), 1, 100)


def test_every_coefficient_lies_in_its_interval_and_owns_up_to_assumptions() -> None:
    known = {chip.name for chip in catalog.accelerators()} | {ANY}
    for row in coefficients():
        assert row.low <= row.value <= row.high, row
        assert row.accelerator in known
        assert row.source
        if row.n == 0 and row.accelerator != ANY:
            assert "assumed" in row.source


# Output tokens per second of one user on gpt-oss-120b, as published.
PUBLISHED = [
    ("H200", 8, 279.61, "aiconfigurator silicon_sample.csv (InferenceX), best point, 2026-03-27"),
    ("B200", 8, 437.36, "aiconfigurator silicon_sample.csv (InferenceX), best point, 2026-02-05"),
    ("LPU", 576, 500.0, "console.groq.com/docs/models.md, 2026-06-04 (chip count assumed)"),
    ("LPU", 576, 476.0, "Artificial Analysis, quoted by ailearningguides.com, 2026"),
    ("WSE-3", 4, 1705.8, "Artificial Analysis, quoted by alatirok.com, 2026-05-31 (wafer count assumed)"),
    ("WSE-3", 4, 1844.1, "artificialanalysis.ai/models/gpt-oss-120b-low/providers, 2026"),
    ("WSE-3", 4, 2059.0, "Artificial Analysis, quoted by tokenomics.info/cerebras, 2026"),
]


@pytest.mark.parametrize(("chip", "count", "published_tok_per_s", "source"), PUBLISHED)
def test_single_stream_speed_is_within_30_percent_of_published(
    chip: str, count: int, published_tok_per_s: float, source: str
) -> None:
    predicted = 1.0 / decode_step_s(deployment(chip, count), 1, 1024).value
    assert predicted == pytest.approx(published_tok_per_s, rel=0.30), source
