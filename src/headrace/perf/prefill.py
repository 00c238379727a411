"""Prefill where nothing but arithmetic is known of it: a fraction of peak FLOP/s (SRAM chips, SN40L).

    t = ((2 P + 4 L_w h w) T + 2 L_f h T^2) / (n F u)

P active parameters, L_f layers with full attention, L_w with a window of w tokens, h = heads * head size, n
accelerators, F peak FLOP/s of the arithmetic, u compute efficiency: a row of `coefficients.csv`, assumed where no
prefill was measured. Continuous batching and Neuron have prefill laws of their own.
"""

from __future__ import annotations

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, Deployment
from headrace.perf.coefficients import Coefficient, coefficient
from headrace.perf.estimate import Estimate, sources
from headrace.perf.memory import require_accelerator
from headrace.perf.passes import FLOPS_PER_PARAMETER


def arithmetic_prefill_s(deployment: Deployment, input_tokens: int) -> Estimate:
    """Time to prefill `input_tokens` alone, without the fixed overhead of a first token. No range is checked."""
    linear, squared = prefill_coefficients(deployment)
    value, row = input_tokens * (linear + squared * input_tokens), _compute_efficiency(deployment)
    low, high = value * row.value / row.high, value * row.value / row.low
    return Estimate(value, low, high, "s", "arithmetic", sources([row]))


def prefill_coefficients(deployment: Deployment) -> tuple[float, float]:
    """Prefill seconds per token and per token squared."""
    model, chip = deployment.model, require_accelerator(deployment)
    rate = deployment.count * _peak_flops(chip, deployment) * _compute_efficiency(deployment).value
    width = model.attention_heads * model.head_size
    windowed = 4 * model.sliding_window_layers * width * model.sliding_window_tokens
    full = 2 * model.full_attention_layers * width
    return (FLOPS_PER_PARAMETER * model.active_parameters + windowed) / rate, full / rate


def _peak_flops(chip: Accelerator, deployment: Deployment) -> float:
    """Peak in the weights' own precision where the chip has it; else they are widened to 16 bits, or the nearest."""
    bits = deployment.weight_bits or deployment.model.native_weight_bits
    own = chip.flops_fp4 if bits <= 4 else chip.flops_fp8 if bits <= 8 else None
    for flops in (own, chip.flops_bf16, chip.flops_fp8, chip.flops_fp4):
        if flops is not None:
            return flops
    raise ModelRangeError(f"accelerator {chip.name!r} has no FLOP/s figure: declare one in [accelerators.NAME]")


def _compute_efficiency(deployment: Deployment) -> Coefficient:
    kind = "moe" if deployment.model.experts > 1 else "dense"
    return coefficient(require_accelerator(deployment), f"{kind}_compute_efficiency")
