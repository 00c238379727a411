"""Calibration files are read strictly: every fault with its path, through the deployment that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import load_calibration, load_fleet
from headrace.errors import ConfigError
from headrace.perf import speed_curve

CALIBRATION = """
schema = 1
name = "box"
[origin]
endpoint = "http://a"
model = "m"
probes = ["p.jsonl"]
measured = "2026-11-25"
fitted = "2026-11-25"
[coefficients]
ttft_overhead_s = { value = 0.01, low = 0.005, high = 0.02, n = 40, unit = "s" }
prefill_fixed_s = { value = 0.002, low = 0.0, high = 0.01, n = 40, unit = "s" }
prefill_s_per_token = { value = 1e-3, low = 9e-4, high = 1.1e-3, n = 40, unit = "s/token" }
prefill_s_per_token_squared = { value = 0, low = 0, high = 1e-7, n = 40, unit = "s/token^2" }
kv_s_per_token = { value = 1e-6, low = 0, high = 2e-6, n = 40, unit = "s/token" }
max_batch = { value = 4, low = 4, high = 4, n = 0, unit = "sequences", note = "stated" }
chunk_tokens = { value = 512, low = 512, high = 512, n = 3, unit = "tokens" }
[[decode_step_s]]
batch = 1
value = 0.020
low = 0.019
high = 0.021
n = 10
unit = "s"
[[decode_step_s]]
batch = 2
value = 0.025
low = 0.024
high = 0.026
n = 10
unit = "s"
[fit]
ttft = { n = 40, median = 0.05, p90 = 0.1 }
tpot = { n = 40, median = 0.02, p90 = 0.05 }
"""
FLEET = """
schema = 1
models = { "gpt-oss-120b" = {} }
[deployments.box]
model = "gpt-oss-120b"
calibrated = "speeds/box.toml"
[pools.only]
deployment = "box"
price = { type = "per_token", input_usd_per_mtok = 0.1, output_usd_per_mtok = 0.4 }
backends = [{ name = "only-1", url = "http://127.0.0.1:1" }]
[classes.chat]
value_of_time_usd_per_s = 0.0003
[[routes]]
pools = ["only"]
"""


def write(folder: Path, calibration: str = CALIBRATION, fleet: str = FLEET) -> Path:
    (folder / "speeds").mkdir()
    (folder / "speeds" / "box.toml").write_text(calibration)
    (folder / "fleet.toml").write_text(fleet)
    return folder / "fleet.toml"


def test_a_deployment_takes_its_speed_from_the_file_it_names(tmp_path: Path) -> None:
    deployment = load_fleet(write(tmp_path)).deployments["box"]
    curve = speed_curve(deployment)
    assert deployment.max_batch == 4
    assert curve.step_s == pytest.approx((0.015, 0.020, 0.025, 0.030, 0.035))
    assert curve.ttft_s(100) == pytest.approx(0.01 + 0.015 + 0.002 + 0.1)
    assert (curve.chunk_tokens, curve.max_batch, curve.kv_capacity_tokens, curve.power_w) == (512, 4, None, None)


def test_memory_and_power_are_the_accelerator_s_where_one_is_named(tmp_path: Path) -> None:
    fleet = FLEET.replace("calibrated =", 'accelerator = "H100"\ncount = 2\ncalibrated =')
    curve = speed_curve(load_fleet(write(tmp_path, fleet=fleet)).deployments["box"])
    assert curve.tpot_s() == 0.020
    assert curve.kv_capacity_tokens is not None
    assert curve.power_w is not None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("value = 0.020", "value = -1.0", "decode_step_s[0].value"),
        ("batch = 2", "batch = 1", "batches [1, 1]"),
        ("batch = 1", "batch = 3", "batches [3, 2]"),
        ("low = 9e-4", "low = 2e-3", "coefficients.prefill_s_per_token: value 0.001 lies outside"),
        ("max_batch = { value = 4, low = 4", "max_batch = { value = 1, low = 1", "less than the largest batch"),
        ("schema = 1", "schema = 7", "schema: 7 is not supported"),
        ('name = "box"', "", "name: missing"),
        ('name = "box"', 'name = "box"\nnmae = 1', "nmae: unknown setting"),
        ("[fit]", "[fit", "not valid TOML"),
    ],
)
def test_a_fault_of_the_file_is_named_with_its_path(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in CALIBRATION
    path = write(tmp_path, CALIBRATION.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_fleet(path)
    said = str(caught.value)
    assert "deployments.box.calibrated: speeds/box.toml: " in said
    assert words in said


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    broken = CALIBRATION.replace("n = 40, unit", "n = 40, unti").replace('model = "m"', "model = 3")
    with pytest.raises(ConfigError) as caught:
        load_calibration(write(tmp_path, broken).parent / "speeds" / "box.toml")
    assert len(caught.value.faults) >= 6


def test_a_file_that_is_not_there_and_a_second_speed_are_faults(tmp_path: Path) -> None:
    path = write(tmp_path, fleet=FLEET.replace("speeds/box.toml", "none.toml"))
    with pytest.raises(ConfigError, match=r"none\.toml: file: cannot be read"):
        load_fleet(path)
    observed = "observed = { ttft_s = 0.2, input_tokens_per_s = 1e4, tpot_s = 0.01 }\n"
    path.write_text(FLEET.replace("calibrated", observed + "calibrated"))
    with pytest.raises(ConfigError, match="more than one is set"):
        load_fleet(path)
