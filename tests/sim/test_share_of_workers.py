"""A share that each engine keeps for its own requests holds for all of them, whether engines hear each other or not."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from headrace.config import load_fleet
from headrace.sim import simulate
from headrace.workload import CHAT, CODING, ClassTraffic, generate

SECONDS, RATE_REQ_PER_S = 1800.0, 14.0


@pytest.mark.parametrize(("apart", "bar_pp"), [(False, 0.5), (True, 1.0)])
def test_four_engines_keep_the_share_of_an_example_fleet(apart: bool, bar_pp: float, examples_dir: Path) -> None:
    fleet = load_fleet(examples_dir / "small.toml")
    coding = replace(CODING, arrivals=CHAT.arrivals)
    classes = [ClassTraffic("coding", coding, 1.0), ClassTraffic("chat", CHAT, 1.0)]
    drawn = list(islice(generate(classes, 1e6, 0), round(SECONDS * RATE_REQ_PER_S)))
    stretch = SECONDS / drawn[-1].arrival_s
    requests = (replace(each, arrival_s=each.arrival_s * stretch) for each in drawn)
    share = simulate(fleet, requests, workers=4, apart=apart).metrics.shares["fast"]
    assert share.judged == share.feasible > 50
    assert share.worst_error_pp is not None
    assert share.worst_error_pp <= bar_pp
