"""What is said of a sweep beside its figures: what it was about, and where the next percent stops paying."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.fleet import Fleet
from headrace.study.sweep.curves import Curves
from headrace.study.sweep.grid import Grid, TrafficSettings
from headrace.study.sweep.page import About
from headrace.study.sweep.rows import Row
from headrace.study.sweep.variant import group_fleet


def about(grid: Grid) -> About:
    """What the page of a grid says of it; classes and share are those of its first fleet."""
    fleet = group_fleet(grid, grid.point(0))
    values = {name: each.value_of_time_usd_per_s for name, each in fleet.classes.items()}
    fixed = not any(axis.pattern.endswith("value_of_time_usd_per_s") for axis in grid.axes)
    used = {name for name, _ in grid.traffic.traces} or set(values)
    return About(
        title=grid.title,
        share=_share(fleet),
        traffic=_traffic(grid.traffic),
        values_of_time={name: usd for name, usd in values.items() if fixed and name in used},
    )


def payoffs(found: Sequence[Row]) -> list[dict[str, object]]:
    """For each case, load and policy: the best share, its value, and the share until which the next percent pays."""
    curves = Curves(found)
    told: list[dict[str, object]] = []
    for case in curves.cases:
        for load in curves.loads:
            for policy in curves.policies:
                payoff = curves.payoff(case, load, policy)
                if payoff is not None:
                    stops = payoff.stops
                    told.append(
                        {
                            **dict(case),
                            "load": load,
                            "policy": policy,
                            "best_share": payoff.best_share,
                            curves.worth.value: payoff.best.mean,
                            "pays_until_share": payoff.pays_until,
                            f"then_usd_per_{curves.worth.unit.removeprefix('USD/')}_per_point": None
                            if stops is None
                            else stops.band.mean,
                        }
                    )
    return told


def _share(fleet: Fleet) -> str | None:
    share = fleet.steered_share()
    return None if share is None else f"{share.of.value} on {', '.join(share.pools)}"


def _traffic(traffic: TrafficSettings) -> str:
    if not traffic.traces:
        return f"{traffic.generate_s:g} s of generated traffic"
    names = ", ".join(f"{name} from {Path(path).name}" for name, path in traffic.traces)
    if traffic.sample < 1.0:
        names += f", a sample of {100.0 * traffic.sample:g} % (and of every pool)"
    if traffic.resample_tasks:
        return f"{names}, whole tasks drawn with replacement; a turn comes when the one before was answered"
    if traffic.resample_block_s is None:
        return f"{names}, as recorded"
    return f"{names}, blocks of {traffic.resample_block_s:g} s in random order"
