"""Points: what is asked of which deployment, as arrays, so that a formula runs once for many.

A point is a deployment under the load of a closed loop of clients. Figures of the chip, of the model and of how the
model is laid over the chips stand beside each other, one array entry a point; weight figures are bytes as deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, Attention, Deployment, Model, ParameterCounts, parameter_counts
from headrace.perf.memory import kv_bytes_per_sequence, kv_bytes_per_token, linear_state_bytes, require_accelerator
from headrace.perf.speculation import declared, declared_tokens_per_pass

Array = NDArray[np.float64]

FP4_BYTES = 4.5 / 8  # four bits and a scale for every sixteen values
MXFP4_BYTES = 4.25 / 8  # and for every thirty-two


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop: `concurrency` clients, each sending its next request when the last one is answered."""

    input_tokens: int
    output_tokens: int
    concurrency: float = 1.0


@dataclass(frozen=True, slots=True)
class Split:
    """Disaggregation: prefill on replicas of their own. The deployment of the point is one decode replica.

    Attributes:
        prefill_count: accelerators of one prefill replica; `prefill_ranks` of its attention's data parallelism.
    """

    decode_replicas: int = 1
    prefill_replicas: int = 1
    prefill_count: int = 1
    prefill_ranks: int = 1


@dataclass(slots=True)
class Points:
    """Points as arrays of equal length.

    Attributes:
        ranks: groups of chips that hold different sequences (attention data parallelism); `width`: chips of such a
            group, over which attention is sharded.
        flops: peak in the arithmetic of the weights; `attention_flops` in that of attention.
        expert_bytes: of one expert of one layer.
        attention_width: over all full-attention layers, heads * (key + value size) in prefill; `decode_width` in
            decode, where latent attention works on the latent.
        checked: tokens of one sequence that a pass checks, drafted ones and the last; 1 without speculation.
        draft_steps: time of the drafts of a pass, in decode steps; `per_pass`: tokens that a sequence gets of it.
    """

    split: Array
    concurrency: Array
    input_tokens: Array
    output_tokens: Array
    count: Array
    width: Array
    ranks: Array
    expert_parallel: Array
    replicas: Array
    prefill_count: Array
    prefill_ranks: Array
    prefill_replicas: Array
    bandwidth: Array
    flops: Array
    attention_flops: Array
    link: Array
    memory: Array
    layers: Array
    moe_layers: Array
    hidden: Array
    attention_bytes: Array
    dense_bytes: Array
    head_bytes: Array
    expert_bytes: Array
    experts: Array
    active_experts: Array
    active_parameters: Array
    attention_parameters: Array
    kv_bytes_token: Array
    window_bytes: Array
    window_tokens: Array
    state_bytes: Array
    kv_heads: Array
    attention_width: Array
    decode_width: Array
    latent: Array
    linear_layers: Array
    checked: Array
    draft_steps: Array
    per_pass: Array

    def __len__(self) -> int:
        return len(self.count)

    def take(self, index: NDArray[np.intp]) -> Points:
        """The points at these places."""
        return Points(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def points_of(asked: Sequence[tuple[Deployment, Load, Split | None]]) -> Points:
    """Points as arrays.

    Raises:
        ModelRangeError: a deployment is known by observation only, or its model's architecture or its chip's
            bandwidth or arithmetic is not known.
    """
    rows = [_figures(*each) for each in asked]
    return Points(**{field.name: np.array([row[field.name] for row in rows], dtype=float) for field in fields(Points)})


def weight_bits(deployment: Deployment) -> int:
    """Bits of the bulk of the weights as deployed."""
    return deployment.weight_bits or deployment.model.native_weight_bits


def _figures(deployment: Deployment, load: Load, split: Split | None) -> dict[str, float]:
    chip, model = require_accelerator(deployment), deployment.model
    counts = parameter_counts(model)
    if counts is None:
        raise ModelRangeError(f"model {model.name!r}: the widths of its feed-forward layers are not known")
    parts = split or Split()
    return {
        "split": float(split is not None),
        "concurrency": load.concurrency,
        "input_tokens": load.input_tokens,
        "output_tokens": load.output_tokens,
        "count": deployment.count,
        "width": deployment.count / deployment.attention_ranks,
        "ranks": deployment.attention_ranks,
        "expert_parallel": float(deployment.expert_parallel),
        "replicas": parts.decode_replicas,
        "prefill_count": parts.prefill_count,
        "prefill_ranks": parts.prefill_ranks,
        "prefill_replicas": parts.prefill_replicas,
        **_chip_figures(chip, deployment),
        **_weight_figures(deployment, counts),
        **_cache_figures(model, _kv_bits(deployment)),
        **_draft_figures(deployment),
    }


def _kv_bits(deployment: Deployment) -> int:
    """Bits of a cached number: an assumption, for measured points do not say it.

    Servers cache in 16 bits unless the checkpoint asks for 8, as those that Nvidia quantised do (`kv_cache_quant_algo`:
    https://nvidia.github.io/TensorRT-LLM/features/quantization.html, github vllm-project/vllm pull 29980). Eight for
    every quantised deployment predicts TTFT better than 16 for all, TPOT of unseen models worse (docs/validation.md).
    """
    return 16 if weight_bits(deployment) == 16 else 8


def _draft_figures(deployment: Deployment) -> dict[str, float]:
    draft = declared(deployment)
    if draft is None:
        return {"checked": 1.0, "draft_steps": 0.0, "per_pass": 1.0}
    return {
        "checked": 1.0 + draft.draft_tokens,
        "draft_steps": draft.draft_tokens * draft.draft_cost,
        "per_pass": declared_tokens_per_pass(deployment),
    }


def _chip_figures(chip: Accelerator, deployment: Deployment) -> dict[str, float]:
    flops_16 = flops_of(chip, 16)
    if chip.memory_bandwidth_bytes_per_s is None or flops_16 is None:
        raise ModelRangeError(f"accelerator {chip.name!r} has no bandwidth or no FLOP/s figure: declare both")
    return {
        "bandwidth": chip.memory_bandwidth_bytes_per_s,
        "flops": _peak_flops(chip, deployment) or flops_16,
        "attention_flops": flops_16,
        "link": chip.scale_up_bandwidth_bytes_per_s or np.inf,
        "memory": chip.memory_bytes,
    }


def flops_of(chip: Accelerator, bits: int) -> float | None:
    """Peak FLOP/s in arithmetic of so many bits (16, 8), half of the next narrower where that alone is known.

    The ratio is that of every chip of the catalog that has both; None: no figure at all.
    """
    wide = chip.flops_bf16 if bits == 16 else chip.flops_fp8
    if wide is not None:
        return wide
    narrower = flops_of(chip, 8) if bits == 16 else chip.flops_fp4
    return None if narrower is None else narrower / 2.0


def _peak_flops(chip: Accelerator, deployment: Deployment) -> float | None:
    """Peak in the arithmetic of the weights; four-bit checkpoints of 16-bit models multiply in the next wider one."""
    bits, widened = weight_bits(deployment), deployment.model.native_weight_bits == 4
    if bits > 4:
        return flops_of(chip, 8) if bits <= 8 else None
    if chip.flops_fp4 is None:
        return None
    return flops_of(chip, 8) if widened else chip.flops_fp4


def _bytes_per_parameter(deployment: Deployment) -> tuple[float, float, float]:
    """Of attention, of dense and shared feed-forward, and of routed experts."""
    bits, model = weight_bits(deployment), deployment.model
    if bits >= 8:
        return (bits / 8,) * 3
    if model.native_weight_bits == 4:
        return 2.0, 2.0, MXFP4_BYTES
    return (2.0, 1.0, FP4_BYTES) if model.experts > 1 else (FP4_BYTES,) * 3


def _weight_figures(deployment: Deployment, counts: ParameterCounts) -> dict[str, float]:
    model = deployment.model
    attention_bytes, dense_bytes, expert_bytes = _bytes_per_parameter(deployment)
    one_expert = counts.routed_experts / (model.moe_layers * model.experts) if model.moe_layers else 0.0
    return {
        "layers": model.layers,
        "moe_layers": model.moe_layers,
        "hidden": model.hidden_size,
        "attention_bytes": counts.attention * attention_bytes,
        "dense_bytes": (counts.dense_ffn + counts.shared_experts) * dense_bytes,
        "head_bytes": model.vocabulary * model.hidden_size * 2.0,
        "expert_bytes": one_expert * expert_bytes,
        "experts": model.experts,
        "active_experts": model.active_experts,
        "active_parameters": counts.active,
        "attention_parameters": counts.attention,
    }


def _cache_figures(model: Model, kv_bits: int) -> dict[str, float]:
    latent = model.attention is Attention.MLA
    states = model.linear_attention_layers * linear_state_bytes(model)
    width = model.attention_heads * (model.head_size + (model.value_head_size or model.head_size))
    rank, rope = model.kv_lora_rank or 0, model.rope_head_size or 0
    decode = model.attention_heads * (2 * rank + rope) if latent else width
    return {
        "kv_bytes_token": kv_bytes_per_token(model, kv_bits),
        "window_bytes": kv_bytes_per_sequence(model, kv_bits) - states,
        "window_tokens": model.sliding_window_tokens or 1,
        "state_bytes": states,
        "kv_heads": model.kv_heads,
        "attention_width": model.full_attention_layers * width,
        "decode_width": model.full_attention_layers * decode,
        "latent": float(latent),
        "linear_layers": model.linear_attention_layers,
    }
