"""The grid of a sweep: what is varied, and which points that makes.

    points = fleets x settings x loads x seeds x (policies x shares + references)

A *policy* follows the share, so it is simulated at every target. A *reference* takes no notice of it (all on GPUs, all
on fast silicon, round robin), so it is simulated once. All points that differ in policy and share only form a *group*:
they see the same requests on the same fleet, and are compared with one baseline and one hindsight.

Points are numbered in the order of the product, the last factor fastest. A point is worked out from its number, so a
grid of any size takes no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import msgspec

from headrace.traces import TraceOptions


@dataclass(frozen=True, slots=True)
class FleetSource:
    """A fleet file as it was read: workers need no file, and a change while a sweep runs changes nothing.

    Attributes:
        name: what tables and charts call it.
        folder: calibration files are relative to it.
    """

    name: str
    text: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Axis:
    """A number of the fleet file that is varied: `set` to each value, or multiplied by it (`times`)."""

    kind: str
    pattern: str
    values: tuple[int | float, ...]

    @property
    def name(self) -> str:
        """Name of its column."""
        return f"{self.kind}.{self.pattern}"


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """Which requests; see `TrafficTable` for what the settings mean.

    Attributes:
        traces: (class, path), paths as they can be opened; empty: traffic is generated.
    """

    traces: tuple[tuple[str, str], ...] = ()
    format: str | None = None
    skip_bad_lines: int = 0
    speedup: float = 1.0
    start_s: float = 0.0
    duration_s: float | None = None
    sample: float = 1.0
    rate_per_s: float | None = None
    block_tokens: int | None = None
    resample_block_s: float | None = None
    resample_tasks: bool = False
    generate_s: float | None = None

    def options(self, load: float, seed: int) -> TraceOptions:
        """How the traces are read."""
        return replace(self.recorded(seed), load=load, redraw=self.resample_tasks)

    def recorded(self, seed: int) -> TraceOptions:
        """The same without a load, and with tasks as they were recorded."""
        return TraceOptions(
            format=self.format,
            skip_bad_lines=self.skip_bad_lines,
            speedup=self.speedup,
            start_s=self.start_s,
            duration_s=self.duration_s,
            sample=self.sample,
            rate_per_s=self.rate_per_s,
            block_tokens=self.block_tokens,
            seed=seed,
        )


class Point(msgspec.Struct, frozen=True):
    """One simulation.

    Attributes:
        number: its place in the product, from 0; its id.
        group: number of the group whose requests and fleet it shares.
        settings: value of each axis, in the order of the grid.
        share: target of the steered share, 0 to below 1; None for a reference, which takes no notice of it.
    """

    number: int
    group: int
    fleet: int
    settings: tuple[float, ...]
    load: float
    seed: int
    policy: str
    share: float | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Everything that decides the results of a sweep."""

    source: str
    title: str
    fleets: tuple[FleetSource, ...]
    axes: tuple[Axis, ...]
    loads: tuple[float, ...]
    seeds: tuple[int, ...]
    policies: tuple[str, ...]
    shares: tuple[float, ...]
    references: tuple[str, ...]
    traffic: TrafficSettings

    @property
    def group_size(self) -> int:
        """Points of one group."""
        return len(self.policies) * len(self.shares) + len(self.references)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        settings = prod(len(axis.values) for axis in self.axes)
        return len(self.fleets) * settings * len(self.loads) * len(self.seeds)

    @property
    def points(self) -> int:
        """How many points there are."""
        return self.groups * self.group_size

    def point(self, number: int) -> Point:
        """The point of this number, 0 to `points` - 1."""
        group, member = divmod(number, self.group_size)
        rest, seed = divmod(group, len(self.seeds))
        rest, load = divmod(rest, len(self.loads))
        settings: list[float] = []
        for axis in reversed(self.axes):
            rest, value = divmod(rest, len(axis.values))
            settings.insert(0, axis.values[value])
        policy, share = self._member(member)
        return Point(number, group, rest, tuple(settings), self.loads[load], self.seeds[seed], policy, share)

    def members(self, group: int) -> range:
        """Numbers of a group's points."""
        return range(group * self.group_size, (group + 1) * self.group_size)

    def said(self, point: Point) -> str:
        """The point in words, for messages."""
        axes = [f"{axis.name} = {value:g}" for axis, value in zip(self.axes, point.settings, strict=True)]
        share = [] if point.share is None else [f"share {point.share:g}"]
        words = [self.fleets[point.fleet].name, point.policy, *share, f"load {point.load:g}", f"seed {point.seed}"]
        return f"point {point.number} ({', '.join([*words, *axes])})"

    def _member(self, member: int) -> tuple[str, float | None]:
        steered = len(self.policies) * len(self.shares)
        if member >= steered:
            return self.references[member - steered], None
        policy, share = divmod(member, len(self.shares))
        return self.policies[policy], self.shares[share]
