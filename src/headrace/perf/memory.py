"""Memory: what the weights take, and how much context fits beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from headrace.errors import ModelRangeError
from headrace.fleet import Accelerator, Attention, Deployment, Model
from headrace.perf.coefficients import coefficient

BITS_PER_BYTE = 8
CONVOLUTION_BYTES = 2


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
    """KV bytes that each further context token adds, over all layers with full attention.

    GQA: 2 * KV heads * head size * kv_bits / 8 a layer. MLA: (latent rank + rope head size) * kv_bits / 8, one vector
    for keys and values of all heads. Sparse attention adds its index, `sparse_index_bytes`, whatever `kv_bits` is.

    Layers with a sliding window or a linear state are bounded and not in here: see `kv_bytes_per_sequence`.
    """
    index_bytes = model.sparse_index_bytes or 0
    return model.full_attention_layers * (_kv_numbers(model) * kv_bits / BITS_PER_BYTE + index_bytes)


def kv_token_bytes(deployment: Deployment) -> float:
    """KV bytes that each further context token adds on a replica of `deployment`, over all its accelerators.

    Raises:
        ModelRangeError: the deployment is known by observation only.
    """
    return kv_bytes_per_token(deployment.model, _kv_bits(require_accelerator(deployment)))


def kv_bytes_per_sequence(model: Model, kv_bits: float) -> float:
    """Bytes that a sequence holds whatever its context: an upper bound, with full windows.

    Window layers * window * 2 * KV heads * head size * kv_bits / 8, and the states of linear-attention layers.
    """
    heads = model.sliding_window_kv_heads or model.kv_heads
    size = model.sliding_window_head_size or model.head_size
    windows = model.sliding_window_layers * model.sliding_window_tokens * 2 * heads * size * kv_bits / BITS_PER_BYTE
    return windows + model.linear_attention_layers * linear_state_bytes(model)


def linear_state_bytes(model: Model) -> float:
    """Bytes of one linear-attention layer's state of one sequence; 0 for a model without such layers.

    Value heads * head size^2 * state bits / 8, plus the inputs that the convolution still needs: (kernel - 1) tokens of
    (2 * key heads + value heads) * head size numbers in 16 bits (Gated DeltaNet, as Qwen3-Next uses it).
    """
    size, heads = model.linear_head_size or 0, model.linear_value_heads or 0
    state = heads * size**2 * (model.linear_state_bits or 0) / BITS_PER_BYTE
    width = (2 * (model.linear_key_heads or 0) + heads) * size
    return state + max(0, (model.linear_conv_tokens or 1) - 1) * width * CONVOLUTION_BYTES


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


def _kv_numbers(model: Model) -> int:
    """What one layer with full attention caches of one token."""
    if model.attention is Attention.MLA:
        return (model.kv_lora_rank or 0) + (model.rope_head_size or 0)
    return model.kv_heads * (model.head_size + (model.value_head_size or model.head_size))
