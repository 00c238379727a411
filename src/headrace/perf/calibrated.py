"""From a calibration to a speed curve."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import ModelRangeError
from headrace.fleet import Calibration, Deployment
from headrace.perf.memory import memory_fit
from headrace.perf.speed import Serving, SpeedCurve


def calibrated_curve(deployment: Deployment, calibration: Calibration) -> SpeedCurve:
    """The curve that was fitted; memory and power are the accelerator's where the deployment names one.

    Raises:
        ModelRangeError: the model does not fit on the accelerator.
    """
    chip = deployment.accelerator
    fit = None if chip is None else memory_fit(deployment)
    if fit is not None and not fit.fits:
        raise ModelRangeError(f"deployment {deployment.name!r}: {deployment.model.name} does not fit where it is put")
    knots = [(batch, step.value) for batch, step in calibration.steps]
    return SpeedCurve(
        serving=Serving.BATCHING,
        ttft_overhead_s=calibration.ttft_overhead_s.value,
        prefill_s_per_token=calibration.prefill_s_per_token.value,
        prefill_s_per_token_squared=calibration.prefill_s_per_token_squared.value,
        step_s=steps_between(knots, calibration.max_batch),
        kv_s_per_token=calibration.kv_s_per_token.value,
        max_batch=calibration.max_batch,
        chunk_tokens=calibration.chunk_tokens,
        depth=1,
        kv_capacity_tokens=None if fit is None else fit.kv_capacity_tokens,
        power_w=None if chip is None or chip.power_w is None else deployment.count * chip.power_w,
        prefill_fixed_s=calibration.prefill_fixed_s.value,
    )


def steps_between(knots: Sequence[tuple[int, float]], max_batch: int) -> tuple[float, ...]:
    """Step seconds of every batch from 0 to `max_batch`: linear between knots and beyond the last, never falling there.

    Batch 0, the fixed part of a step that only prefills, is the line through the first two knots, at least 0.

    Args:
        knots: (batch, seconds), increasing in batch, from batch 1 on.

    Raises:
        ModelRangeError: there is no knot, or the first is not of batch 1.
    """
    if not knots or knots[0][0] != 1:
        raise ModelRangeError("a calibration needs the step of batch 1")
    last_batch, last_s = knots[-1]
    before_batch, before_s = knots[-2] if len(knots) > 1 else (0, last_s)
    slope_s = max(0.0, (last_s - before_s) / (last_batch - before_batch))
    first_s = knots[0][1]
    second = knots[1] if len(knots) > 1 else (2, first_s)
    empty_s = min(max(0.0, first_s - (second[1] - first_s) / (second[0] - 1)), first_s)
    end = max(max_batch, last_batch) + 1
    points = [(0, empty_s), *knots, (end, last_s + slope_s * (end - last_batch))]
    steps = []
    for batch in range(max_batch + 1):
        right = next(index for index, point in enumerate(points) if point[0] > batch)
        (x0, y0), (x1, y1) = points[right - 1], points[right]
        steps.append(y0 + (y1 - y0) * (batch - x0) / (x1 - x0))
    return tuple(steps)
