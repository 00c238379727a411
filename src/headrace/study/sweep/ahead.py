"""What can be known of a grid's traffic before hours are spent on it."""

from __future__ import annotations

from headrace.errors import ConfigError, Fault
from headrace.study.sampling import sample_notes
from headrace.study.sweep.grid import Grid
from headrace.study.sweep.variant import sampled_fleet
from headrace.traces import check_ahead

SETTING_OF = {"rate": "rate_per_s"}  # what a grid calls an option of traces


def check_traffic(grid: Grid) -> list[str]:
    """Read the beginning of every trace as it will be read; returns what there is to say of it, and of a sample.

    Raises:
        ConfigError: a setting does not fit its trace: one without a clock needs a rate.
        TraceError: a trace is broken near its beginning.
    """
    traffic = grid.traffic
    if not traffic.traces:
        return []
    notes = []
    for number in range(len(grid.fleets)) if traffic.sample < 1.0 else ():
        point = grid.point(number * (grid.points // len(grid.fleets)))
        notes += sample_notes(traffic.sample, sampled_fleet(grid, point)[1])
    try:
        return [*dict.fromkeys(notes), *check_ahead(dict(traffic.traces), traffic.recorded(grid.seeds[0]))]
    except ConfigError as error:
        said = [Fault(f"traffic.{SETTING_OF.get(each.path, each.path)}", each.message) for each in error.faults]
        raise ConfigError(grid.source, said) from error
