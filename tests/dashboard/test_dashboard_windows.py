"""A fold's windows: what is steady reads the same at every moment, for one worker and for several."""

from __future__ import annotations

import pytest

from headrace.config import parse_fleet, sample_fleet_text
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.fold import WINDOW_S, Fold
from headrace.dashboard.ring import Call, Ring
from headrace.dashboard.seen import Pace, Slice, together
from headrace.policy import Arrived, Dispatch, End, Finished, Outcome

PER_S = 10
FACTS = FleetFacts(parse_fleet(sample_fleet_text(), "sample"))


def steady(until_s: float, ring: Ring) -> Ring:
    """Ten requests a second with answers of 20 tokens, each of which costs 0.01 USD and is over at once."""
    for number in range(round(until_s * PER_S)):
        for call in one(number, number / PER_S):
            ring.record(*call)
    ring.take()
    return ring


def one(number: int, now_s: float) -> list[Call]:
    dispatch = Dispatch(number, number, "h100-1", 0.0, 0.01, 20.0, outside_cost_usd=0.03, outside_score_usd=0.05)
    ended = Finished(number, 100, 20)
    return [
        (now_s, Arrived(number, "chat", 100), [dispatch]),
        (now_s, ended, [End(number, Outcome.COMPLETED)]),
    ]


def seen(ring: Ring, now_s: float, zero_unix_s: float = 1000.0) -> Slice:
    fold = Fold(FACTS, "run", zero_unix_s, since_s=ring.since_s)
    fold.add(ring.kept)
    return fold.slice(zero_unix_s + now_s)


def assert_steady(pace: Pace, times: int = 1) -> None:
    assert pace.attempts_per_s == pytest.approx(times * PER_S, rel=0.02)
    assert pace.output_tokens_per_s == pytest.approx(times * PER_S * 20, rel=0.02)
    assert pace.cost_usd_per_s == pytest.approx(times * PER_S * 0.01, rel=0.02)
    assert pace.outside_usd_per_s == pytest.approx(times * PER_S * 0.03, rel=0.02)
    assert pace.value_usd_per_s == pytest.approx(times * PER_S * 0.05, rel=0.02)


@pytest.mark.parametrize("now_s", [7.0, 59.9, 60.0, 63.0, 369.0, 370.0, 370.5])
def test_a_steady_pace_reads_the_same_wherever_a_slot_begins(now_s: float) -> None:
    found = seen(steady(now_s, Ring(1_000_000)), now_s)
    assert_steady(found.paces["chat"]["h100"])
    assert found.covers_s <= min(now_s, WINDOW_S) + 1e-6


def test_a_pace_is_divided_by_what_the_ring_holds() -> None:
    now_s = 400.0
    ring = steady(now_s, Ring(340 * 2))
    assert ring.since_s == pytest.approx(now_s - 34.0)
    assert_steady(seen(ring, now_s).paces["chat"]["h100"])


def test_of_workers_each_is_divided_by_its_own_window() -> None:
    now_s = 400.0
    busy, idle = steady(now_s, Ring(340 * 2)), Ring()
    for call in one(0, 1.0):
        idle.record(*call)
    idle.take()
    whole = together([seen(busy, now_s), seen(idle, now_s), seen(steady(now_s, Ring()), now_s)])
    assert_steady(whole.paces["chat"]["h100"], times=2)
    assert whole.covers_s == seen(idle, now_s).covers_s


def test_nothing_flows_before_the_gateway_is_there() -> None:
    assert seen(Ring(), 0.0).paces == {}
    assert seen(Ring(), 100.0).covers_s == 100.0
