"""`[limits]` in a fleet file."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from headrace.config import fleet_text, parse_fleet, sample_fleet_text
from headrace.config.limits_table import LimitsTable
from headrace.errors import ConfigError
from headrace.fleet import ImageUrls, Limits
from headrace.http import HttpLimits

PAGE = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
SAMPLE = sample_fleet_text()
SET = {
    "max_header_lines": 9,
    "max_messages": 8,
    "max_tools": 7,
    "image_urls": "data-only",
    "keep_alive_timeout_s": 6.5,
    "sweep_interval_s": 0.5,
    "max_connections": 4,
    "max_connections_per_address": 3,
}


def with_limits(lines: str) -> str:
    return SAMPLE.replace("[limits]\n", "[limits]\n" + lines + "\n", 1)


def test_what_is_set_is_kept_and_written_again() -> None:
    text = with_limits("\n".join(f"{name} = {value!r}" for name, value in SET.items()))
    fleet = parse_fleet(text, "x")
    assert {name: asdict(fleet.limits)[name] for name in SET} == SET
    assert isinstance(fleet.limits.image_urls, ImageUrls)
    assert parse_fleet(fleet_text(fleet), "again").limits == fleet.limits


def test_every_limit_can_be_set_and_those_of_the_server_have_its_defaults() -> None:
    assert set(LimitsTable.__struct_fields__) == {each.name for each in fields(Limits)}
    defaults = asdict(Limits())
    assert asdict(HttpLimits()).items() <= defaults.items()


def test_the_page_lists_every_limit_on_clients_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE.partition("## What clients may take")[2], re.MULTILINE))
    shown = {name: asdict(Limits())[name] for name in (*asdict(HttpLimits()), "max_messages", "max_tools")}
    for name, default in shown.items():
        assert listed.pop(name) == ("none" if default is None else f"{default:g}" if default < 1e5 else str(default))
    assert listed == {"image_urls": '`"public"`'}


@pytest.mark.parametrize(
    "line",
    [
        "max_messages = 0",
        "max_connections = 1.5",
        'image_urls = "some"',
        "keep_alive_timeout_s = 0",
        "max_tools = true",
    ],
)
def test_what_is_no_limit_is_refused_by_its_path(line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_fleet(with_limits(line), "x")
    assert [fault.path for fault in raised.value.faults] == ["limits." + line.split()[0]]
