"""A first roofline: how long a decode step takes on external memory, and a prefill on all but Neuron.

A chip that reads its weights from external memory is bound by bytes: one decode step reads every weight that its batch
touches and every KV entry of its sequences, then pays a fixed overhead per layer (kernel launches, collectives).

The KV reads of a step are added to, not overlapped with, the larger of weight reads and arithmetic. That makes a step
linear in its context, so that `SpeedCurve` holds it exactly, and errs to the slow side by less than the arithmetic.
Every coefficient is a table row with an interval; `low` and `high` of an estimate take all of them at their good or at
their bad end together, so the interval is wider than 80 %.

Source: roofline model (Williams et al., CACM 2009); MoE expert coverage under uniform routing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, Deployment, Model
from headrace.perf.coefficients import Coefficient, coefficient
from headrace.perf.estimate import Bound, Estimate, largest, sources
from headrace.perf.memory import kv_bytes_per_sequence, kv_bytes_per_token, require_accelerator, weight_bytes
from headrace.perf.speculation import declared, declared_tokens_per_pass

FLOPS_PER_PARAMETER = 2


@dataclass(frozen=True, slots=True)
class StepParts:
    """One decode step, taken apart; seconds. A step takes max(weights_s, arithmetic_s) + layers_s + kv_s + draft_s."""

    weights_s: float
    arithmetic_s: float
    layers_s: float
    kv_s: float
    draft_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Duration of the step."""
        return max(self.weights_s, self.arithmetic_s) + self.layers_s + self.kv_s + self.draft_s

    @property
    def why(self) -> str:
        """The largest part."""
        return largest(
            {
                "weight reads": self.weights_s,
                "arithmetic": self.arithmetic_s,
                "layer latency": self.layers_s,
                "KV reads": self.kv_s,
                "draft": self.draft_s,
            }
        )


def prefill_s(deployment: Deployment, input_tokens: int) -> Estimate:
    """Time to prefill `input_tokens` alone, without the fixed overhead of a first token.

    t = ((2 P + 4 L_w h w) T + 2 L_f h T^2) / (n F u): P active parameters, L_f layers with full attention, L_w with a
    window of w tokens, h = heads * head size, n accelerators, F peak FLOP/s of the arithmetic, u compute efficiency.

    Raises:
        ModelRangeError: `input_tokens` lies outside 0 to the model's context, or the deployment is only observed.
    """
    check_context(deployment, input_tokens)
    value, low, high = (
        _prefill_s(deployment, input_tokens, bound) for bound in (Bound.EXPECTED, Bound.FAST, Bound.SLOW)
    )
    return Estimate(value, low, high, "s", "arithmetic", sources([_compute_efficiency(deployment)]))


def step_parts(deployment: Deployment, batch: int, context_tokens: float, bound: Bound = Bound.EXPECTED) -> StepParts:
    """One decode step by its parts; `batch` 0 is the fixed part of a step that only prefills. No range is checked.

    max[W(B) / (n BW m), 2 P B / (n F u)] + L t_layer + B (K + K_w) / (n BW m). W(B): bytes of the weights that the
    batch touches; K, K_w: KV bytes of the context and of full sliding windows; m: memory efficiency. With speculation
    the parts are those of one token: `perf.speculation` has the formula.
    """
    plain, draft = _pass_parts(deployment, batch, batch, context_tokens, bound), declared(deployment)
    if draft is None or batch == 0:
        return plain
    checking = _pass_parts(deployment, batch, batch * (1 + draft.draft_tokens), context_tokens, bound)
    per_pass, draft_steps = declared_tokens_per_pass(deployment), draft.draft_tokens * draft.draft_cost
    return StepParts(
        weights_s=checking.weights_s / per_pass,
        arithmetic_s=checking.arithmetic_s / per_pass,
        layers_s=checking.layers_s / per_pass,
        kv_s=checking.kv_s / per_pass,
        draft_s=draft_steps * plain.total_s / per_pass,
    )


def _pass_parts(deployment: Deployment, batch: int, tokens: int, context_tokens: float, bound: Bound) -> StepParts:
    """One pass with `tokens` tokens of `batch` sequences."""
    chip = require_accelerator(deployment)
    layers_s = deployment.model.layers * layer_s(deployment, bound)
    bandwidth = bandwidth_bytes_per_s(deployment, bound)
    windows = batch * kv_bytes_per_sequence(deployment.model, coefficient(chip, "kv_bits").value)
    arithmetic = FLOPS_PER_PARAMETER * deployment.model.active_parameters * tokens
    return StepParts(
        weights_s=touched_weight_bytes(deployment, tokens) / bandwidth,
        arithmetic_s=arithmetic / flops_per_s(deployment, bound),
        layers_s=layers_s,
        kv_s=batch * context_tokens * _kv_read_s(deployment, bound) + windows / bandwidth,
    )


