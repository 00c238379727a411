"""Memory: what the weights take, and how much context fits beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, Deployment, Model
from headrace.perf.coefficients import coefficient

BITS_PER_BYTE = 8


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """How one replica fills its memory.

    Attributes:
        usable_bytes: memory less the part left for activations and the model server's own buffers.
        kv_capacity_tokens: context tokens that fit beside the weights, over all sequences; 0 when it does not fit.
        fits: weights and at least one full context fit.
    """

    weight_bytes: float
    memory_bytes: float
    usable_bytes: float
    kv_capacity_tokens: int
    fits: bool


def weight_bytes(deployment: Deployment) -> float:
    """Bytes of the weights as deployed: the checkpoint in its native precision, else parameters * bits / 8."""
    model = deployment.model
    bits = deployment.weight_bits
    if bits is None or bits == model.native_weight_bits:
        return model.weight_bytes
    return model.parameters * bits / BITS_PER_BYTE


def kv_bytes_per_token(model: Model, kv_bits: float) -> float:
    """KV bytes that each further context token adds: 2 * full-attention layers * KV heads * head size * kv_bits / 8.

    Layers with a sliding window are bounded and not in here: see `kv_bytes_per_sequence`.
    """
    return (model.layers - model.sliding_window_layers) * _kv_bytes_per_layer_token(model, kv_bits)


def kv_bytes_per_sequence(model: Model, kv_bits: float) -> float:
    """KV bytes of a sequence's sliding-window layers, windows full: an upper bound that does not grow with context."""
    return model.sliding_window_layers * model.sliding_window_tokens * _kv_bytes_per_layer_token(model, kv_bits)


def memory_fit(deployment: Deployment) -> MemoryFit:
    """How a replica of `deployment` fills the memory of its accelerators.

    kv_capacity_tokens = (usable - weights - max_batch * kv_bytes_per_sequence) / kv_bytes_per_token.

    Raises:
        ModelRangeError: the deployment is known by observation only.
    """
    chip = require_accelerator(deployment)
    model = deployment.model
    memory_bytes = deployment.count * chip.memory_bytes
    usable_bytes = memory_bytes * (1.0 - coefficient(chip, "activation_memory_fraction").value)
    weights = weight_bytes(deployment)
    room = usable_bytes - weights - deployment.max_batch * kv_bytes_per_sequence(model, _kv_bits(chip))
    per_token = kv_bytes_per_token(model, _kv_bits(chip))
    tokens = max(0, math.floor(room / per_token)) if per_token else model.context_tokens * deployment.max_batch
    return MemoryFit(weights, memory_bytes, usable_bytes, tokens, room >= 0 and tokens >= model.context_tokens)


def accelerators_needed(deployment: Deployment) -> int:
    """The least count of this accelerator on which the model fits with one full context.

    Raises:
        ModelRangeError: the deployment is known by observation only.
    """
    chip = require_accelerator(deployment)
    model = deployment.model
    kv_bits = _kv_bits(chip)
    context = model.context_tokens * kv_bytes_per_token(model, kv_bits)
    bounded = deployment.max_batch * kv_bytes_per_sequence(model, kv_bits)
    usable_per_chip = chip.memory_bytes * (1.0 - coefficient(chip, "activation_memory_fraction").value)
    count = max(1, math.ceil((weight_bytes(deployment) + context + bounded) / usable_per_chip))
    while not memory_fit(replace(deployment, count=count)).fits:  # rounding can ask for one more
        count += 1
    return count


def require_accelerator(deployment: Deployment) -> Accelerator:
    """The deployment's accelerator.

    Raises:
        ModelRangeError: the deployment is known by observation only.
    """
    if deployment.accelerator is None:
        raise ModelRangeError(f"deployment {deployment.name!r} is known by observation only: it has no memory to fill")
    return deployment.accelerator


def _kv_bits(chip: Accelerator) -> float:
    return coefficient(chip, "kv_bits").value


def _kv_bytes_per_layer_token(model: Model, kv_bits: float) -> float:
    return 2 * model.kv_heads * model.head_size * kv_bits / BITS_PER_BYTE
