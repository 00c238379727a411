"""What a sweep would take: asked before it starts, so that nobody learns it after hours.

    hours = passes over the requests * requests / (requests per second of one worker * workers)

The speed is taken from a sample: the first point of the grid on the first requests of its traffic.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import NamedTuple

from headrace.errors import ConfigError, Fault
from headrace.sim import simulate
from headrace.study.sweep.grid import Grid
from headrace.study.sweep.policies import policy_named
from headrace.study.sweep.traffic import open_traffic
from headrace.study.sweep.variant import point_fleet
from headrace.units import SECONDS_PER_HOUR

SAMPLE_REQUESTS = 2_000
COUNTED_REQUESTS = 50_000  # more are not counted: the estimate then says "at least"
HOURS_PER_DAY = 24.0


class Estimate(NamedTuple):
    """What a sweep would take; `requests` of one point, and whether there are more than were counted."""

    points: int
    requests: int
    more: bool
    requests_per_s: float
    hours: float


def check_size(grid: Grid, max_points: int, workers: int) -> None:
    """Raises ConfigError: the grid has more than `max_points`; it says what it would take."""
    if grid.points > max_points:
        found = estimate(grid, workers)
        least = "at least " if found.more else ""
        said = (
            f"{found.points:,} points, and --max-points is {max_points:,}. At {least}{found.requests:,} requests each "
            f"and {found.requests_per_s:,.0f} requests/s on one of {workers} workers here that takes "
            f"{least}{_duration(found.hours)}. Thin out an axis ({_longest(grid)}), take a piece of the traces "
            f"(traffic.duration_s), or allow it with --max-points {grid.points}"
        )
        raise ConfigError(grid.source, [Fault("grid", said)])


def estimate(grid: Grid, workers: int) -> Estimate:
    """Time a sample of the first point, and multiply."""
    point = grid.point(0)
    fleet = point_fleet(grid, point)
    sample = islice(open_traffic(grid.traffic, fleet, point.load, point.seed), SAMPLE_REQUESTS)
    started_s = time.perf_counter()
    metrics = simulate(fleet, sample, policy_named(point.policy), point.seed).metrics
    simulated = sum(totals.arrived for totals in metrics.classes.values())
    speed = max(simulated, 1) / (time.perf_counter() - started_s)
    opened = open_traffic(grid.traffic, fleet, point.load, point.seed)
    requests = sum(1 for _ in islice(opened, COUNTED_REQUESTS + 1))
    passes = grid.points + grid.groups
    hours = passes * requests / (speed * workers) / SECONDS_PER_HOUR
    return Estimate(grid.points, min(requests, COUNTED_REQUESTS), requests > COUNTED_REQUESTS, speed, hours)


def _duration(hours: float) -> str:
    if hours >= 2 * HOURS_PER_DAY:
        return f"{hours / HOURS_PER_DAY:,.0f} days"
    return f"{hours:.1f} hours" if hours >= 1.0 else f"{hours * 60:.0f} minutes"


def _longest(grid: Grid) -> str:
    lengths = {name: len(getattr(grid, name)) for name in ("fleets", "loads", "seeds", "policies", "shares")}
    lengths |= {axis.name: len(axis.values) for axis in grid.axes}
    name = max(lengths, key=lambda each: lengths[each])
    return f"{name} has {lengths[name]:,} values"
