"""A closed loop of clients on a replica: TPOT and TTFT in steady state.

Each of C clients sends its next request when the last one is answered. While a request decodes, the prompts of the
others are prefilled in the same steps: its share of that work is what interference is. So

    TPOT = token(batch) + (1 - early) * overlap * prompt * (batch - 1) / output tokens
    TTFT = fixed + tokens + clients + prompt alone + early * (clients - 1) * prompt + waits

where `early` is the part of the others' prefill that a request meets before its first token (bursts of arrivals) and
batch = C * decoding time / (decoding time + TTFT) is found in two rounds. Clients that the KV cache cannot hold wait
for a place. With prefill on replicas of its own the loop has two stations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.perf.continuous.points import Array, Points
from headrace.perf.continuous.prompt import alone_s, occupancy_s
from headrace.perf.continuous.step import Theta, kv_shards, rounded_max, token_s

# The KV cache's part of what the weights leave: the default free_gpu_memory_fraction of TensorRT-LLM
# (https://nvidia.github.io/TensorRT-LLM/examples/kvcacheconfig.html). vLLM and SGLang take a part of all memory: for
# them it is an assumption.
MEMORY_SHARE = 0.9


class Served(NamedTuple):
    """Seconds, one entry a point; `batch`: sequences that decode together on one replica."""

    tpot_s: Array
    ttft_s: Array
    batch: Array


def serve(p: Points, t: Theta) -> Served:
    """TPOT and TTFT of every point."""
    tpot, ttft, batch = np.empty(len(p)), np.empty(len(p)), np.empty(len(p))
    for form, chosen in ((_mixed, p.split < 0.5), (_split, p.split > 0.5)):
        index = np.flatnonzero(chosen)
        if index.size:
            served = form(p.take(index), {name: value[index] for name, value in t.items()})
            tpot[index], ttft[index], batch[index] = served
    return Served(tpot, ttft, batch)


def capacity(p: Points) -> Array:
    """Sequences whose KV cache, of input and output together, fits in what the weights leave; at least one."""
    dense = p.dense_bytes * np.where(p.ranks > 1, p.ranks, 1.0)
    weights = (p.attention_bytes + p.head_bytes) * p.ranks + dense + p.head_bytes
    weights = weights + p.moe_layers * p.experts * p.expert_bytes
    copies = p.width / kv_shards(p)
    sequence = (p.kv_bytes_token * (p.input_tokens + p.output_tokens) + p.window_bytes) * copies + p.state_bytes
    return np.asarray(np.maximum(1.0, MEMORY_SHARE * (p.count * p.memory - weights) / sequence))


def _mixed(p: Points, t: Theta) -> Served:
    """Prefill and decode in the same steps."""
    held = np.minimum(p.concurrency, capacity(p))
    prompt = occupancy_s(p, t, p.count, p.width)
    alone = alone_s(p, t, p.count, p.ranks)
    early = t["burst"] / (1.0 + t["burst"])
    fixed = t["ttft_s"] + t["ttft_token_s"] * p.input_tokens + t["ttft_client_s"] * p.concurrency
    fixed = fixed + np.where(p.ranks > 1, t["ttft_ranks_s"], 0.0) + alone + early * (held - 1.0) * prompt
    batch = held
    for _ in range(2):
        others = np.maximum(0.0, batch - 1.0) / p.output_tokens
        tpot = token_s(p, t, batch) + (1.0 - early) * t["overlap"] * prompt * others
        decoding = p.output_tokens * tpot
        ttft = fixed + t["wait_steps"] * tpot * p.per_pass + t["slot_wait"] * decoding / p.concurrency
        batch = np.maximum(1.0, held * decoding / (ttft + decoding))
    return Served(tpot, ttft + _overload_s(p, held, ttft + decoding), batch)


def _split(p: Points, t: Theta) -> Served:
    """Prefill and decode on replicas of their own: two stations, and a transfer of the KV cache between them."""
    width = p.prefill_count / p.prefill_ranks
    prompt = t["transfer"] * occupancy_s(p, t, p.prefill_count, width) / p.prefill_replicas
    alone = t["transfer"] * alone_s(p, t, p.prefill_count, p.prefill_ranks)
    queue = t["burst_split"] * (p.concurrency - 1.0) * prompt + t["ttft_client_s"] * p.concurrency
    idle = t["ttft_s"] + t["ttft_split_s"] + t["ttft_token_s"] * p.input_tokens + alone + queue
    held = np.minimum(p.concurrency, capacity(p) * p.replicas)
    batch = held
    for _ in range(3):
        tpot = token_s(p, t, np.maximum(1.0, batch / p.replicas)) * t["split_decode"]
        decoding = p.output_tokens * tpot
        ttft = rounded_max(idle, np.maximum(0.0, p.concurrency * prompt - decoding))
        batch = 0.5 * (batch + held * decoding / (ttft + decoding))
    return Served(tpot, ttft + _overload_s(p, held, ttft + decoding), np.asarray(batch / p.replicas))


def _overload_s(p: Points, held: Array, served_s: Array) -> Array:
    """Wait of a client for a place in the KV cache, where not all of them fit."""
    return np.asarray(np.maximum(0.0, p.concurrency - held) * served_s / held)
