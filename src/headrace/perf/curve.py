"""From a deployment to its speed curve: the numbers that model servers and prices use."""

from __future__ import annotations

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Memory, OperatingPoint
from headrace.perf.calibrated import calibrated_curve
from headrace.perf.coefficients import coefficient
from headrace.perf.memory import memory_fit, require_accelerator
from headrace.perf.roofline import kv_s_per_token, pipeline_depth, prefill_coefficients, step_parts
from headrace.perf.speed import Serving, SpeedCurve


def speed_curve(deployment: Deployment) -> SpeedCurve:
    """The speed of one replica: as calibrated, as observed, or as the roofline predicts for its kind of memory.

    Raises:
        ModelRangeError: the model does not fit, or the accelerator has no speed coefficients.
    """
    if deployment.calibrated is not None:
        return calibrated_curve(deployment, deployment.calibrated)
    if deployment.observed is not None:
        return _observed(deployment.observed, deployment.max_batch)
    return _predicted(deployment)


def _observed(point: OperatingPoint, max_batch: int) -> SpeedCurve:
    """A service of constant speed: what happens behind its door is not known."""
    return SpeedCurve(
        serving=Serving.HOSTED,
        ttft_overhead_s=point.ttft_s,
        prefill_s_per_token=1.0 / point.input_tokens_per_s,
        prefill_s_per_token_squared=0.0,
        step_s=(point.tpot_s,) * (max_batch + 1),
        kv_s_per_token=0.0,
        max_batch=max_batch,
        chunk_tokens=1,
        depth=max_batch,
        kv_capacity_tokens=None,
        power_w=None,
    )


def _predicted(deployment: Deployment) -> SpeedCurve:
    chip = require_accelerator(deployment)
    fit = memory_fit(deployment)
    if not fit.fits:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: {deployment.model.name} does not fit on {deployment.count} x {chip.name}"
        )
    sram = chip.memory is Memory.SRAM
    linear, squared = prefill_coefficients(deployment)
    steps = tuple(step_parts(deployment, batch, 0.0).total_s for batch in range(deployment.max_batch + 1))
    return SpeedCurve(
        serving=Serving.DATAFLOW if sram else Serving.BATCHING,
        ttft_overhead_s=coefficient(chip, "ttft_overhead_s").value,
        prefill_s_per_token=linear,
        prefill_s_per_token_squared=squared,
        step_s=steps,
        kv_s_per_token=kv_s_per_token(deployment),
        max_batch=deployment.max_batch,
        chunk_tokens=round(coefficient(chip, "chunk_tokens").value),
        depth=pipeline_depth(deployment) if sram else 1,
        kv_capacity_tokens=fit.kv_capacity_tokens,
        power_w=None if chip.power_w is None else deployment.count * chip.power_w,
    )
