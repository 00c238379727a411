"""Whether the figures of one model agree with each other: for models of the catalog and of a fleet file alike."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Fault
from headrace.fleet.model import Attention, Model

LATENT = ("kv_lora_rank", "rope_head_size", "value_head_size")
LINEAR = ("linear_key_heads", "linear_value_heads", "linear_head_size", "linear_conv_tokens", "linear_state_bits")
SPARSE = ("sparse_attention_tokens", "sparse_index_bytes")


def model_faults(path: str, model: Model) -> Iterator[Fault]:
    """A fault for every figure that contradicts another, or that its kind of layer needs and lacks."""
    yield from _experts(path, model)
    yield from _layers(path, model)
    if model.attention is Attention.MLA:
        yield from _missing(path, model, LATENT, 'attention = "mla"')
    if model.linear_attention_layers:
        yield from _missing(path, model, LINEAR, f"linear_attention_layers = {model.linear_attention_layers}")
    if model.sparse_attention_tokens is not None or model.sparse_index_bytes is not None:
        yield from _missing(path, model, SPARSE, "sparse attention")


def _experts(path: str, model: Model) -> Iterator[Fault]:
    if model.active_experts > model.experts:
        yield Fault(f"{path}.active_experts", f"{model.active_experts} exceeds experts = {model.experts}")
    if model.active_parameters > model.parameters:
        yield Fault(f"{path}.active_parameters", f"{model.active_parameters:g} exceeds parameters")
    if model.experts == 1 and (model.shared_experts or model.dense_ffn_layers or model.expert_ffn_size):
        yield Fault(f"{path}.experts", "is 1, so there are no expert figures and no dense_ffn_layers to give")


def _layers(path: str, model: Model) -> Iterator[Fault]:
    bounded = model.sliding_window_layers + model.linear_attention_layers
    if bounded > model.layers:
        yield Fault(f"{path}.layers", f"{model.layers} is less than the {bounded} sliding-window and linear layers")
    if model.dense_ffn_layers > model.layers:
        yield Fault(f"{path}.dense_ffn_layers", f"{model.dense_ffn_layers} exceeds layers = {model.layers}")
    if (model.sliding_window_layers > 0) != (model.sliding_window_tokens > 0):
        yield Fault(f"{path}.sliding_window_tokens", "goes with sliding_window_layers: give both, or neither")


def _missing(path: str, model: Model, names: tuple[str, ...], because: str) -> Iterator[Fault]:
    for name in names:
        if getattr(model, name) is None:
            yield Fault(f"{path}.{name}", f"missing; {because} needs it")
