"""`[telemetry]` of a fleet file: its defaults, its faults, and that the page which lists them shows them all."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from headrace.config import parse_fleet, sample_fleet_text
from headrace.config.telemetry_table import TelemetryTable
from headrace.errors import ConfigError
from headrace.fleet import TelemetrySettings

PAGE = (Path(__file__).resolve().parents[2] / "docs/telemetry.md").read_text()
# Shown with a value that is not the default: that is None, or false.
EXAMPLES = frozenset(("access_log", "access_log_file", "otlp_endpoint"))


def test_the_page_shows_every_setting_and_the_defaults() -> None:
    (block,) = (block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[telemetry]" in block)
    shown = tomllib.loads(block)["telemetry"]
    assert set(shown) == set(TelemetryTable.__struct_fields__) == {each.name for each in fields(TelemetrySettings)}
    defaults = {name: value for name, value in asdict(TelemetrySettings()).items() if name not in EXAMPLES}
    assert {name: value for name, value in shown.items() if name not in EXAMPLES} == defaults
    on = parse_fleet(f"{sample_fleet_text()}\n{block}", "x").telemetry
    assert on == TelemetrySettings(**shown | {"access_log": True})
    assert parse_fleet(sample_fleet_text(), "x").telemetry == TelemetrySettings()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("max_series = 0", "telemetry.max_series"),
        ("access_log_file = 'x'", "telemetry.access_log_file: is of no use without access_log = true"),
        ("log_format = 'xml'", "telemetry.log_format"),
        ("otlp_endpoint = 'ftp://h'", "telemetry.otlp_endpoint"),
        ("otlp_endpoint = 'http://user:secret@h'", "telemetry.otlp_endpoint"),
        ("sampling_ratio = 1.5", "telemetry.sampling_ratio"),
        ("metrics_interval_s = 0", "telemetry.metrics_interval_s"),
        ("series = 1", "telemetry.series: unknown setting"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(line: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_fleet(f"{sample_fleet_text()}\n[telemetry]\n{line}\n", "x")
    assert fault in str(refused.value)
