"""One decode step of a batch, term by term.

    step = max4(weights + KV cache, arithmetic) * spread + layers + all-reduces + dispatch * spread + host

with max4(x, y) = (x^4 + y^4)^(1/4): a roofline whose corner is round, as measurements have it. Every coefficient
`t[...]` is an array, one entry a point (see `parameters`); all functions return seconds per point.

With speculation a pass checks `checked` tokens of each sequence and yields `per_pass` of them (see `perf.speculation`):

    token = (step of batch * checked tokens, KV cache read once + draft_steps * step of the batch) / per_pass

Sources: roofline (Williams et al., CACM 2009); expert coverage under skewed routing as E (1 - (1 - k/E)^(B^skew));
two all-reduces per layer of tensor parallelism (Megatron-LM, arXiv 1909.08053); dispatch and combine of expert
parallelism (DeepSeek-V3, arXiv 2412.19437, section 3.4).
"""

from __future__ import annotations

import numpy as np

from headrace.perf.continuous.points import Array, Points

Theta = dict[str, Array]
NODE_CHIPS = 8.0
REFERENCE_HIDDEN = 4096.0


def rounded_max(x: Array, y: Array) -> Array:
    """(x^4 + y^4)^(1/4): at least the larger of both, at most 19 % above it."""
    return np.asarray((x**4 + y**4) ** 0.25)


def distinct_experts(p: Points, tokens: Array, skew: Array) -> Array:
    """Expected experts of a layer that a batch of `tokens` touches; `skew` below 1: some are asked for more often."""
    return np.asarray(p.experts * (1.0 - (1.0 - p.active_experts / p.experts) ** np.maximum(1.0, tokens) ** skew))


def weights_s(p: Points, t: Theta, tokens: Array) -> Array:
    """Weight bytes that one chip reads / (bandwidth * mbu). Attention is sharded over a rank's chips only."""
    experts = p.moe_layers * distinct_experts(p, tokens, t["skew"]) * p.expert_bytes / p.count
    dense = p.dense_bytes / np.where(p.ranks > 1, p.width, p.count)
    return np.asarray(((p.attention_bytes + p.head_bytes) / p.width + dense + experts) / (p.bandwidth * t["mbu"]))


def cache_s(p: Points, t: Theta, batch: Array) -> Array:
    """KV cache and linear state that one chip reads / (bandwidth * mbu_kv), at half of the output done.

    KV heads are sharded over a rank's chips; a latent is held by each of them whole.
    """
    return np.asarray(
        batch / p.ranks * (sequence_bytes(p, p.input_tokens + 0.5 * p.output_tokens)) / (p.bandwidth * t["mbu_kv"])
    )


def sequence_bytes(p: Points, context: Array) -> Array:
    """Bytes that one chip reads for one sequence of `context` tokens in a step."""
    cached = p.kv_bytes_token * context + p.window_bytes * np.minimum(1.0, context / p.window_tokens)
    return np.asarray(cached / kv_shards(p) + 2.0 * p.state_bytes / p.width)


def kv_shards(p: Points) -> Array:
    """Chips over which the KV cache of one sequence is spread."""
    return np.asarray(np.minimum(p.width, np.where(p.latent > 0, 1.0, p.kv_heads)))


def arithmetic_s(p: Points, t: Theta, batch: Array) -> Array:
    """2 * active parameters * batch / (n F mfu), and attention over the context in its own arithmetic."""
    context = p.input_tokens + 0.5 * p.output_tokens
    gemm = 2.0 * p.active_parameters * batch / (p.count * p.flops * t["mfu_decode"])
    attention = 2.0 * p.decode_width * context * batch / (p.count * p.attention_flops * t["mfu_decode"])
    return np.asarray(gemm + attention)


def layers_s(p: Points, t: Theta, tokens: Array) -> Array:
    """Latency of the layers besides their bytes: kernels, routing, small grouped products."""
    size = (p.hidden / REFERENCE_HIDDEN) ** t["layer_size"]
    touched = distinct_experts(p, tokens, t["skew"]) / np.where(p.expert_parallel > 0, p.count, 1.0)
    parallel = t["expert_parallel_s"] * p.expert_parallel * (p.count > 1)
    moe = t["moe_layer_s"] * size + t["expert_s"] * touched + parallel
    layer = t["layer_s"] * size + t["latent_layer_s"] * p.latent + t["ranks_s"] * (p.ranks > 1)
    return np.asarray(t["latency"] * (p.layers * layer + p.moe_layers * moe + p.linear_layers * t["linear_layer_s"]))


def reduce_s(p: Points, t: Theta, tokens: Array, width: Array) -> Array:
    """Two all-reduces a layer over `width` chips: latency that grows with log2(width), and bytes over the links."""
    latency = t["latency"] * t["reduce_s"] * (1.0 + t["reduce_growth"] * np.log2(np.maximum(1.0, width)))
    volume = tokens * p.hidden * 4.0 * (width - 1.0) / width / (p.link * t["link_share"])
    return np.asarray(np.where(width > 1.0, 2.0 * p.layers * (latency + volume), 0.0))


def dispatch_s(p: Points, t: Theta, tokens: Array) -> Array:
    """Activations sent to experts (1 byte) and back (2 bytes), where ranks and experts are both spread."""
    spread = (p.count - 1.0) / p.count
    volume = 3.0 * p.active_experts * p.hidden * tokens * spread / (p.link * t["expert_link_share"])
    return np.asarray(np.where((p.expert_parallel > 0) & (p.ranks > 1), p.moe_layers * volume, 0.0))


def host_s(t: Theta, sequences: Array) -> Array:
    """Scheduling of one step, and of each sequence of a rank in it."""
    return np.asarray(t["host"] * (t["step_s"] + t["sequence_s"] * sequences))


def spread(p: Points, t: Theta) -> Array:
    """Factor on what chips do together where they are many: the slowest decides."""
    return np.asarray(1.0 + t["imbalance"] * np.maximum(0.0, np.log2(p.count / NODE_CHIPS)))


def decode_step_s(p: Points, t: Theta, batch: Array) -> Array:
    """One decode step of a replica with `batch` sequences, one token each, and no prefill in it."""
    return _pass_s(p, t, batch, batch)


def token_s(p: Points, t: Theta, batch: Array) -> Array:
    """Time per output token of each of `batch` sequences, speculation included; without it, one decode step."""
    if np.all(p.checked == 1.0):
        return decode_step_s(p, t, batch)
    checking = _pass_s(p, t, batch, batch * p.checked)
    return np.asarray((checking + p.draft_steps * decode_step_s(p, t, batch)) / p.per_pass)


def _pass_s(p: Points, t: Theta, batch: Array, tokens: Array) -> Array:
    """One pass over the weights with `tokens` tokens of `batch` sequences."""
    roof = rounded_max(weights_s(p, t, tokens) + cache_s(p, t, batch), arithmetic_s(p, t, tokens))
    bound = (roof + dispatch_s(p, t, tokens / p.count)) * spread(p, t)
    sums = reduce_s(p, t, tokens / p.ranks, p.width)
    return np.asarray(bound + layers_s(p, t, tokens) + sums + host_s(t, batch / p.ranks))
