"""Law 11: no result implies more FLOPs, bytes, KV bytes or watts per second than the silicon has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InvariantError
from headrace.fleet import Deployment, Memory, catalog
from headrace.perf import (
    Claim,
    accelerators_needed,
    check_conservation,
    is_predictable,
    memory_fit,
    speed_curve,
    violations,
)

CHIPS = [chip for chip in catalog.accelerators() if is_predictable(chip)]
MODELS = [model.name for model in catalog.models()]


def deployment(chip: str, model: str, max_batch: int = 128) -> Deployment:
    one = Deployment("d", catalog.model(model), catalog.accelerator(chip), 1, max_batch=max_batch)
    return Deployment("d", one.model, one.accelerator, accelerators_needed(one), max_batch=max_batch)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([c.name for c in CHIPS]), st.sampled_from(MODELS), st.integers(1, 128), st.integers(1, 131_072))
def test_no_speed_curve_decodes_or_prefills_faster_than_its_silicon(
    chip: str, model: str, batch: int, context: int
) -> None:
    place = deployment(chip, model)
    curve = speed_curve(place)
    decoding = Claim(place, curve.tpot_s(batch, 0.0), 0.0, float(batch))
    prefilling = Claim(place, curve.prefill_s(context), float(context), 0.0)
    if place.accelerator is not None and place.accelerator.memory is Memory.SRAM:
        decoding = Claim(place, curve.tpot_s(batch), 0.0, batch / max(1.0, min(batch, curve.depth)))
    check_conservation([decoding, prefilling])


def test_a_fleet_that_serves_sixteen_times_its_arithmetic_is_found() -> None:
    """Two H100 at 200 requests/s of 1,000 input tokens for a 70B model: what one public fleet simulator reports."""
    place = Deployment("h100", catalog.model("llama-3.1-70b"), catalog.accelerator("H100"), 2, weight_bits=8)
    claim = Claim(place, busy_s=1.0, input_tokens=200 * 1000, output_tokens=200 * 100)
    assert {violation.resource for violation in violations(claim)} == {"FLOPs", "bytes read"}
    with pytest.raises(InvariantError, match=r"(?s)needs 3\.\d+e\+16 FLOPs, 7\.\d+ times"):
        check_conservation([claim])


@given(st.floats(1.001, 100.0))
def test_more_kv_or_power_than_there_is_is_found(times: float) -> None:
    place = deployment("H100", "llama-3.1-8b")
    capacity = memory_fit(place).kv_capacity_tokens
    power_w = place.count * (catalog.accelerator("H100").power_w or 0.0)
    enough = Claim(place, 1.0, 0.0, 0.0, kv_tokens=capacity, power_w=power_w)
    too_much = Claim(place, 1.0, 0.0, 0.0, kv_tokens=times * capacity, power_w=times * power_w)
    assert violations(enough) == ()
    assert [violation.resource for violation in violations(too_much)] == ["KV tokens", "W"]


def test_speculation_reads_the_weights_less_often() -> None:
    place = deployment("H100", "llama-3.1-70b", max_batch=1)
    fast = Claim(place, busy_s=1.0, input_tokens=0.0, output_tokens=150.0)
    assert [violation.resource for violation in violations(fast)] == ["bytes read"]
    assert violations(Claim(place, 1.0, 0.0, 150.0, tokens_per_pass=3.0)) == ()
