"""The fleet of a point: the file with its numbers changed, checked again as a whole.

**What a share of 0 means.** A share is an equality, and a fleet file's target lies in (0, 1). At 0 the silicon of the
share is not there: its pools are taken off the fleet and every route, so nothing is sent to them *and nothing is paid
for them*. The share stays, of no pools, and is only measured: its realized value is 0. What then chooses by prices does
exactly what the baseline does, so its value captured is 0 to the last bit.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace

from headrace.config.build import build_fleet
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet, Share, ThinnedPool, thinned
from headrace.fleet.catalog import close_matches
from headrace.study.sweep.grid import Axis, FleetSource, Grid, Point
from headrace.study.sweep.numbers import Document, Number, matching, numbers, with_numbers, with_setting


def point_fleet(grid: Grid, point: Point) -> Fleet:
    """The fleet that a point runs on, its target included.

    Raises:
        ConfigError: the file has faults with these numbers, or steers no share although the point has a target.
    """
    fleet = group_fleet(grid, point)
    if point.share is None:
        return fleet
    share = fleet.steered_share()
    if share is None:
        raise ConfigError(grid.fleets[point.fleet].name, [Fault("shares", "none is steered; there is no target")])
    if point.share == 0.0:
        return without_share(fleet, share)
    return replace(fleet, shares={**fleet.shares, share.name: replace(share, target=point.share)})


def group_fleet(grid: Grid, point: Point) -> Fleet:
    """The fleet that the points of a group share, with the file's own target. Raises ConfigError: it has faults."""
    return sampled_fleet(grid, point)[0]


def sampled_fleet(grid: Grid, point: Point) -> tuple[Fleet, tuple[ThinnedPool, ...]]:
    """As `group_fleet`, and what became of its pools where the traffic is a sample."""
    source, sample = grid.fleets[point.fleet], grid.traffic.sample
    fleet = varied_fleet(source, dict(zip(grid.axes, point.settings, strict=True)))
    return thinned(fleet, sample) if sample < 1.0 else (fleet, ())


def varied_fleet(source: FleetSource, values: dict[Axis, float]) -> Fleet:
    """The fleet of a file with each axis at a value. Raises ConfigError: it has faults with these numbers."""
    document = tomllib.loads(source.text)
    for axis, value in values.items():
        document = changed(document, axis, value)
    return build_fleet(document, source.name, source.folder)


def changed(document: Document, axis: Axis, value: Number) -> Document:
    """The document with an axis at a value; unchanged where it has no such number."""
    paths = matching(document, axis.pattern)
    if axis.kind == "set":
        added = None if paths else with_setting(document, axis.pattern, value)
        return added or with_numbers(document, dict.fromkeys(paths, value))
    found = numbers(document)
    return with_numbers(document, {path: _times(found[path], value) for path in paths})


def axis_faults(source: FleetSource, axis: Axis) -> list[Fault]:
    """Why an axis does not fit a fleet file: it names no number of it, or what only the grid may set."""
    document = tomllib.loads(source.text)
    paths = matching(document, axis.pattern)
    targets = [path for path in paths if path.startswith("shares.") and path.endswith(".target")]
    if targets:
        return [Fault(axis.name, f"{targets[0]} is varied by `shares`, not here")]
    if paths or (axis.kind == "set" and with_setting(document, axis.pattern, axis.values[0]) is not None):
        return []
    advice = close_matches(axis.pattern, numbers(document))
    return [Fault(axis.name, f"{source.name} has no number there; {advice if 'did you' in advice else 'see its file'}")]


def without_share(fleet: Fleet, share: Share) -> Fleet:
    """The fleet without a share's pools, the share measured still: see the top of the module."""
    gone = set(share.pools)

    def left(pools: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in pools if name not in gone)

    shares = {name: replace(each, pools=left(each.pools)) for name, each in fleet.shares.items()}
    shares[share.name] = replace(shares[share.name], target=0.0, report_only=True)
    return replace(
        fleet,
        pools={name: pool for name, pool in fleet.pools.items() if name not in gone},
        routes=tuple(replace(route, pools=left(route.pools)) for route in fleet.routes),
        shares=shares,
    )


def _times(number: Number, factor: Number) -> Number:
    """A product that stays a whole number where both the number and the product are."""
    product = number * factor
    return int(product) if isinstance(number, int) and product == int(product) else product
