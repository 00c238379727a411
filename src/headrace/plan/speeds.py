"""The speed curve that a plan counts on: as expected, or towards either end of the speed model's interval.

The model gives an interval for a decode step and for a prefill; a curve has no room for one, so both are moved by the
factor between the expected figure and the end: `outlook` -1 is the slow end, 0 as expected, 1 the fast end, and in
between by equal ratios. What was only observed from outside, or calibrated, has no interval here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf import Estimate, SpeedCurve, decode_step_s, prefill_s, speed_curve

TYPICAL_PART = 8  # the interval is asked for at an eighth of the model's context and of the largest batch


@cache
def planned_curve(deployment: Deployment, outlook: float = 0.0) -> SpeedCurve:
    """The curve of `deployment` at `outlook` in [-1, 1].

    Raises:
        ModelRangeError: its model does not fit, its chip has no speed coefficients, or `outlook` is out of range.
    """
    if not -1.0 <= outlook <= 1.0:
        raise ModelRangeError(f"outlook {outlook} lies outside -1 (slow) to 1 (fast)")
    curve = speed_curve(deployment)
    if outlook == 0.0 or deployment.observed is not None or deployment.calibrated is not None:
        return curve
    decode, prefill = _factors(deployment, outlook)
    return replace(
        curve,
        step_s=tuple(one * decode for one in curve.step_s),
        kv_s_per_token=curve.kv_s_per_token * decode,
        prefill_fixed_s=curve.prefill_fixed_s * prefill,
        prefill_s_per_token=curve.prefill_s_per_token * prefill,
        prefill_s_per_token_squared=curve.prefill_s_per_token_squared * prefill,
    )


def _factors(deployment: Deployment, outlook: float) -> tuple[float, float]:
    """On decode and on prefill times."""
    context = deployment.model.context_tokens // TYPICAL_PART
    batch = max(1, deployment.max_batch // TYPICAL_PART)
    return (
        _factor(decode_step_s(deployment, batch, context), outlook),
        _factor(prefill_s(deployment, context), outlook),
    )


def _factor(estimate: Estimate, outlook: float) -> float:
    end = estimate.high if outlook < 0.0 else estimate.low
    return float((end / estimate.value) ** abs(outlook)) if estimate.value > 0.0 else 1.0
