"""Models and chips of one's own: what the fleet file declares without a line of code, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_fleet_file import BASE, faults_of

from headrace.config import load_fleet, parse_fleet
from headrace.config.document import AcceleratorTable
from headrace.fleet import Accelerator, Attention, Deployment, Memory, catalog, parameter_counts
from headrace.fleet.check import fleet_warnings
from headrace.perf import Serving, decode_step_s, kv_bytes_per_token, memory_fit, speed_curve

OWN_MODEL = """
[models.our-hybrid]
source = "our own config.json"
family = "ours"
parameters = 30e9
active_parameters = 3e9
weight_bytes = 15e9
native_weight_bits = 4
layers = 48
hidden_size = 2048
attention_heads = 32
kv_heads = 1
head_size = 192
context_tokens = 1048576
vocabulary = 151936
attention = "mla"
kv_lora_rank = 512
query_lora_rank = 1536
rope_head_size = 64
value_head_size = 128
linear_attention_layers = 36
linear_key_heads = 16
linear_value_heads = 32
linear_head_size = 128
linear_conv_tokens = 4
linear_state_bits = 32
sparse_attention_tokens = 2048
sparse_index_bytes = 132
experts = 128
active_experts = 8
expert_weight_fraction = 0.95
expert_ffn_size = 768
ffn_size = 6144
dense_ffn_layers = 1
shared_experts = 1
shared_expert_ffn_size = 768
mtp_layers = 1
tied_embeddings = true
aliases = ["hybrid"]
unverified = ["context_tokens"]

[deployments.ours]
model = "our-hybrid"
accelerator = "H100"
count = 2
"""


def own_model(old: str = "", new: str = "") -> str:
    assert old in OWN_MODEL
    return BASE + OWN_MODEL.replace(old, new)


def test_a_model_is_declared_with_every_kind_of_layer_and_without_code() -> None:
    fleet = parse_fleet(own_model(), "own model")
    model = fleet.models["our-hybrid"]
    assert (model.attention, model.full_attention_layers, model.moe_layers) == (Attention.MLA, 12, 47)
    assert (model.aliases, model.unverified) == (("hybrid",), ("context_tokens",))
    assert kv_bytes_per_token(model, 16) == 12 * (576 * 2 + 132)
    assert memory_fit(fleet.deployments["ours"]).fits
    assert parameter_counts(model) is not None


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("kv_lora_rank = 512\n", "", "kv_lora_rank", 'attention = "mla" needs it'),
        ("linear_head_size = 128\n", "", "linear_head_size", "linear_attention_layers = 36 needs it"),
        ("sparse_index_bytes = 132\n", "", "sparse_index_bytes", "sparse attention needs it"),
        ("linear_attention_layers = 36", "linear_attention_layers = 49", "layers", "less than the 49"),
        ("mtp_layers = 1", "sliding_window_layers = 4", "sliding_window_tokens", "give both, or neither"),
        ("dense_ffn_layers = 1", "dense_ffn_layers = 50", "dense_ffn_layers", "exceeds layers = 48"),
        ("active_experts = 8", "active_experts = 300", "active_experts", "exceeds experts = 128"),
        ("experts = 128\nactive_experts = 8\n", "", "experts", "is 1"),
        ("active_parameters = 3e9", "active_parameters = 31e9", "active_parameters", "exceeds parameters"),
        ('attention = "mla"', 'attention = "mqa"', "attention", "mqa"),
    ],
)
def test_figures_of_a_model_that_contradict_each_other_are_faults(old: str, new: str, path: str, message: str) -> None:
    faults = faults_of(own_model(old, new))
    assert [fault.path for fault in faults] == [f"models.our-hybrid.{path}"], faults
    assert message in faults[0].message


# A chip that does not exist: a Blackwell successor whose memory is 4 GB of SRAM

SRAM_CHIP = """
[accelerators.Blackwell-SRAM]
like = "B200"
speed_as = "Groq 3 LPU"
memory = "sram"
memory_kind = "SRAM"
memory_bytes = 4e9
memory_bandwidth_bytes_per_s = 1e15
flops_fp4 = 10e15
tdp_w = 1200
source = "a guess, to see what it would change"

