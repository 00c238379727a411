"""The fault file: typed, strict, and with every fault of it at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from headrace.config import build_incidents, load_fleet, load_incidents, parse_fleet, sample_fleet_text
from headrace.config.deployment_tables import SparesTable
from headrace.config.document import SignalsTable
from headrace.config.fault_file import KINDS
from headrace.errors import ConfigError
from headrace.fleet import (
    Down,
    Flapping,
    Fleet,
    Incident,
    LostAccelerator,
    Quota,
    QuotaCut,
    Signals,
    Slow,
    Spares,
    Stale,
    limited_to,
)

SAMPLE = load_fleet()


def with_terms() -> Fleet:
    """The sample fleet, whose Cerebras have spares, whose TPUs have a quota, and whose backends publish their load."""
    deployments = dict(SAMPLE.deployments)
    for pool, terms in (("cerebras", {"spares": Spares(1, 60.0, 3600.0)}), ("tpu-v6e", {"quota": Quota(60.0)})):
        name = SAMPLE.pools[pool].deployment.name
        deployments[name] = replace(deployments[name], **terms)
    pools = {n: replace(pool, deployment=deployments[pool.deployment.name]) for n, pool in SAMPLE.pools.items()}
    return replace(SAMPLE, deployments=deployments, pools=pools, signals=Signals())


def read(text: str) -> tuple[Incident, ...]:
    return build_incidents(tomllib.loads(text), "x", with_terms())


def faults_of(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value)


def test_every_kind_of_fault_and_every_way_to_say_whom_it_hits() -> None:
    text = """
schema = 1
faults = [
  { type = "down", vendors = ["NVIDIA"], from_s = 1, to_s = 2 },
  { type = "slow", pools = ["h100"], backends = ["b200-1"], from_s = 3.5, factor = 2 },
  { type = "flapping", backends = ["groq-1"], from_s = 0, to_s = 60, period_s = 20, down_fraction = 0.25 },
  { type = "quota", pools = ["tpu-v6e"], from_s = 0, fraction = 0.5 },
  { type = "lost_accelerator", backends = ["cerebras-1"], from_s = 9 },
  { type = "stale", backends = ["h100-1"], from_s = 1, delay_s = 2 },
  { type = "stale", backends = ["h100-1"], from_s = 1, to_s = 3 },
]
"""
    down, slow, flapping, quota, lost, late, frozen = read(text)
    assert late == Stale(backends=("h100-1",), from_s=1.0, delay_s=2.0)
    assert frozen == Stale(backends=("h100-1",), from_s=1.0, to_s=3.0)
    assert down == Down(backends=("h100-1", "h100-2", "b200-1"), from_s=1.0, to_s=2.0)
    assert slow == Slow(backends=("h100-1", "h100-2", "b200-1"), from_s=3.5, to_s=inf, factor=2.0)
    assert flapping == Flapping(backends=("groq-1",), from_s=0.0, to_s=60.0, period_s=20.0, down_fraction=0.25)
    assert quota == QuotaCut(backends=("tpu-v6e-1",), from_s=0.0, fraction=0.5)
    assert lost == LostAccelerator(backends=("cerebras-1",), from_s=9.0)


FAULTY = """
schema = 2
faluts = 1
faults = [
  { type = "down", vendors = ["Cerebra"], from_s = 10, to_s = 2 },
  { type = "slo" },
  { type = "slow", pools = ["h100", "h101"], from_s = -1, factor = 0.5 },
  { type = "quota", pools = ["h100"], from_s = 0, fraction = 0.5 },
  { type = "lost_accelerator", pools = ["h100"], from_s = 0, to_s = 1 },
  { type = "lost_accelerator", pools = ["h100"], from_s = 0 },
  { type = "flapping", from_s = 0, period_s = 0.001 },
  { type = "flapping", from_s = 0, period_s = 1 },
]
"""


def test_every_fault_of_the_document_is_reported_at_once_with_its_place() -> None:
    said = faults_of(FAULTY)
    for words in (
        "schema: 2; this version reads schema = 1",
        "faluts: unknown setting",
        "faults[0].vendors[0]: no vendor 'Cerebra'; did you mean 'Cerebras'?",
        "faults[0].to_s: 2 is not after from_s = 10",
        "faults[1].type: 'slo' is none of them",
        "faults[2].from_s: expected `float` >= 0.0",
        "faults[2].factor: expected `float` >= 1.0",
        "faults[3]: deployment 'h100-x8' has no rate limit to cut; declare [deployments.h100-x8.quota]",
        "faults[4].to_s: unknown setting",
        "faults[5]: deployment 'h100-x8' does not say how it gets over a lost accelerator",
        "faults[6].period_s: expected `float` >= 0.01",
        "faults[7]: hits nobody",
    ):
        assert words in said


@pytest.mark.parametrize("text", ["schema = 1", "schema = 1\nfaults = []", "schema = 1\nfaults = 3", "schema = true"])
def test_a_file_without_faults_is_refused(text: str) -> None:
    assert "expected an array of tables [[faults]]" in faults_of(text)


def test_a_file_that_cannot_be_read_or_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_incidents(tmp_path / "none.toml", SAMPLE)
    (tmp_path / "bad.toml").write_text("schema = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_incidents(tmp_path / "bad.toml", SAMPLE)


def test_a_sample_of_the_fleet_keeps_its_own_faults() -> None:
    both = Down(backends=("h100-1", "h100-2"), from_s=1.0)
    other = Down(backends=("b200-1",), from_s=1.0)
    assert limited_to((both, other), frozenset({"h100-1"})) == (Down(backends=("h100-1",), from_s=1.0),)


PAGE = (Path(__file__).resolve().parents[2] / "docs/faults.md").read_text()
SHOWN = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
BLOCKS = [block for block in SHOWN if "[[faults]]" in block]


def test_what_the_documentation_shows_is_a_fault_file_and_shows_every_setting() -> None:
    shown = [incident for block in BLOCKS for incident in read(block)]
    assert {type(incident) for incident in shown} == {Down, Slow, Flapping, QuotaCut, LostAccelerator, Stale}
    settings = {name for kind in KINDS for name in kind.__struct_fields__}
    assert settings <= set(re.findall(r"\b(\w+) = ", PAGE))


def test_signals_are_shown_with_their_defaults_and_belong_to_the_fleet_file() -> None:
    (block,) = [block for block in SHOWN if "[signals]" in block]
    fleet = parse_fleet(f"{sample_fleet_text()}\n{block}", "x")
    assert fleet.signals == Signals()
    assert set(tomllib.loads(block)["signals"]) == set(SignalsTable.__struct_fields__) == set(Signals.__slots__)
    assert parse_fleet(sample_fleet_text(), "x").signals is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("delay_s = 5", "signals.max_age_s: 5 is not more than delay_s = 5: no signal would ever count"),
        ("interval_s = 0", "signals.interval_s"),
        ("max_age = 1", "signals.max_age: unknown setting; did you mean 'max_age_s'?"),
    ],
)
def test_signals_that_nobody_could_use_are_refused(line: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_fleet(f"{sample_fleet_text()}\n[signals]\n{line}\n", "x")
    assert fault in str(refused.value)


def test_stale_signals_need_signals() -> None:
    with pytest.raises(ConfigError, match=r"publish no signals that could be stale; declare \[signals\]"):
        build_incidents({"schema": 1, "faults": [{"type": "stale", "pools": ["h100"], "from_s": 0}]}, "x", SAMPLE)


def test_the_file_has_a_setting_for_every_field_of_spares() -> None:
    assert set(SparesTable.__struct_fields__) == set(Spares.__dataclass_fields__)
