"""Several engines draw from one quota of a provider: together they take what it gives, and hear of it in time."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bucket import Bucket
from headrace.policy import PeerDraw, PeersReported, signed, summed
from headrace.policy.shared_limit import SharedLimit

INTERVAL_S = 0.25


def limit_of(tokens: float, at_once: bool = False) -> SharedLimit:
    return SharedLimit("acme.tokens.minute", Bucket(tokens, 60.0, at_once), minute=True, interval_s=INTERVAL_S)


def others(engines: int, level: float = 1e9, **told: float) -> list[PeerDraw]:
    given = {"taken": 0.0, "recent": 0.0, "owed": 0.0, "wanted": 0.0} | told
    return [PeerDraw(f"peer-{k}", "acme.tokens.minute", level=level, **given) for k in range(engines)]


class Gateways:
    """Engines with one provider; reports are late by one interval, and each engine reports at a time of its own."""

    def __init__(self, count: int, tokens: float, at_once: bool, seed: int) -> None:
        self.random = Random(seed)
        self.limits = [limit_of(tokens, at_once) for _ in range(count)]
        self.provider = Bucket(tokens, 60.0, at_once)
        self.lowest = tokens
        self.next_s = [self.random.uniform(0.0, INTERVAL_S) for _ in range(count)]
        self.said: list[tuple[float, PeerDraw] | None] = [None] * count

    def report_until(self, now_s: float) -> None:
        while (at_s := min(self.next_s)) <= now_s:
            number = self.next_s.index(at_s)
            self.next_s[number] += INTERVAL_S
            heard = [each for k, each in enumerate(self.said) if each is not None and k != number]
            as_of_s = min((each[0] for each in heard), default=at_s)
            self.limits[number].drawn_elsewhere(at_s, as_of_s, str(number), [each[1] for each in heard])
            draw = msgspec.structs.replace(self.limits[number].draw(at_s), engine=str(number))
            self.said[number] = (at_s, draw)

    def take(self, now_s: float, number: int, asked: float) -> bool:
        if self.limits[number].wait_s(now_s, asked) > 0.0:
            return False
        self.limits[number].take(now_s, asked)
        self.provider.take(now_s, asked)
        self.lowest = min(self.lowest, self.provider.level(now_s))
        return True

    def give_back(self, now_s: float, number: int, amount: float) -> None:
        self.limits[number].take(now_s, -amount)
        self.provider.take(now_s, -amount)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.booleans(), st.floats(0.001, 0.6), st.integers(0, 10**6))
def test_engines_overdraw_by_less_than_a_request_of_each_of_the_others(
    count: int, at_once: bool, largest: float, seed: int
) -> None:
    """Whatever comes where and when, and whoever wants all of it at once."""
    tokens = 60_000.0
    group = Gateways(count, tokens, at_once, seed)
    random, now_s, most = group.random, 1.0, 0.0
    live: list[tuple[float, int, float]] = []
    group.report_until(now_s)
    for _ in range(400):
        now_s += random.choice((0.0, 0.001, random.expovariate(10.0), random.expovariate(0.5)))
        group.report_until(now_s)
        for ended in [each for each in live if each[0] <= now_s]:
            live.remove(ended)
            group.give_back(now_s, *ended[1:])
        number, asked = random.randrange(count), random.uniform(0.1, 1.0) * largest * tokens
        if group.take(now_s, number, asked):
            most = max(most, asked)
            live.append((now_s + random.expovariate(1.0), number, random.random() * asked))
    assert group.lowest >= -(count - 1) * most - 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(0, 10**6))
def test_what_fits_into_parts_overdraws_by_nothing(count: int, seed: int) -> None:
    """Everybody takes as fast as he may, in requests so small that nobody needs a turn."""
    group = Gateways(count, 60_000.0, False, seed)
    random, now_s = group.random, 1.0
    group.report_until(now_s)
    for _ in range(2000):
        now_s += random.choice((0.0, 0.001, 0.02))
        group.report_until(now_s)
        number = random.randrange(count)
        asked = random.uniform(1.0, 50.0)
        if group.limits[number].bucket.level(now_s) > count * count * 100.0:
            group.take(now_s, number, asked)
    assert group.lowest >= 0.0


def test_each_takes_its_part_until_it_is_told_more() -> None:
    limit = limit_of(60_000.0)
    limit.drawn_elsewhere(10.0, 10.0, "self", others(3))
    taken = 0.0
    while limit.wait_s(10.0, 100.0) == 0.0:
        limit.take(10.0, 100.0)
        taken += 100.0
    assert taken == pytest.approx(60_000.0 / 5, abs=100.0), "4 * taken of what is left then"
    limit.drawn_elsewhere(15.0, 15.0, "self", others(3))
    assert limit.wait_s(15.0, 100.0) == 0.0, "the others know of it by now, and took nothing"


def test_what_others_took_is_debited_once_and_what_they_owe_is_as_good_as_gone() -> None:
    limit = limit_of(60_000.0)
    limit.drawn_elsewhere(1.0, 1.0, "self", others(2, taken=5e6))
    assert limit.bucket.level(1.0) == 60_000.0, "what somebody took before we heard of him nobody can date"
    limit.drawn_elsewhere(1.25, 1.25, "self", others(2, taken=5e6 + 1000.0, owed=500.0))
    assert limit.bucket.level(1.25) == 58_000.0
    assert limit.level(1.25) == 57_000.0
    limit.drawn_elsewhere(1.25, 1.25, "self", others(2, taken=5e6 + 1000.0))
    assert limit.level(1.25) == 58_000.0
    limit.drawn_elsewhere(1.25, 1.25, "self", [])
    assert limit.bucket.level(1.25) == 58_000.0, "who goes gives nothing back"
    limit.drawn_elsewhere(1.25, 1.25, "self", others(1, level=20_000.0))
    assert limit.bucket.level(1.25) == 20_000.0, "who comes knows better"


def test_a_header_does_not_count_twice_what_others_took() -> None:
    """They took 6,000 evenly between 10 and 12 s; the provider said at 11 s what was left, at 12 s we hear of it."""
    for header_first in (True, False):
        limit = limit_of(60_000.0)
        limit.drawn_elsewhere(10.0, 10.0, "self", others(1))
        told = others(1, taken=6000.0)
        if header_first:
            limit.remained(11.0, 11.0, 30_000.0)
            assert limit.bucket.level(11.0) == 30_000.0
            limit.drawn_elsewhere(12.0, 12.0, "self", told)
        else:
            limit.drawn_elsewhere(12.0, 12.0, "self", told)
            limit.remained(12.0, 11.0, 30_000.0)
        assert limit.bucket.level(12.0) == pytest.approx(30_000.0 + 1000.0 - 3000.0)


def test_a_request_larger_than_a_part_goes_when_its_turn_comes() -> None:
    limit = limit_of(6000.0)
    limit.drawn_elsewhere(1.0, 1.0, "self", others(3))
    limit.take(1.0, 1500.0)
    assert limit.wait_s(1.0, 3000.0) > 0.0, "it has just sent something"
    limit.drawn_elsewhere(5.0, 5.0, "self", others(3, recent=2000.0, wanted=4000.0))
    assert limit.wait_s(5.0, 3000.0) == 0.0, "the others had more"
    limit.drawn_elsewhere(5.0, 5.0, "self", others(3, recent=1000.0, wanted=3000.0))
    assert limit.wait_s(5.0, 3000.0) > 0.0, "they had less, and wait"


def test_reports_keep_engines_apart_and_say_who_is_told() -> None:
    said = PeersReported(0.0, 1, draws=(limit_of(6000.0).draw(0.0),))
    told = summed(0.0, [signed(said, "b"), signed(said, "a")], "c")
    assert [draw.engine for draw in told.draws] == ["a", "b"]
    assert told.told == "c"
