"""Prefill: what one prompt costs the replica, and how long it takes alone.

The two differ. What a prompt *costs* is the work that delays everybody else: arithmetic and traffic of its tokens. How
long it *takes* alone also counts what a full batch hides: weights read for it, kernels launched one by one because
prefill runs without captured graphs. All functions return seconds per point.
"""

from __future__ import annotations

import numpy as np

from headrace.perf.continuous.points import Array, Points
from headrace.perf.continuous.step import Theta, host_s, layers_s, reduce_s, rounded_max, weights_s

CHUNK_TOKENS = 8192.0  # prompt tokens of one step at most: the default of vLLM on large GPUs


def work_s(p: Points, t: Theta, count: Array) -> Array:
    """Arithmetic and traffic of one prompt on `count` chips.

    2 * active parameters * input / (n F mfu) + width * input^2 / (n F_attention mfu) + activations / bandwidth.
    """
    rate = t["mfu"] * np.where(p.moe_layers > 0, t["mfu_moe"], 1.0)
    gemm = 2.0 * p.active_parameters * p.input_tokens / (count * p.flops * rate)
    attention = p.attention_width * p.input_tokens**2 / (count * p.attention_flops * t["mfu"])
    return np.asarray(gemm + attention + activations_s(p, t))


def activations_s(p: Points, t: Theta) -> Array:
    """Norms, quantisation and the sorting of tokens to experts: memory traffic that every chip of a rank repeats."""
    values = p.layers * t["activation_bytes"] + p.moe_layers * p.active_experts * t["expert_activation_bytes"]
    return np.asarray(p.input_tokens * p.hidden * values / p.bandwidth)


def occupancy_s(p: Points, t: Theta, count: Array, width: Array) -> Array:
    """Time of the replica that one prompt takes when prompts queue: work, bytes of all-reduces, a part of a step."""
    nothing = np.zeros_like(p.input_tokens)
    volume = reduce_s(p, t, p.input_tokens, width) - reduce_s(p, t, nothing, width)
    chunks = p.input_tokens / CHUNK_TOKENS
    return np.asarray(
        work_s(p, t, count) + volume + t["host"] * t["chunk_s"] * np.ceil(chunks) * np.minimum(1.0, chunks)
    )


def alone_s(p: Points, t: Theta, count: Array, ranks: Array) -> Array:
    """One prompt on an idle replica: experts on all chips, attention on those of one rank, chunk by chunk."""
    chunks = np.ceil(p.input_tokens / CHUNK_TOKENS)
    tokens = p.input_tokens / chunks
    work = work_s(p, t, count) * (1.0 + p.attention_parameters / p.active_parameters * (ranks - 1.0))
    weights = chunks * weights_s(p, t, tokens) * p.count / count
    eager = t["host"] * (p.layers * t["eager_layer_s"] + p.moe_layers * t["eager_moe_layer_s"])
    fixed = eager + host_s(t, np.zeros_like(tokens)) + layers_s(p, t, tokens)
    return np.asarray(rounded_max(work, weights) + chunks * fixed + reduce_s(p, t, p.input_tokens, count / ranks))
