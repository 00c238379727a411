"""Parameters counted from a model's architecture, part by part.

Attention is read by every token and replicated under data parallelism, routed experts only by the tokens sent to them:
a speed model needs them apart. Norms, biases and routing corrections (below 0.1 %) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.fleet.model import Attention, Model


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Where the parameters of a model sit, all layers together.

    Attributes:
        attention: projections of full, sliding-window and linear attention.
        routed_experts: all of them; a token touches `active_fraction` of each MoE layer's.
        embedding: the input embedding, of which a token reads one row; `output`: the matrix in front of the
            vocabulary, 0 where it is the input embedding again.
    """

    attention: float
    dense_ffn: float
    routed_experts: float
    shared_experts: float
    router: float
    embedding: float
    output: float
    active_fraction: float

    @property
    def total(self) -> float:
        """All parameters."""
        return self._always + self.routed_experts + self.embedding

    @property
    def active(self) -> float:
        """Parameters that one token touches; of the input embedding it reads one row, which is not counted."""
        shared_matrix = self.embedding if self.output == 0 else 0.0
        return self._always + self.active_fraction * self.routed_experts + shared_matrix

    @property
    def _always(self) -> float:
        return self.attention + self.dense_ffn + self.shared_experts + self.router + self.output


def parameter_counts(model: Model) -> ParameterCounts | None:
    """The parameters of `model` by part; None where the widths of its feed-forward layers are not known."""
    dense_layers = model.layers - model.moe_layers
    if (dense_layers and model.ffn_size is None) or (model.moe_layers and model.expert_ffn_size is None):
        return None
    per_width = model.ffn_matrices * model.hidden_size
    shared_width = model.shared_experts * (model.shared_expert_ffn_size or model.expert_ffn_size or 0)
    embedding = float(model.vocabulary * model.hidden_size)
    return ParameterCounts(
        attention=_attention(model),
        dense_ffn=dense_layers * per_width * (model.ffn_size or 0),
        routed_experts=model.moe_layers * model.experts * per_width * (model.expert_ffn_size or 0),
        shared_experts=model.moe_layers * per_width * shared_width,
        router=model.moe_layers * model.hidden_size * model.experts,
        embedding=embedding,
        output=0.0 if model.tied_embeddings else embedding,
        active_fraction=model.active_experts / model.experts,
    )


def _attention(model: Model) -> float:
    full = _latent_layer(model) if model.attention is Attention.MLA else _grouped_layer(model)
    window = _grouped_layer(model, model.sliding_window_kv_heads, model.sliding_window_head_size)
    return (
        model.full_attention_layers * full
        + model.sliding_window_layers * window
        + model.linear_attention_layers * _linear_layer(model)
    )


def _grouped_layer(model: Model, kv_heads: int | None = None, head_size: int | None = None) -> float:
    """Q, K, V, O of one layer: hidden * head size * (2 heads, 3 with a gate, + 2 KV heads)."""
    heads = model.attention_heads * (3 if model.gated_attention else 2) + 2 * (kv_heads or model.kv_heads)
    return model.hidden_size * (head_size or model.head_size) * heads


def _latent_layer(model: Model) -> float:
    """MLA: Q down and up, KV down, K and V up, O (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""
    hidden, heads = model.hidden_size, model.attention_heads
    latent, rope = model.kv_lora_rank or 0, model.rope_head_size or 0
    value = model.value_head_size or model.head_size
    queries = heads * model.head_size
    rank = model.query_lora_rank
    query = hidden * queries if rank is None else rank * (hidden + queries)
    up = latent * heads * (model.head_size - rope + value)
    return query + hidden * (latent + rope) + up + heads * value * hidden


def _linear_layer(model: Model) -> float:
    """Gated DeltaNet: Q, K, V and gate in, V out, two scalars per value head (Qwen3-Next)."""
    size = model.linear_head_size or 0
    keys, values = (model.linear_key_heads or 0) * size, (model.linear_value_heads or 0) * size
    return model.hidden_size * (2 * keys + 3 * values + 2 * (model.linear_value_heads or 0))
