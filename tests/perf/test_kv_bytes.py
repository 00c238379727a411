"""KV bytes by kind of attention: what grows with context, what is bounded, and what all heads share."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.fleet import Attention, Model, catalog
from headrace.perf import kv_bytes_per_sequence, kv_bytes_per_token, linear_state_bytes

MODELS = catalog.models()
models, bits = st.sampled_from(MODELS), st.sampled_from([4, 8, 16])


@settings(deadline=None)
@given(models, bits)
def test_twice_the_bits_is_at_most_twice_the_bytes(model: Model, kv_bits: int) -> None:
    for size in (kv_bytes_per_token, kv_bytes_per_sequence):
        assert size(model, kv_bits) <= size(model, 2 * kv_bits) <= 2 * size(model, kv_bits)


@settings(deadline=None)
@given(models)
def test_a_layer_that_is_bounded_adds_nothing_per_token(model: Model) -> None:
    windows = {"sliding_window_layers": model.layers - model.linear_attention_layers, "sliding_window_tokens": 128}
    assert kv_bytes_per_token(replace(model, **windows), 16) == 0
    assert kv_bytes_per_token(model, 16) > 0


def test_a_latent_is_one_vector_for_keys_and_values_of_all_heads() -> None:
    """DeepSeek-V3 and Kimi K2: 61 layers * (512 + 64) numbers: 70 kB a token in 16 bits, not the 4 MB of 128 heads."""
    for name in ("deepseek-v3", "deepseek-r1", "kimi-k2", "kimi-k2.5"):
        model = catalog.model(name)
        assert kv_bytes_per_token(model, 16) == 61 * 576 * 2
        assert kv_bytes_per_token(model, 8) == 61 * 576
        assert kv_bytes_per_sequence(model, 16) == 0
    many_heads = replace(catalog.model("deepseek-v3"), attention_heads=1, kv_heads=128)
    assert kv_bytes_per_token(many_heads, 16) == 61 * 576 * 2


def test_a_sparse_index_is_cached_beside_the_latent_whatever_the_kv_precision() -> None:
    model = catalog.model("deepseek-v3.2")
    assert model.sparse_attention_tokens == 2048
    assert kv_bytes_per_token(model, 16) == 61 * (576 * 2 + 132)
    assert kv_bytes_per_token(model, 8) == 61 * (576 + 132)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", 32 * 2 * 8 * 128 * 2),
        ("llama-3.1-70b", 80 * 2 * 8 * 128 * 2),
        ("llama-2-7b", 32 * 2 * 32 * 128 * 2),
        ("qwen3-235b-a22b", 94 * 2 * 4 * 128 * 2),
        ("llama-4-maverick", 12 * 2 * 8 * 128 * 2),
        ("gemma-4-31b", 10 * 2 * 4 * 512 * 2),
        ("qwen3.8-27b", 64 * 1024),  # published: 64 KiB of KV per token in bf16
    ],
)
def test_keys_and_values_of_the_layers_with_full_attention(name: str, expected: float) -> None:
    assert kv_bytes_per_token(catalog.model(name), 16) == expected


def test_a_window_may_have_other_heads_than_full_attention() -> None:
    assert kv_bytes_per_sequence(catalog.model("gemma-4-31b"), 16) == 50 * 1024 * 2 * 16 * 256 * 2


def test_a_linear_layer_holds_a_state_of_fixed_size() -> None:
    model = catalog.model("qwen3.5-397b-a17b")
    state = 64 * 128 * 128 * 4 + 3 * (2 * 16 + 64) * 128 * 2
    assert linear_state_bytes(model) == state
    assert kv_bytes_per_sequence(model, 16) == kv_bytes_per_sequence(model, 8) == 45 * state
    assert kv_bytes_per_token(model, 16) == 15 * 2 * 2 * 256 * 2
    assert linear_state_bytes(catalog.model("llama-3.1-8b")) == 0


def test_only_latent_models_say_so() -> None:
    latent = {model.family for model in MODELS if model.attention is Attention.MLA}
    assert latent == {"deepseek", "kimi", "glm-5"}
