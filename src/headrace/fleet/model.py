"""Models: the public architecture figures that memory and speed follow from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """The weights being served.

    Attributes:
        parameters: all of them; `active_parameters`: those that one token touches.
        weight_bytes: size of the weights in their native precision.
        native_weight_bits: bits of the native precision's bulk (4 for an MXFP4 checkpoint).
        experts, active_experts: per MoE layer; 1 and 1 for a dense model.
        expert_weight_fraction: share of the weight bytes that sits in routed experts.
        sliding_window_layers: layers that keep only `sliding_window_tokens` of KV.
    """

    name: str
    parameters: float
    active_parameters: float
    weight_bytes: float
    native_weight_bits: int
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    context_tokens: int
    vocabulary: int
    source: str
    experts: int = 1
    active_experts: int = 1
    expert_weight_fraction: float = 0.0
    sliding_window_layers: int = 0
    sliding_window_tokens: int = 0
