"""The catalog: every row is complete, and a wrong name gets advice."""

from __future__ import annotations

import pytest

from headrace.errors import ConfigError
from headrace.fleet import Memory, catalog

MISSION = ("H100", "H200", "B200", "MI300X", "MI355X", "TPU v6e", "Trainium2", "Inferentia2", "WSE-3", "LPU")


@pytest.mark.parametrize("name", MISSION)
def test_every_system_of_the_mission_is_in_the_catalog(name: str) -> None:
    chip = catalog.accelerator(name)
    assert chip.name == name
    assert chip.memory_bytes > 0
    assert chip.memory_bandwidth_bytes_per_s > 0


def test_every_accelerator_names_its_source_and_has_a_peak() -> None:
    for chip in catalog.accelerators():
        assert chip.source.strip(" ()"), chip.name
        assert any(flops is not None for flops in (chip.flops_bf16, chip.flops_fp8, chip.flops_fp4)), chip.name


def test_accelerator_names_are_unique_whatever_their_case() -> None:
    names = [chip.name.lower() for chip in catalog.accelerators()]
    assert len(names) == len(set(names))


def test_sram_parts_are_told_apart_from_external_memory() -> None:
    sram = {chip.name for chip in catalog.accelerators() if chip.memory is Memory.SRAM}
    assert {"LPU", "WSE-3", "Groq 3 LPU"} <= sram
    assert not sram & {"H100", "TPU v6e", "Trainium2", "SN40L"}


def test_an_absent_figure_is_none_and_never_zero() -> None:
    assert catalog.accelerator("TPU v6e").power_w is None
    for chip in catalog.accelerators():
        assert chip.power_w is None or chip.power_w > 0
        assert chip.price_usd_per_h is None or chip.price_usd_per_h > 0


@pytest.mark.parametrize(("typed", "meant"), [("h100", "H100"), ("TPUv6e", "TPU v6e"), ("WSE3", "WSE-3")])
def test_unknown_accelerator_lists_close_matches(typed: str, meant: str) -> None:
    with pytest.raises(catalog.UnknownName, match=f"did you mean .*{meant}"):
        catalog.accelerator(typed)


def test_unknown_model_is_a_config_error_and_a_lookup_error() -> None:
    with pytest.raises(ConfigError, match="gpt-oss-120b"):
        catalog.model("gpt-oss-12b")
    with pytest.raises(LookupError):
        catalog.model("nothing like it")
