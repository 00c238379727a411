"""Speed curves of the three servings, and work in reference seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, OperatingPoint, Share, ShareUnit, catalog
from headrace.perf import Serving, compute_rate, memory_fit, speed_curve, work_rate

MODEL = catalog.model("gpt-oss-120b")
OBSERVED = Deployment("gpu", MODEL, max_batch=64, observed=OperatingPoint(0.25, 15_000.0, 0.0154, batch=32))


def predicted(chip: str, count: int) -> Deployment:
    return Deployment("d", MODEL, catalog.accelerator(chip), count)


def test_an_observed_service_keeps_its_speed_at_every_batch() -> None:
    curve = speed_curve(OBSERVED)
    assert curve.serving is Serving.HOSTED
    assert curve.ttft_s(3000) == pytest.approx(0.25 + 3000 / 15_000)
    assert {curve.tpot_s(batch, 1000) for batch in range(1, 65)} == {0.0154}
    assert curve.kv_capacity_tokens is None
    assert curve.power_w is None


@pytest.mark.parametrize(
    ("chip", "count", "serving"),
    [("H100", 8, Serving.BATCHING), ("TPU v6e", 8, Serving.BATCHING), ("LPU", 576, Serving.DATAFLOW)],
)
def test_memory_decides_how_a_chip_serves(chip: str, count: int, serving: Serving) -> None:
    curve = speed_curve(predicted(chip, count))
    assert curve.serving is serving
    assert len(curve.step_s) == curve.max_batch + 1
    assert list(curve.step_s) == sorted(curve.step_s)
    assert curve.kv_capacity_tokens == memory_fit(predicted(chip, count)).kv_capacity_tokens


def test_power_is_that_of_all_accelerators_or_unknown() -> None:
    assert speed_curve(predicted("H100", 8)).power_w == pytest.approx(8 * 1730)
    assert speed_curve(predicted("TPU v6e", 8)).power_w is None


def test_a_chip_of_ones_own_has_the_speed_of_the_one_it_is_like() -> None:
    chip = replace(catalog.accelerator("H100"), name="H100-water", speed_as="H100")
    assert speed_curve(Deployment("d", MODEL, chip, 8)) == speed_curve(predicted("H100", 8))


def test_a_model_that_does_not_fit_has_no_speed() -> None:
    with pytest.raises(ModelRangeError, match="does not fit"):
        speed_curve(predicted("LPU", 100))


def test_work_of_each_unit() -> None:
    share = Share("fast", ("p",), 0.1, ShareUnit.REQUESTS)
    assert work_rate(share).work(1000, 200) == 1
    assert work_rate(replace(share, of=ShareUnit.OUTPUT_TOKENS)).work(1000, 200) == 200
    compute = replace(share, of=ShareUnit.COMPUTE, reference=OBSERVED)
    assert work_rate(compute).work(1000, 200) == pytest.approx(1000 / 15_000 + 200 * 0.0154 / 32)


def test_compute_of_a_predicted_reference_is_a_token_of_a_full_batch() -> None:
    curve, rate = speed_curve(predicted("H100", 8)), compute_rate(predicted("H100", 8))
    assert rate.per_input_token == curve.prefill_s_per_token
    assert rate.per_output_token == pytest.approx(curve.step_s[128] / 128)
    assert rate.per_request == 0


def test_compute_without_a_reference_is_refused() -> None:
    with pytest.raises(ModelRangeError, match="reference"):
        work_rate(Share("fast", ("p",), 0.1, ShareUnit.COMPUTE))


@pytest.mark.parametrize("serving", [Serving.DATAFLOW, Serving.HOSTED])
@pytest.mark.parametrize("part", ["ttft_overhead_s_per_token", "ttft_overhead_s_per_sequence"])
def test_an_overhead_that_its_model_server_would_leave_out_is_refused(serving: Serving, part: str) -> None:
    curve = replace(speed_curve(OBSERVED), serving=Serving.BATCHING, **{part: 0.001})
    assert curve.overhead_s(10.0, 2) > curve.ttft_overhead_s
    with pytest.raises(ModelRangeError, match="only continuous batching"):
        replace(curve, serving=serving)