def touched_weight_bytes(deployment: Deployment, batch: int) -> float:
    """Weight bytes that one step of `batch` tokens reads.

    Under uniform routing a batch of B touches E (1 - (1 - k/E)^B) of E experts, k per token, in every layer.
    """
    model = deployment.model
    total = weight_bytes(deployment)
    reached = 1.0 - (1.0 - model.active_experts / model.experts) ** batch
    return total * (1.0 - model.expert_weight_fraction + model.expert_weight_fraction * reached)


def step_rows(deployment: Deployment) -> tuple[Coefficient, ...]:
    """The coefficients that a decode step rests on."""
    chip = require_accelerator(deployment)
    return (_layer_row(deployment), coefficient(chip, "memory_efficiency"), _compute_efficiency(deployment))


def prefill_coefficients(deployment: Deployment, bound: Bound = Bound.EXPECTED) -> tuple[float, float]:
    """Prefill seconds per token and per token squared."""
    model = deployment.model
    rate = flops_per_s(deployment, bound)
    width = model.attention_heads * model.head_size
    windowed = 4 * model.sliding_window_layers * width * model.sliding_window_tokens
    full = 2 * model.full_attention_layers * width
    return (FLOPS_PER_PARAMETER * model.active_parameters + windowed) / rate, full / rate


def kv_s_per_token(deployment: Deployment, bound: Bound = Bound.EXPECTED) -> float:
    """Seconds that one context token of one sequence adds to a step; to a token's time with speculation."""
    draft = declared(deployment)
    draft_steps = 0.0 if draft is None else draft.draft_tokens * draft.draft_cost
    return _kv_read_s(deployment, bound) * (1.0 + draft_steps) / declared_tokens_per_pass(deployment)


def _kv_read_s(deployment: Deployment, bound: Bound) -> float:
    """Seconds that one pass takes to read the KV cache of one context token."""
    chip = require_accelerator(deployment)
    per_token = kv_bytes_per_token(deployment.model, coefficient(chip, "kv_bits").value)
    return per_token / bandwidth_bytes_per_s(deployment, bound)


def layer_s(deployment: Deployment, bound: Bound = Bound.EXPECTED) -> float:
    """Latency of one layer besides its bytes."""
    return float(getattr(_layer_row(deployment), bound.value))


def bandwidth_bytes_per_s(deployment: Deployment, bound: Bound = Bound.EXPECTED) -> float:
    """Memory bandwidth that the replica reaches."""
    chip = require_accelerator(deployment)
    if chip.memory_bandwidth_bytes_per_s is None:
        raise ModelRangeError(f"accelerator {chip.name!r} has no bandwidth figure: declare one in [accelerators.NAME]")
    efficiency = _efficiency(coefficient(chip, "memory_efficiency"), bound)
    return deployment.count * chip.memory_bandwidth_bytes_per_s * efficiency


def flops_per_s(deployment: Deployment, bound: Bound = Bound.EXPECTED) -> float:
    """FLOP/s that the replica reaches in the arithmetic that its weights allow."""
    chip = require_accelerator(deployment)
    return deployment.count * _peak_flops(chip, deployment) * _efficiency(_compute_efficiency(deployment), bound)


def check_context(deployment: Deployment, tokens: int) -> None:
    """Raise ModelRangeError when `tokens` lies outside 0 to the model's context, or the deployment is only observed."""
    require_accelerator(deployment)
    limit = deployment.model.context_tokens
    if not 0 <= tokens <= limit:
        raise ModelRangeError(f"{tokens} tokens lie outside 0 to {limit}, the context of {deployment.model.name!r}")


def _prefill_s(deployment: Deployment, input_tokens: int, bound: Bound) -> float:
    linear, squared = prefill_coefficients(deployment, bound)
    return input_tokens * (linear + squared * input_tokens)


def _peak_flops(chip: Accelerator, deployment: Deployment) -> float:
    """Peak in the weights' own precision where the chip has it; else they are widened to 16 bits, or the nearest."""
    bits = deployment.weight_bits or deployment.model.native_weight_bits
    own = chip.flops_fp4 if bits <= 4 else chip.flops_fp8 if bits <= 8 else None
    for flops in (own, chip.flops_bf16, chip.flops_fp8, chip.flops_fp4):
        if flops is not None:
            return flops
    raise ModelRangeError(f"accelerator {chip.name!r} has no FLOP/s figure: declare one in [accelerators.NAME]")


def _is_moe(model: Model) -> bool:
    return model.experts > 1


def _layer_row(deployment: Deployment) -> Coefficient:
    chip = require_accelerator(deployment)
    return coefficient(chip, "moe_layer_s" if _is_moe(deployment.model) else "dense_layer_s")


def _compute_efficiency(deployment: Deployment) -> Coefficient:
    chip = require_accelerator(deployment)
    return coefficient(chip, "moe_compute_efficiency" if _is_moe(deployment.model) else "dense_compute_efficiency")


def _efficiency(row: Coefficient, bound: Bound) -> float:
    """An efficiency is good when it is high: the fast bound takes the high end."""
    if bound is Bound.FAST:
        return row.high
    return row.low if bound is Bound.SLOW else row.value
