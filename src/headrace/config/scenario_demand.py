"""From the tables of a class's demand to its objects; log-normal lengths become buckets here.

A log-normal law is cut where its quantiles are, so that every bucket has equal weight, and a bucket stands for its
mean: tokens are conserved. With mu = ln median, the mean between quantiles a and b of n buckets is

    n exp(mu + sigma^2 / 2) [Phi(sigma - z_a) - Phi(sigma - z_b)],   z = Phi^-1 of the quantile.
"""

from __future__ import annotations

from itertools import pairwise
from math import exp, isclose
from pathlib import Path
from statistics import NormalDist

from headrace.config.faults import Faults
from headrace.config.scenario_tables import GeneratorTable, LogNormalTable, StatedTable, TraceTable
from headrace.fleet.catalog import close_matches
from headrace.fleet.scenario import Demand, GeneratedDemand, LengthBucket, StatedDemand, TraceDemand
from headrace.workload import GENERATED

HOURS_PER_DAY, WORKDAYS, DAYS = 24, 5, 7
PROFILE_LENGTHS = (1, HOURS_PER_DAY, DAYS * HOURS_PER_DAY)
TRACE_BUCKETS = (5, 5)  # of input, of output, where the command line names a trace for a class that states its demand
DemandTable = StatedTable | LogNormalTable | TraceTable | GeneratorTable


def demand(table: DemandTable, trace: str | None, folder: Path, path: str, faults: Faults) -> Demand | None:
    """What the class asks for; None when a fault was noted.

    Args:
        trace: a file that the command line names: its shape replaces what the table says, the table's rate stays.
        folder: files that the table names are relative to it.
    """
    if trace is not None:
        buckets = TRACE_BUCKETS if isinstance(table, StatedTable) else table.buckets
        return TraceDemand(trace, buckets, table.requests_per_day)
    match table:
        case TraceTable():
            return _trace(table, folder, path, faults)
        case GeneratorTable():
            return _generated(table, path, faults)
        case LogNormalTable():
            return _stated(_cut(table), table, path, faults)
        case StatedTable():
            return _stated(_given(table, path, faults), table, path, faults)


def _trace(table: TraceTable, folder: Path, path: str, faults: Faults) -> Demand | None:
    if table.path is None:
        faults.add(f"{path}.path", "missing; give it here, or on the command line with --demand CLASS=PATH")
        return None
    return TraceDemand(str(folder / table.path), table.buckets, table.requests_per_day)


def _generated(table: GeneratorTable, path: str, faults: Faults) -> Demand | None:
    if table.generator not in GENERATED:
        advice = close_matches(table.generator, GENERATED)
        faults.add(f"{path}.generator", f"no generator {table.generator!r}; {advice}")
        return None
    return GeneratedDemand(table.generator, table.buckets, table.duration_s, table.seed, table.requests_per_day)


def _stated(
    buckets: tuple[LengthBucket, ...], table: StatedTable | LogNormalTable, path: str, faults: Faults
) -> Demand | None:
    profile = tuple(table.profile)
    if len(profile) not in PROFILE_LENGTHS:
        faults.add(f"{path}.profile", f"has {len(profile)} hours; give 1, 24 (a day) or 168 (a week from Monday on)")
        return None
    if not any(profile):
        faults.add(f"{path}.profile", "is zero in every hour; no request would come")
        return None
    if table.weekend != 1.0:
        if len(profile) == PROFILE_LENGTHS[-1]:
            faults.add(f"{path}.weekend", "the profile has Saturday and Sunday already; remove it")
            return None
        day = profile * (HOURS_PER_DAY // len(profile))
        profile = day * WORKDAYS + tuple(rate * table.weekend for rate in day) * (DAYS - WORKDAYS)
    return StatedDemand(buckets, table.requests_per_day, profile)


def _given(table: StatedTable, path: str, faults: Faults) -> tuple[LengthBucket, ...]:
    if not table.buckets:
        faults.add(f"{path}.buckets", "is empty; give at least one, e.g. { input_tokens = 900, ... , fraction = 1 }")
    total = sum(one.fraction for one in table.buckets)
    if table.buckets and not isclose(total, 1.0, abs_tol=1e-6):
        faults.add(f"{path}.buckets", f"their fractions add up to {total:.6g}; they must add up to 1")
    return tuple(LengthBucket(one.input_tokens, one.output_tokens, one.fraction) for one in table.buckets)


def _cut(table: LogNormalTable) -> tuple[LengthBucket, ...]:
    inputs = lognormal_means(table.input_median, table.input_sigma, table.buckets[0])
    outputs = lognormal_means(table.output_median, table.output_sigma, table.buckets[1])
    fraction = 1.0 / (len(inputs) * len(outputs))
    return tuple(LengthBucket(one, other, fraction) for one in inputs for other in outputs)


def lognormal_means(median: float, sigma: float, buckets: int) -> tuple[float, ...]:
    """Means of `buckets` parts of equal weight of a log-normal law, at least one token each."""
    if sigma == 0.0:
        return (median,) * buckets
    normal = NormalDist()
    cuts = [normal.inv_cdf(k / buckets) for k in range(1, buckets)]
    below = [1.0, *(normal.cdf(sigma - z) for z in cuts), 0.0]
    mean = median * exp(sigma**2 / 2.0)
    return tuple(max(1.0, buckets * mean * (high - low)) for high, low in pairwise(below))
