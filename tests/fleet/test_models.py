"""The models of the catalog: parameters follow from the architecture, and every measured model is found."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.fleet import Attention, Model, catalog, parameter_counts
from headrace.fleet.model_check import model_faults

MODELS = catalog.models()
NAMES = [model.name for model in MODELS]
MEASURED = (
    "aws_neuron_points",
    "gpu_serving_points",
    "layer_profiles",
    "optimum_neuron_vllm",
    "published_speeds",
    "published_throughput",
    "splitwise_phase_power",
    "vllm_request_level",
)
NOT_PUBLIC = {
    "GPT-5.3-Codex-Spark",  # weights and architecture are not public
    "DeepSeek",  # a vendor's page that does not say which one
    "/data_qwen3-moe-bs8",  # a folder on somebody's disk
    "/data_qwen3-moe-bs16",
}


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_parameters_counted_from_the_architecture_are_those_published(model: Model) -> None:
    counts = parameter_counts(model)
    assert counts is not None
    assert counts.total == pytest.approx(model.parameters, rel=0.015)
    # Publications differ in whether the two embeddings are touched; both readings bracket theirs, or come within 7 %.
    assert 0.93 * counts.active <= model.active_parameters <= 1.06 * (counts.active + counts.embedding)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_weight_bytes_follow_from_parameters_and_native_precision(model: Model) -> None:
    bits = 8 * model.weight_bytes / model.parameters
    most = 1.35 if model.name == "gpt-oss-20b" else 1.2  # its 16-bit embeddings are a large part of so small a model
    assert 0.98 * model.native_weight_bits <= bits <= most * model.native_weight_bits


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_figures_of_a_model_agree_with_each_other(model: Model) -> None:
    assert list(model_faults(model.name, model)) == []
    assert model.active_parameters <= model.parameters
    assert (model.experts > 1) == (model.expert_weight_fraction > 0) == (model.moe_layers > 0)


def test_the_routed_experts_weigh_what_their_fraction_says() -> None:
    """To a twentieth: the rest of a checkpoint may be kept in more bits than the experts."""
    for model in MODELS:
        counts = parameter_counts(model)
        assert counts is not None
        if model.native_weight_bits >= 8:
            assert model.expert_weight_fraction == pytest.approx(counts.routed_experts / counts.total, abs=0.05)


def test_every_model_has_a_family_and_says_whether_it_ships_multi_token_prediction() -> None:
    for model in MODELS:
        assert model.family, model.name
        assert model.mtp_layers is not None, model.name


def test_no_two_models_share_a_name_or_alias() -> None:
    names = [name.lower() for model in MODELS for name in (model.name, *model.aliases)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("alias", ["openai/gpt-oss-120b", "OPENAI/GPT-OSS-120B", "gpt-oss-120b"])
def test_a_model_is_found_by_name_and_alias_whatever_the_case(alias: str) -> None:
    assert catalog.find_model(alias) is catalog.model("gpt-oss-120b")


def test_a_model_that_nobody_knows_gets_advice() -> None:
    with pytest.raises(catalog.UnknownName, match="did you mean 'deepseek-r1'"):
        catalog.find_model("DeepSeek-R-1")


@pytest.mark.parametrize("table", MEASURED)
def test_every_measured_model_is_found(table: str, data_dir: Path) -> None:
    with (data_dir / "measured" / f"{table}.csv").open(newline="", encoding="utf-8") as lines:
        measured = {row["model"] for row in csv.DictReader(lines)}
    assert measured
    for name in sorted(measured - NOT_PUBLIC):
        assert catalog.find_model(name).parameters > 0


# Architectures by kind, as their papers describe them


def test_a_dense_model_reads_all_its_parameters() -> None:
    counts = parameter_counts(catalog.model("llama-3.1-70b"))
    assert counts is not None
    assert counts.routed_experts == counts.shared_experts == counts.router == 0
    assert counts.active == counts.total - counts.embedding
    assert counts.attention == 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024)


def test_deepseek_has_three_dense_layers_and_experts_in_the_others() -> None:
    model = catalog.model("deepseek-v3")
    counts = parameter_counts(model)
    assert counts is not None
    assert (model.attention, model.moe_layers, model.mtp_layers) == (Attention.MLA, 58, 1)
    assert counts.dense_ffn == 3 * 3 * 7168 * 18432
    assert counts.routed_experts == 58 * 256 * 3 * 7168 * 2048
    assert counts.attention / 61 == pytest.approx(187.1e6, rel=1e-3)  # arXiv 2412.19437: 61 MLA layers


def test_every_second_layer_of_maverick_is_dense() -> None:
    model = catalog.model("llama-4-maverick")
    assert (model.moe_layers, model.dense_ffn_layers, model.full_attention_layers) == (24, 24, 12)


def test_a_tied_embedding_is_counted_once() -> None:
    model = catalog.model("gemma-4-31b")
    tied, apart = parameter_counts(model), parameter_counts(replace(model, tied_embeddings=False))
    assert tied is not None
    assert apart is not None
    assert apart.total - tied.total == tied.embedding
    assert apart.active == tied.active


def test_a_model_of_unknown_widths_has_no_counts() -> None:
    assert parameter_counts(replace(catalog.model("llama-3.1-8b"), ffn_size=None)) is None
    assert parameter_counts(replace(catalog.model("mixtral-8x7b"), expert_ffn_size=None)) is None
