"""History: one small sample every five seconds, for an hour, whether somebody looks or not.

A sample is of counters that the gateway keeps anyway, so what happened between two of them is their difference: every
unit of a share is linear in attempts and tokens (`metrics.work`), and so are USD. Nothing is summed up per request.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from headrace.dashboard.facts import FleetFacts
from headrace.gateway import Shown
from headrace.metrics import WorkRate

EVERY_S: Final = 5.0
KEPT: Final = 720  # an hour
WINDOW_S: Final = 300.0

Used = tuple[int, int, int, int]  # attempts that completed, input, cached input and output tokens, as backends counted
NOTHING: Final[Used] = (0, 0, 0, 0)


class Sample(msgspec.Struct, frozen=True):
    """Counters and prices at one time.

    Attributes:
        used: since the gateway started, by pool. prices: each lambda by name. in_flight: attempts, by pool.
    """

    at_unix_s: float
    used: dict[str, Used]
    prices: dict[str, float]
    in_flight: dict[str, int]


class Point(msgspec.Struct, frozen=True):
    """What is drawn of one time: each share as realized in the window before, each lambda, attempts in flight."""

    at_unix_s: float
    shares: dict[str, float | None]
    prices: dict[str, float]
    in_flight: dict[str, int]


class History:
    """The last hour."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)

    def due(self, now_unix_s: float) -> bool:
        """Whether it is time for another sample."""
        return not self.samples or now_unix_s - self.samples[-1].at_unix_s >= EVERY_S - 0.5

    def window(self, now: Sample) -> tuple[float, dict[str, Used]]:
        """Seconds of the window before `now`, and what was used in it by pool."""
        first = next((each for each in self.samples if each.at_unix_s >= now.at_unix_s - WINDOW_S - EVERY_S), now)
        return now.at_unix_s - first.at_unix_s, between(first, now)

    def points(self, facts: FleetFacts) -> list[Point]:
        """All of it as it is drawn."""
        found, start, samples = [], 0, list(self.samples)
        for sample in samples:
            while samples[start].at_unix_s < sample.at_unix_s - WINDOW_S - EVERY_S:
                start += 1
            found.append(point(facts, sample, between(samples[start], sample)))
        return found


def sampled(shown: Shown, facts: FleetFacts, now_unix_s: float) -> Sample:
    """All workers as they are now."""
    counted, view = shown.counters, shown.view
    used: dict[str, Used] = {}
    for backend, inputs in counted.input_tokens.items():
        pool = facts.pool_of(backend)
        n, i, c, o = used.get(pool, NOTHING)
        completed = counted.attempts.get((backend, "completed"), 0)
        cached, output = counted.cached_input_tokens[backend], counted.output_tokens[backend]
        used[pool] = (n + completed, i + inputs, c + cached, o + output)
    in_flight: dict[str, int] = {}
    for each in view.backends:
        in_flight[each.pool] = in_flight.get(each.pool, 0) + each.in_flight
    prices = {f"shares.{share.name}": share.lambda_usd_per_unit for share in view.shares if share.steered}
    prices |= {limit.name: limit.lambda_usd_per_unit for limit in view.limits}
    return Sample(now_unix_s, used, prices, in_flight)


def between(first: Sample, last: Sample) -> dict[str, Used]:
    """What was used from one sample to another, by pool."""
    found: dict[str, Used] = {}
    for pool, (n, i, c, o) in last.used.items():
        n0, i0, c0, o0 = first.used.get(pool, NOTHING)
        found[pool] = (n - n0, i - i0, c - c0, o - o0)
    return found


def worked(rate: WorkRate, used: Used) -> float:
    """Work of so many attempts and tokens."""
    n, i, c, o = used
    return rate.per_request * n + rate.per_input_token * i + rate.per_output_token * o - rate.cached_saves * c


def realized(facts: FleetFacts, share: str, used: dict[str, Used]) -> float | None:
    """A share of what was used; None: nothing was."""
    rates, inside_pools = facts.rates[share], facts.fleet.shares[share].pools
    inside = total = 0.0
    for pool, each in used.items():
        rate = rates if isinstance(rates, WorkRate) else rates.get(pool)
        if rate is not None:
            work = worked(rate, each)
            total += work
            inside += work if pool in inside_pools else 0.0
    return inside / total if total > 0.0 else None


def point(facts: FleetFacts, sample: Sample, used: dict[str, Used]) -> Point:
    """What is drawn of a sample; `used`: in the window before it."""
    shares = {name: realized(facts, name, used) for name in facts.fleet.shares}
    return Point(sample.at_unix_s, shares, sample.prices, sample.in_flight)