[deployments.successor]
model = "gpt-oss-120b"
accelerator = "Blackwell-SRAM"
count = 40
"""


def sram_chip(old: str = "", new: str = "") -> str:
    assert old in SRAM_CHIP
    return BASE + SRAM_CHIP.replace(old, new)


def test_a_chip_that_does_not_exist_is_declared_without_code() -> None:
    place = parse_fleet(sram_chip(), "successor").deployments["successor"]
    chip = place.accelerator
    assert chip is not None
    assert (chip.memory, chip.memory_bytes, chip.speed_as) == (Memory.SRAM, 4e9, "Groq 3 LPU")
    assert (chip.flops_fp8, chip.flops_fp4) == (catalog.accelerator("B200").flops_fp8, 10e15)
    assert (chip.availability, chip.unverified) == (None, ())
    assert memory_fit(place).fits
    assert speed_curve(place).serving is Serving.DATAFLOW
    groq = Deployment("groq", place.model, catalog.accelerator("Groq 3 LPU"), 40)  # as many boundaries to cross
    assert decode_step_s(place, 1, 1000) == decode_step_s(groq, 1, 1000)


def test_the_example_of_own_silicon_loads(examples_dir: Path) -> None:
    fleet = load_fleet(examples_dir / "own-silicon.toml")
    chips = {name: place.accelerator for name, place in fleet.deployments.items()}
    assert {name: chip.memory for name, chip in chips.items() if chip} == {
        "b200": Memory.EXTERNAL,
        "successor": Memory.SRAM,
    }


def test_what_a_chip_cannot_hold_says_how_many_would() -> None:
    (fault,) = faults_of(sram_chip("count = 40", "count = 8"))
    assert fault.path == "deployments.successor.count"
    assert "gpt-oss-120b does not fit on 8 x Blackwell-SRAM" in fault.message


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('speed_as = "Groq 3 LPU"\n', "", "speed_as", "name a chip that serves the same way"),
        ('memory = "sram"\n', "", "speed_as", "name a chip that serves the same way"),
        ('speed_as = "Groq 3 LPU"', 'speed_as = "Groq 4 LPU"', "speed_as", "did you mean 'Groq 3 LPU'"),
        ('memory = "sram"', 'memory = "flash"', "memory", "flash"),
        ("memory_bytes = 4e9", "memory_bytes = 0", "memory_bytes", "> 0"),
        ("tdp_w = 1200", "watts = 1200", "watts", "unknown setting"),
    ],
)
def test_a_chip_that_cannot_be_is_one_fault(old: str, new: str, path: str, message: str) -> None:
    (fault,) = faults_of(sram_chip(old, new))
    assert fault.path == f"accelerators.Blackwell-SRAM.{path}"
    assert message in fault.message


def test_the_speed_of_a_chip_that_nobody_has_measured_is_refused() -> None:
    faults = dict(faults_of(BASE.replace('accelerator = "H100-water"', 'accelerator = "Sohu"')))
    assert "no speed is known of 'Sohu'" in faults["deployments.gpu.accelerator"]


def test_every_figure_of_a_chip_can_be_declared() -> None:
    settings = set(AcceleratorTable.__struct_fields__) - {"like"}
    assert settings == set(Accelerator.__dataclass_fields__) - {"name", "unverified"}


def test_recalled_figures_of_a_model_are_a_warning_where_it_is_deployed() -> None:
    warnings = fleet_warnings(parse_fleet(own_model(), "own model"))
    assert [warning.path for warning in warnings if "context_tokens" in warning.message] == ["deployments.ours.model"]
