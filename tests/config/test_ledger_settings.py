"""`[ledger]` in a fleet file."""

from __future__ import annotations

import pytest

from headrace.config import fleet_text, parse_fleet, sample_fleet_text
from headrace.config.ledger import LedgerTable
from headrace.errors import ConfigError
from headrace.fleet import Fsync, LedgerSettings

FULL = """
[ledger]
fsync = "interval"
fsync_interval_s = 0.5
rotate_bytes = 268435456
rotate_daily = true
postgres = "env:HEADRACE_POSTGRES_URL"
"""


def test_what_is_set_is_kept_and_the_rest_has_its_default() -> None:
    fleet = parse_fleet(sample_fleet_text() + FULL, "x")
    assert fleet.ledger == LedgerSettings(Fsync.INTERVAL, 0.5, 268_435_456, True, "env:HEADRACE_POSTGRES_URL")
    assert parse_fleet(fleet_text(fleet), "again").ledger == fleet.ledger
    assert parse_fleet(sample_fleet_text(), "x").ledger == LedgerSettings()
    assert not LedgerSettings().rotates
    assert set(LedgerTable.__struct_fields__) == set(LedgerSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('fsync = "sometimes"', r"ledger\.fsync"),
        ("fsync_interval_s = 2", r"ledger\.fsync_interval_s: only meant for fsync = \"interval\""),
        ("rotate_bytes = 10", r"ledger\.rotate_bytes"),
        ('postgres = "postgresql://me:secret@db/books"', r"ledger\.postgres: a URL holds a password"),
        ("rotate = 1", r"ledger\.rotate: unknown setting"),
    ],
)
def test_what_nobody_could_use_is_refused(line: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse_fleet(f"{sample_fleet_text()}\n[ledger]\n{line}\n", "x")
