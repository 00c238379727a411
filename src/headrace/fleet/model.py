"""Models: the public architecture figures that memory and speed follow from.

One flat record describes every transformer served today. Its layers are told apart by what a sequence leaves behind in
them, for that decides memory: *full* attention stores keys and values of every token, *sliding-window* attention those
of the last tokens only, *linear* attention a state of fixed size. Whatever is left over by the other two is full.
`headrace.fleet.architecture` counts parameters from these figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Attention(StrEnum):
    """What full attention caches of a token."""

    GQA = "gqa"  # keys and values of `kv_heads` heads: with all heads it is multi-head attention, with one multi-query
    MLA = "mla"  # one latent vector that all heads share: `kv_lora_rank` and `rope_head_size` numbers


@dataclass(frozen=True, slots=True)
class Model:
    """The weights being served: the language model alone, without vision tower and without multi-token prediction.

    A figure that is not known, or that this kind of model does not have, is None; a count of 0 means that it has none.

    Attributes:
        parameters: all of them, as published; `active_parameters`: those that one token touches.
        weight_bytes: size of the weights in their native precision.
        native_weight_bits: bits of the native precision's bulk (4 for an MXFP4 checkpoint).
        kv_heads: heads whose keys and values are cached; 1 for MLA, where all heads share one latent.
        head_size: of a query and key; `value_head_size` of a value, None: the same.
        experts, active_experts: routed experts per MoE layer and token; 1 and 1 for a dense model.
        expert_weight_fraction: share of the weight bytes that sits in routed experts.
        sliding_window_layers: layers that keep only `sliding_window_tokens` of KV (chunked attention counts here).
        sliding_window_kv_heads, sliding_window_head_size: where they differ from those of full attention.
        family: models that serve alike, e.g. `llama`, `deepseek`: measurements of one inform the others.
        kv_lora_rank, query_lora_rank, rope_head_size: MLA only; `rope_head_size` is part of `head_size`.
        gated_attention: full attention multiplies its output with a gate as wide as the queries.
        linear_attention_layers: layers with a state of fixed size; `linear_value_heads` matrices of
            `linear_head_size` squared in `linear_state_bits`, and the last tokens of a convolution over
            `linear_conv_tokens`.
        sparse_attention_tokens: most tokens of the context that a query attends to; None: all.
        sparse_index_bytes: what sparse attention caches per token and layer to choose among them.
        ffn_size: width of a dense feed-forward layer; `expert_ffn_size` of one expert.
        ffn_matrices: matrices per feed-forward: 3 with a gate (SwiGLU), 2 without.
        dense_ffn_layers: layers of an MoE model whose feed-forward is dense.
        shared_experts, shared_expert_ffn_size: experts that every token passes.
        tied_embeddings: input and output embedding are one matrix.
        mtp_layers: multi-token-prediction layers that the checkpoint ships for speculative decoding.
        aliases: other names of the same architecture, checkpoints in another precision among them.
        unverified: figures that were recalled or derived.
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
    sliding_window_kv_heads: int | None = None
    sliding_window_head_size: int | None = None
    family: str | None = None
    attention: Attention = Attention.GQA
    kv_lora_rank: int | None = None
    query_lora_rank: int | None = None
    rope_head_size: int | None = None
    value_head_size: int | None = None
    gated_attention: bool = False
    linear_attention_layers: int = 0
    linear_key_heads: int | None = None
    linear_value_heads: int | None = None
    linear_head_size: int | None = None
    linear_conv_tokens: int | None = None
    linear_state_bits: int | None = None
    sparse_attention_tokens: int | None = None
    sparse_index_bytes: int | None = None
    ffn_size: int | None = None
    ffn_matrices: int = 3
    dense_ffn_layers: int = 0
    expert_ffn_size: int | None = None
    shared_experts: int = 0
    shared_expert_ffn_size: int | None = None
    tied_embeddings: bool = False
    mtp_layers: int | None = None
    aliases: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    @property
    def full_attention_layers(self) -> int:
        """Layers whose KV grows with every token of the context."""
        return self.layers - self.sliding_window_layers - self.linear_attention_layers

    @property
    def moe_layers(self) -> int:
        """Layers with routed experts."""
        return self.layers - self.dense_ffn_layers if self.experts > 1 else 0
