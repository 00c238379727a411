"""Alerts say what somebody can act on."""

from __future__ import annotations

import pytest
from watching_rig import Still

from headrace.config import parse_fleet, sample_fleet_text
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.panels import Seconds, alerts
from headrace.dashboard.seen import Ends, Slice


@pytest.mark.parametrize(
    ("target", "met", "of", "said"),
    [
        ("0.999", 998, 1000, "chat: SLO met by 99.8% of 99.9%"),
        ("0.999", 9989, 10000, "chat: SLO met by 99.89% of 99.9%"),
        ("0.95", 9, 10, "chat: SLO met by 90% of 95%"),
        ("0.9999", 9998, 10000, "chat: SLO met by 99.98% of 99.99%"),
    ],
)
def test_a_missed_slo_is_told_with_the_digits_that_miss_it(target: str, met: int, of: int, said: str) -> None:
    text = sample_fleet_text().replace("attainment = 0.95", f"attainment = {target}")
    seen = Slice(300.0, {}, {}, {"chat": Ends(judged=of, met=met)}, [], [])
    facts = FleetFacts(parse_fleet(text, "sample"))
    assert alerts(Seconds(Still().shown(), facts, seen, 300.0, {})) == [("warn", said)]
