"""The catalog: every row is complete, and a wrong name gets advice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.fleet import Memory, catalog

NVIDIA = ("A100", "H100", "H200", "B200", "GB200", "B300", "GB300")
AMD = ("MI300X", "MI325X", "MI355X")
GOOGLE = ("TPU v5e", "TPU v5p", "TPU v6e", "TPU7x")
AWS = ("Inferentia2", "Trainium1", "Trainium2", "Trainium3")
MISSION = (*NVIDIA, *AMD, *GOOGLE, *AWS, "LPU", "Groq 3 LPU", "WSE-3", "SN40L", "Gaudi 3", "Corsair")
NOT_SHIPPED = {"Rubin CPX", "MI450", "Sohu"}
FIGURES = {
    "mem_bw_bytes_s": "memory_bandwidth_bytes_per_s",
    "sram_bytes": "sram_bytes",
    "flops_bf16_dense": "flops_bf16",
    "flops_fp8_dense": "flops_fp8",
    "flops_fp4_dense": "flops_fp4",
    "scaleup_bw_bytes_s_per_chip_unidir": "scale_up_bandwidth_bytes_per_s",
    "scaleup_domain_chips": "scale_up_domain_chips",
    "tdp_w": "tdp_w",
    "allin_w_per_chip": "all_in_w",
    "price_usd_per_chip_hour": "price_usd_per_h",
}


@pytest.mark.parametrize("name", MISSION)
def test_every_system_of_the_mission_is_in_the_catalog(name: str) -> None:
    chip = catalog.accelerator(name)
    assert chip.name == name
    assert chip.memory_bytes > 0
    assert (chip.memory_bandwidth_bytes_per_s or 0) > 0


@pytest.mark.parametrize("table", ["accelerators.csv", "systems.csv", "models.csv"])
def test_every_row_has_a_name_a_source_and_a_date(table: str) -> None:
    prefix = "spec_" if table == "accelerators.csv" else ""
    rows = catalog.table(table)
    assert rows
    for row in rows:
        assert row["name"]
        assert row[f"{prefix}source"], row["name"]
        assert row[f"{prefix}date"].startswith("20"), row["name"]
        assert all(cell == cell.strip() for cell in row.values()), row["name"]


def test_whatever_ships_has_a_peak_and_a_bandwidth() -> None:
    for chip in catalog.accelerators():
        complete = chip.memory_bandwidth_bytes_per_s and (chip.flops_bf16 or chip.flops_fp8 or chip.flops_fp4)
        assert complete or chip.name in NOT_SHIPPED, chip.name


def test_what_does_not_ship_says_so_and_that_its_figures_are_recalled() -> None:
    for name in NOT_SHIPPED:
        chip = catalog.accelerator(name)
        assert (chip.availability or "").startswith("not shipped")
        assert chip.unverified
        assert chip.price_usd_per_h is None


def test_a_price_has_its_basis_and_its_source() -> None:
    for row in catalog.table("accelerators.csv"):
        if row["price_usd_per_h"]:
            assert row["price_basis"], row["name"]
            assert row["price_source"], row["name"]


def test_lower_precision_is_never_slower() -> None:
    for chip in catalog.accelerators():
        peaks = [peak for peak in (chip.flops_bf16, chip.flops_fp8, chip.flops_fp4) if peak is not None]
        assert peaks == sorted(peaks), chip.name


def test_every_accelerator_of_the_collected_hardware_is_here_with_its_figures(data_dir: Path) -> None:
    with (data_dir / "hardware.csv").open(newline="", encoding="utf-8") as lines:
        collected = {row["name"]: row for row in csv.DictReader(lines)}
    ours = {row["full_name"]: catalog.accelerator(row["name"]) for row in catalog.table("accelerators.csv")}
    assert set(ours) == set(collected)
    for name, row in collected.items():
        for column, attribute in FIGURES.items():
            assert getattr(ours[name], attribute) == (float(row[column]) if row[column] else None), (name, column)
        memory = row["external_mem_bytes"] if ours[name].memory is Memory.EXTERNAL else row["sram_bytes"]
        binary = ours[name].vendor == "NVIDIA"  # its "GB" are of 2^30 bytes, as the driver reports them
        assert float(memory) <= ours[name].memory_bytes <= float(memory) * (1.08 if binary else 1.0)


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


def test_a_system_is_a_number_of_a_catalogued_accelerator() -> None:
    names = {system.name for system in catalog.systems()}
    assert {"DGX H100", "GB200 NVL72", "inf2.48xlarge", "trn2.48xlarge", "CS-3", "GroqRack", "Groq 3 LPX"} <= names
    assert {"MI355X node", "TPU v6e-8", "SambaRack SN40L-16", "Corsair server", "Gaudi 3 node"} <= names
    for system in catalog.systems():
        chip = catalog.accelerator(system.accelerator)
        assert system.count >= 1
        assert (system.scale_up_domain_chips is None) == (chip.scale_up_domain_chips is None), system.name
        assert (system.power_w is None) == (system.power_basis is None), system.name


def test_a_system_draws_at_least_what_its_chips_do() -> None:
    for system in catalog.systems():
        tdp_w = catalog.accelerator(system.accelerator).tdp_w
        if system.power_w is not None and tdp_w is not None:
            assert system.power_w >= system.count * tdp_w, system.name


def test_every_shipping_system_of_the_mission_comes_as_something() -> None:
    assert set(MISSION) <= {system.accelerator for system in catalog.systems()}


def test_unknown_system_lists_close_matches() -> None:
    with pytest.raises(catalog.UnknownName, match="did you mean 'DGX H100'"):
        catalog.system("DGX-H100")


def test_unknown_model_is_a_config_error_and_a_lookup_error() -> None:
    with pytest.raises(ConfigError, match="gpt-oss-120b"):
        catalog.model("gpt-oss-12b")
    with pytest.raises(LookupError):
        catalog.model("nothing like it")
