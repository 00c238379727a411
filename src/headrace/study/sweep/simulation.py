"""What a worker does: simulate a point, or judge a group of them. Pure functions of the grid, so any machine may.

A group is judged once all of its points are done, in one pass over its requests: the baseline (the same pricing policy,
confined to the pools outside the share's) is simulated once, and hindsight is asked once for each point's share.

    value captured = J(baseline) - J(point)          regret = 1 - value captured / V*(the larger of target and realized)

Values per hour are over the hour of the baseline. Traffic with sessions has no V* (`plan.hindsight`).

An error comes back as words: exceptions do not cross process borders whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from headrace.cost import capacity_cost_usd
from headrace.errors import HeadraceError
from headrace.fleet import Fleet
from headrace.metrics import PolicyReport, Report
from headrace.plan import Hindsight
from headrace.policy import GPU_ONLY
from headrace.sim import simulate
from headrace.study.compare import run_facts
from headrace.study.sweep.grid import Grid, Point
from headrace.study.sweep.policies import policy_named
from headrace.study.sweep.traffic import open_traffic, watched
from headrace.study.sweep.variant import group_fleet, point_fleet
from headrace.units import SECONDS_PER_HOUR
from headrace.workload import Request

COMMAND = "study sweep"


class PointResult(msgspec.Struct, frozen=True, tag="point"):
    """A simulated point.

    Attributes:
        duration_s: time of the last arrival: what figures per hour are divided by.
        j_usd: sum of marginal cost + value of time * E2E.
        attempts_usd: marginal cost of all attempts; `capacity_usd_per_h`: what is paid by the hour, used or not.
        steered: name of the share that is steered; None: the fleet steers none.
    """

    number: int
    duration_s: float
    j_usd: float
    attempts_usd: float
    capacity_usd_per_h: float
    steered: str | None
    report: Report


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    """What the points of a group are compared with.

    Attributes:
        baseline_j_usd: J of the baseline.
        duration_s: time of its last arrival. In closed loop each point has its own; what is compared needs one hour.
        hindsight_usd: the best value at each share asked for, in that order.
    """

    group: int
    baseline_j_usd: float
    duration_s: float
    hindsight_usd: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do: a point, or (`point` None) to judge `group` at these shares of work."""

    group: int
    point: int | None
    shares: tuple[float, ...] = ()

    @property
    def order(self) -> tuple[int, int]:
        """By group, its judging first, then points by number."""
        return self.group, -1 if self.point is None else self.point


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it: a result or the words of an error, the requests simulated, and how long it took."""

    work: Work
    result: PointResult | Judged | None
    error: str | None
    requests: int
    wall_s: float


def do(grid: Grid, work: Work) -> Done:
    """Do one piece of work; never raises for what is wrong with it."""
    started_s = time.perf_counter()
    result: PointResult | Judged | None = None
    error, requests = None, 0
    try:
        if work.point is None:
            result, requests = judge(grid, work.group, work.shares)
        else:
            result = simulate_point(grid, grid.point(work.point))
            requests = result.report.requests.arrived
    except HeadraceError as fault:
        error = f"{type(fault).__name__}: {fault}"
    return Done(work, result, error, requests, time.perf_counter() - started_s)


def simulate_point(grid: Grid, point: Point) -> PointResult:
    """Simulate one point. Raises HeadraceError: its fleet or traffic has faults, or a law of the system was broken."""
    fleet = point_fleet(grid, point)
    result = simulate(fleet, _requests(grid, fleet, point), policy_named(point.policy), point.seed)
    steered = group_fleet(grid, point).steered_share()
    return PointResult(
        number=point.number,
        duration_s=result.last_arrival_s,
        j_usd=result.metrics.j_usd,
        attempts_usd=sum(pool.cost_usd for pool in result.metrics.pools.values()),
        capacity_usd_per_h=sum(capacity_cost_usd(pool, SECONDS_PER_HOUR) for pool in fleet.pools.values()),
        steered=None if steered is None else steered.name,
        report=result.metrics.finish(run_facts(fleet, result, COMMAND, point.seed, PolicyReport())),
    )


def judge(grid: Grid, group: int, shares: tuple[float, ...]) -> tuple[Judged, int]:
    """Simulate the baseline of a group and ask hindsight at each share; also how many requests that were."""
    point = grid.point(grid.members(group).start)
    fleet = group_fleet(grid, point)
    hindsight = Hindsight(fleet)
    requests = watched(_requests(grid, fleet, point), hindsight.add)
    result = simulate(fleet, requests, GPU_ONLY, point.seed)
    arrived = sum(totals.arrived for totals in result.metrics.classes.values())
    best = tuple(map(hindsight.value_at_usd, shares))
    return Judged(group, result.metrics.j_usd, result.last_arrival_s, best), arrived


def judged_shares(grid: Grid, results: list[PointResult]) -> tuple[float, ...]:
    """The share at which hindsight answers each point: the larger of its target and what it realized."""
    shares = []
    for result in results:
        realized = None if result.steered is None else result.report.shares[result.steered].realized
        shares.append(max(grid.point(result.number).share or 0.0, realized or 0.0))
    return tuple(shares)


def _requests(grid: Grid, fleet: Fleet, point: Point) -> Iterator[Request]:
    return open_traffic(grid.traffic, fleet, point.load, point.seed)
