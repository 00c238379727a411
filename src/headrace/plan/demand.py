"""Demand, by length bucket and hour of the cycle: as stated, from a trace, or from a generator.

A trace is cut where its quantiles are: `buckets` parts of equal weight by input, each of them by output. A bucket
stands for the mean of its requests, so tokens are conserved. A trace that covers less than the cycle says nothing of
the other hours: they get the mean of those that it covers. With a wall clock the cycle's hours are those of the week
(UTC, Monday first); without one, its first second is the first of the cycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headrace.errors import ConfigError, Fault
from headrace.fleet.scenario import GeneratedDemand, Horizon, PlannedClass, StatedDemand, TraceDemand
from headrace.plan.queueing import Array
from headrace.traces import open_trace
from headrace.units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from headrace.workload import GENERATED, ClassTraffic, Request, generate

HOURS_PER_DAY = 24
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Profile:
    """What one class asks for at the start of the horizon.

    Attributes:
        input_tokens, output_tokens: of each bucket.
        rate_per_s: (buckets, hours of the cycle).
    """

    input_tokens: Array
    output_tokens: Array
    rate_per_s: Array

    @property
    def requests_per_day(self) -> float:
        """Mean over the cycle."""
        return float(self.rate_per_s.mean(axis=1).sum()) * SECONDS_PER_DAY

    def scaled(self, factor: float) -> Profile:
        """The same at another rate."""
        return Profile(self.input_tokens, self.output_tokens, self.rate_per_s * factor)


def profile(planned: PlannedClass, horizon: Horizon) -> Profile:
    """The demand of a class.

    Raises:
        ConfigError: a trace or a generator gives no request.
        TraceError: a trace cannot be read.
    """
    hours = horizon.days_in_cycle * HOURS_PER_DAY
    demand = planned.demand
    if isinstance(demand, StatedDemand):
        return _stated(demand, hours)
    found = _of_trace(planned.name, demand, hours) if isinstance(demand, TraceDemand) else _generated(demand, hours)
    wanted = demand.requests_per_day
    return found if wanted is None else found.scaled(wanted / found.requests_per_day)


def _stated(demand: StatedDemand, hours: int) -> Profile:
    shape = np.resize(np.array(demand.profile), hours)
    fractions = np.array([bucket.fraction for bucket in demand.buckets])
    rate = demand.requests_per_day / SECONDS_PER_DAY * np.outer(fractions, shape / shape.mean())
    inputs = np.array([bucket.input_tokens for bucket in demand.buckets])
    return Profile(inputs, np.array([bucket.output_tokens for bucket in demand.buckets]), rate)


def _of_trace(name: str, demand: TraceDemand, hours: int) -> Profile:
    trace = open_trace(demand.path, name)
    start_ns = trace.t0_ns()
    start_s = 0.0 if start_ns is None else start_ns / NS_PER_S + EPOCH_WEEKDAY * SECONDS_PER_DAY
    return _cut(_table(trace.requests(), demand.path), start_s, demand.buckets, hours)


def _generated(demand: GeneratedDemand, hours: int) -> Profile:
    traffic = ClassTraffic(demand.generator, GENERATED[demand.generator])
    requests = generate([traffic], demand.duration_s, demand.seed)
    return _cut(_table(requests, f"generator {demand.generator}"), 0.0, demand.buckets, hours)


def _table(requests: Iterable[Request], source: str) -> Array:
    """Rows of (arrival, input, output)."""
    rows = [(one.arrival_s, max(one.input_tokens, 1), max(one.output_tokens, 1)) for one in requests]
    if not rows:
        raise ConfigError(source, [Fault("demand", "gives no request; a plan needs some")])
    return np.array(rows, dtype=float)


def _cut(table: Array, start_s: float, buckets: tuple[int, int], hours: int) -> Profile:
    arrival_s, inputs, outputs = table.T
    of_bucket = _buckets(inputs, outputs, buckets)
    names, of_bucket = np.unique(of_bucket, return_inverse=True)
    counts = np.bincount(of_bucket).astype(float)
    of_hour = ((start_s + arrival_s) // SECONDS_PER_HOUR).astype(int) % hours
    rate = np.zeros((len(names), hours))
    np.add.at(rate, (of_bucket, of_hour), 1.0)
    covered_s = _covered_s(start_s, start_s + float(arrival_s[-1]), hours)
    seen = covered_s > 0.0
    rate[:, seen] /= covered_s[seen]
    rate[:, ~seen] = (counts / covered_s.sum())[:, None]
    means = [np.bincount(of_bucket, weights=column) / counts for column in (inputs, outputs)]
    return Profile(means[0], means[1], rate)


def _buckets(inputs: Array, outputs: Array, buckets: tuple[int, int]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The number of each request's bucket: by rank of input, and within that by rank of output."""
    first = _ranked(inputs, buckets[0])
    found = np.zeros(len(inputs), dtype=np.intp)
    for part in range(buckets[0]):
        chosen = np.flatnonzero(first == part)
        found[chosen] = part * buckets[1] + _ranked(outputs[chosen], buckets[1])
    return found


def _ranked(values: Array, parts: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Which of `parts` equally large parts each value is in; equal values stay together."""
    order = np.searchsorted(np.sort(values), values, side="left")
    return np.minimum(order * parts // max(1, len(values)), parts - 1).astype(np.intp)


def _covered_s(start_s: float, end_s: float, hours: int) -> Array:
    """Seconds of each hour of the cycle that lie in [start, end]; a second at least, for a single request."""
    end_s = max(end_s, start_s + 1.0)
    covered = np.zeros(hours)
    first, last = int(start_s // SECONDS_PER_HOUR), int(end_s // SECONDS_PER_HOUR)
    for hour in range(first, last + 1):
        begin, stop = hour * SECONDS_PER_HOUR, (hour + 1) * SECONDS_PER_HOUR
        covered[hour % hours] += max(0.0, min(end_s, stop) - max(start_s, begin))
    return covered
