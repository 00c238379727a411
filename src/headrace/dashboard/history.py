"""History: one small sample every five seconds, for an hour, whether somebody looks or not.

A sample is of counters that the gateway keeps anyway, so what happened between two of them is their difference: every
unit of a share is linear in attempts and tokens (`metrics.work`), and so are USD. Nothing is summed up per request.

The counters are of backends, and another fleet file may move a backend to another pool. So what a backend did since the
sample before is added to the pool that it is in then, and stays there: sums by pool never fall, whatever is moved.

Time between samples is monotonic: the wall clock, by which they are drawn, may be set back or forward.

A sample costs a look at every worker's page, so one worker takes it for all: whichever finds first that it is due tells
the others (`dashboard.board`), who keep the same.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from headrace.dashboard.facts import FleetFacts
from headrace.gateway import Shown
from headrace.metrics import WorkRate

EVERY_S: Final = 5.0
EARLY_S: Final = 0.1  # a timer may be
KEPT: Final = 720  # an hour
WINDOW_S: Final = 300.0

Used = tuple[int, int, int, int]  # attempts that completed, input, cached input and output tokens, as backends counted
NOTHING: Final[Used] = (0, 0, 0, 0)


class Sample(msgspec.Struct, frozen=True):
    """Counters and prices at one time.

    Attributes:
        at_s: on the monotonic clock, which is one for all workers; at_unix_s: on the wall clock.
        used: since the gateway started, by pool. prices: each lambda by name. in_flight: attempts, by pool.
    """

    at_s: float
    at_unix_s: float
    used: dict[str, Used]
    prices: dict[str, float]
    in_flight: dict[str, int]


class Taken(msgspec.Struct, frozen=True):
    """What a sample is made from, the same for every worker: as in a sample, but what each backend did."""

    at_s: float
    at_unix_s: float
    counted: dict[str, Used]
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
        self._counted: dict[str, Used] = {}  # by backend, at the last of the samples

    @property
    def due_s(self) -> float:
        """When it is time for another sample, on the monotonic clock."""
        return self.samples[-1].at_s + EVERY_S - EARLY_S if self.samples else 0.0

    def keep(self, taken: Taken, facts: FleetFacts) -> None:
        """Another sample."""
        self.samples.append(self.sample(taken, facts))
        self._counted = taken.counted

    def sample(self, taken: Taken, facts: FleetFacts) -> Sample:
        """What would be kept: what backends did since the last one is of the pools that they are in now."""
        used = dict(self.samples[-1].used) if self.samples else {}
        for backend, counted in taken.counted.items():
            pool, before = facts.pool_of(backend), self._counted.get(backend, NOTHING)
            used[pool] = _plus(used.get(pool, NOTHING), _less(counted, before))
        return Sample(taken.at_s, taken.at_unix_s, used, taken.prices, taken.in_flight)

    def window(self, now: Sample) -> tuple[float, dict[str, Used]]:
        """Seconds of the window before `now`, and what was used in it by pool."""
        first = next((each for each in self.samples if each.at_s >= now.at_s - WINDOW_S - EVERY_S), now)
        return now.at_s - first.at_s, between(first, now)

    def points(self, facts: FleetFacts) -> list[Point]:
        """All of it as it is drawn."""
        found, start, samples = [], 0, list(self.samples)
        for sample in samples:
            while samples[start].at_s < sample.at_s - WINDOW_S - EVERY_S:
                start += 1
            found.append(point(facts, sample, between(samples[start], sample)))
        return found


def take(shown: Shown, now_s: float, now_unix_s: float) -> Taken:
    """All workers as they are now."""
    view = shown.view
    in_flight: dict[str, int] = {}
    for each in view.backends:
        in_flight[each.pool] = in_flight.get(each.pool, 0) + each.in_flight
    prices = {f"shares.{share.name}": share.lambda_usd_per_unit for share in view.shares if share.steered}
    prices |= {limit.name: limit.lambda_usd_per_unit for limit in view.limits}
    return Taken(now_s, now_unix_s, _counted(shown), prices, in_flight)


def _counted(shown: Shown) -> dict[str, Used]:
    """What each backend did since the gateway started, in all workers."""
    counters = shown.counters
    return {
        backend: (
            counters.attempts.get((backend, "completed"), 0),
            used.input_tokens,
            used.cached_input_tokens,
            used.output_tokens,
        )
        for backend, used in counters.used.items()
    }


def between(first: Sample, last: Sample) -> dict[str, Used]:
    """What was used from one sample to another, by pool."""
    return {pool: _less(used, first.used.get(pool, NOTHING)) for pool, used in last.used.items()}


def _plus(used: Used, more: Used) -> Used:
    (n, i, c, o), (n1, i1, c1, o1) = used, more
    return n + n1, i + i1, c + c1, o + o1


def _less(used: Used, before: Used) -> Used:
    (n, i, c, o), (n0, i0, c0, o0) = used, before
    return n - n0, i - i0, c - c0, o - o0


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
