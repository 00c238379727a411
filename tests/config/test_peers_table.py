"""`[peers]` of a fleet file: its defaults, its faults, and that the page which lists them shows them all."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from headrace.config import parse_fleet, sample_fleet_text
from headrace.config.peers_table import PeersTable
from headrace.errors import ConfigError
from headrace.fleet import Limits, Peers

PAGE = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()


def test_the_page_shows_every_setting_and_the_defaults() -> None:
    (block,) = (block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[peers]" in block)
    shown = tomllib.loads(block)["peers"]
    assert set(shown) == set(PeersTable.__struct_fields__) == {each.name for each in fields(Peers)}
    assert (shown["interval_s"], shown["dead_after_s"]) == (Peers().interval_s, Peers().dead_after_s)
    assert parse_fleet(f"{sample_fleet_text()}\n{block}", "x").peers == Peers(**shown)
    assert parse_fleet(sample_fleet_text(), "x").peers == Peers()
    assert f"({Limits().drain_delay_s:g} by default" in PAGE


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("interval_s = 0", "peers.interval_s"),
        ("dead_after_s = 0.3", "peers.dead_after_s: 0.3 is less than two intervals of 0.25 s"),
        ('redis = "http://h"', "peers.redis: 'http://h' is no URL of a server; it begins with redis://"),
        ('password_env = "P"', "peers.password_env: is of no use without redis"),
        ("intervals = 1", "peers.intervals: unknown setting"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(line: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_fleet(f"{sample_fleet_text()}\n[peers]\n{line}\n", "x")
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter2@h:6379/0", "rediss://u:hunter2@h", "redis://:hun/ter2@h", "http://u:hunter2@h"),
        *("unix:///run/redis.sock?password=hunter2", "unix://:hunter2@/run/redis.sock"),
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="set password_env") as refused:
        parse_fleet(f'{sample_fleet_text()}\n[peers]\nredis = "{url}"\n', "x")
    assert "ter2" not in str(refused.value)
    assert parse_fleet(f'{sample_fleet_text()}\n[peers]\nredis = "redis://user@h:6379/0"\n', "x").peers.redis
