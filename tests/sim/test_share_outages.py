"""A share after its pools were gone: windows that begin later owe nothing."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from pathlib import Path
from random import Random

import pytest

from headrace.config import load_fleet
from headrace.fleet import Down
from headrace.metrics import Reason, ShareMeter, WindowVerdict
from headrace.sim import simulate
from headrace.workload import Request

FLEET = Path(__file__).resolve().parents[2] / "examples" / "small.toml"
SECONDS = 1100.0
DOWN_S = (400.0, 550.0)
BACK_S = 15.0  # the longest a breaker waits before it asks again


def traffic(seed: int, wanes_s: float) -> Iterator[Request]:
    """Poisson traffic of equal requests whose rate wanes."""
    draw, at_s = Random(seed), 0.0
    while True:
        at_s += draw.expovariate(20.0 * exp(-at_s / wanes_s))
        if at_s >= SECONDS:
            return
        yield Request(at_s, draw.choice(("coding", "chat")), 30, 65)


@pytest.mark.parametrize("wanes_s", [1e9, 700.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_outage_pushes_no_later_window_off(monkeypatch: pytest.MonkeyPatch, workers: int, wanes_s: float) -> None:
    verdicts: list[WindowVerdict] = []
    count = ShareMeter._count
    monkeypatch.setattr(ShareMeter, "_count", lambda meter, each: (verdicts.append(each), count(meter, each)))
    outage = Down(backends=("groq-1",), from_s=DOWN_S[0], to_s=DOWN_S[1])
    result = simulate(load_fleet(FLEET), traffic(1, wanes_s), incidents=(outage,), workers=workers)
    result.metrics.shares["fast"].close(SECONDS)
    missed = [each for each in verdicts if each.error_pp > 0.5]
    reasons = {each.start_s: each.infeasible and each.infeasible.reason for each in missed}
    begun_at_its_end = {at_s for at_s in reasons if at_s >= DOWN_S[1] - BACK_S}  # they also lose the breaker's pause
    assert {reason for at_s, reason in reasons.items() if at_s not in begun_at_its_end} == {Reason.OUTAGE}
    assert all(each.end_s > DOWN_S[0] and each.start_s < DOWN_S[1] for each in missed)
    later = [each for each in verdicts if each.start_s >= DOWN_S[1] + BACK_S]
    assert len(later) > 20
    assert max(each.error_pp for each in later) <= 0.5
