"""Read a grid file: strict like the fleet file, every fault at once with its path and what to do."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.config import parse_fleet, sample_fleet_text
from headrace.config.document import Count, NotNegative, NotNegativeCount, Positive, Table, Text
from headrace.config.faults import Faults
from headrace.config.fleet_file import SAMPLE
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.fleet.catalog import close_matches
from headrace.study.sweep.grid import Axis, FleetSource, Grid, TrafficSettings
from headrace.study.sweep.policies import known_policies, sees_no_share
from headrace.study.sweep.variant import axis_faults, varied_fleet
from headrace.traces import FORMATS, recognise
from headrace.traces.named import named_traces

SCHEMA = 1
GENERATED_S = 600.0  # length of generated traffic where the grid says nothing


class TrafficTable(Table, frozen=True, kw_only=True):
    """`[traffic]`: traces and a piece of them, as `headrace simulate` takes them, or generated traffic.

    Attributes:
        traces: `CLASS=PATH` each, relative to the grid file.
        format, skip_bad_lines, speedup, start_s, duration_s: as the options of `headrace simulate`.
        sample, rate_per_s: as `--sample` and `--rate` there: a sample of the fleet, too; starts without a clock.
        block_tokens: blocks of prompts are put together to this size.
        resample_block_s: every seed plays blocks of this length in a random order of its own; see `traffic`.
        resample_tasks: every seed plays whole tasks, drawn with replacement.
        generate_s: seconds of generated traffic; instead of traces.
    """

    traces: tuple[Text, ...] = ()
    format: Text | None = None
    skip_bad_lines: NotNegativeCount = 0
    speedup: Positive = 1.0
    start_s: NotNegative = 0.0
    duration_s: Positive | None = None
    sample: Annotated[float, Meta(gt=0, le=1)] = 1.0
    rate_per_s: Positive | None = None
    block_tokens: Count | None = None
    resample_block_s: Positive | None = None
    resample_tasks: bool = False
    generate_s: Positive | None = None


class GridTable(Table, frozen=True, kw_only=True):
    """The grid file.

    Attributes:
        title: of the page.
        fleets: fleet files, relative to the grid file; none: the sample fleet.
        policies: simulated at every share; `references`: once each, for they take no notice of it.
        shares: targets of the steered share; 0: without its pools.
        loads: multiply the rate of arrivals.
        set, times: a number of the fleet file, or a pattern of them, and its values or factors.
    """

    schema: Count
    title: Text | None = None
    fleets: tuple[Text, ...] = ()
    policies: tuple[Text, ...] = ()
    references: tuple[Text, ...] = ()
    shares: tuple[NotNegative, ...] = ()
    loads: tuple[Positive, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    traffic: TrafficTable = TrafficTable()
    set: dict[str, tuple[int | float, ...]] = msgspec.field(default_factory=dict)
    times: dict[str, tuple[Positive, ...]] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceOverride:
    """Traces named on the command line: they take the place of the grid's, relative to the present directory."""

    options: tuple[str, ...] = ()


def load_grid(path: Path, override: TraceOverride | None = None) -> Grid:
    """The grid that a file describes.

    Raises:
        ConfigError: the file, or a fleet or trace that it names, cannot be read or has faults; it carries all of them.
    """
    source, folder = str(path), path.parent
    table, faults = _table(source, _read(path))
    fleets = _fleets(table, folder, faults)
    _check_lists(table, faults)
    _check_policies(table, faults)
    traffic = _traffic(table.traffic, folder, override, [fleet for _, fleet in fleets], faults)
    axes = _axes(table, [source for source, _ in fleets], faults)
    _check_shares(table, [(each.name, fleet) for each, fleet in fleets], faults)
    if len(faults):
        raise ConfigError(source, faults.all())
    return Grid(
        source=path.name,
        title=table.title or f"What a share of the traffic is worth on other silicon: {path.stem}",
        fleets=tuple(each for each, _ in fleets),
        axes=axes,
        loads=table.loads,
        seeds=table.seeds,
        policies=table.policies,
        shares=table.shares,
        references=table.references,
        traffic=traffic,
    )


def check_values(grid: Grid) -> None:
    """Build the fleets with every value of every axis, one at a time. Raises ConfigError: some have faults."""
    faults = []
    for source in grid.fleets:
        for axis in grid.axes:
            for value in axis.values:
                try:
                    varied_fleet(source, {axis: value})
                except ConfigError as error:
                    faults += [Fault(f"{axis.name} = {value:g}", f"{source.name}: {each}") for each in error.faults]
    if faults:
        raise ConfigError(grid.source, list(dict.fromkeys(faults)))


def _read(path: Path) -> dict[str, Any]:
    source = str(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(source, [Fault("file", f"cannot be read: {reason}; check the path")]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(source, [Fault("syntax", f"not valid TOML: {error}")]) from error


def _table(source: str, raw: dict[str, Any]) -> tuple[GridTable, Faults]:
    """The typed table; a fault of its form ends the reading, for nothing else could be checked."""
    faults = Faults()
    table = faults.table(raw, GridTable, "")
    if table is not None and table.schema != SCHEMA:
        faults.add("schema", f"{table.schema} is not supported; this version reads schema = {SCHEMA}")
    if table is None or len(faults):
        raise ConfigError(source, faults.all())
    return table, faults


def _fleets(table: GridTable, folder: Path, faults: Faults) -> list[tuple[FleetSource, Fleet]]:
    found = []
    for name in table.fleets or (SAMPLE,):
        file = folder / name
        try:
            text = file.read_text(encoding="utf-8") if table.fleets else sample_fleet_text()
            source = FleetSource(name, text, file.parent)
            found.append((source, parse_fleet(text, name, file.parent)))
        except OSError as error:
            faults.add("fleets", f"{name} cannot be read: {error.strerror or error}; paths start at the grid file")
        except ConfigError as error:
            for fault in error.faults:
                faults.add("fleets", f"{name}: {fault}")
    return found


def _check_lists(table: GridTable, faults: Faults) -> None:
    """Nothing twice: a point would be simulated twice. Nothing empty: there would be no points."""
    lists: dict[str, Sequence[object]] = {
        name: getattr(table, name) for name in ("fleets", "policies", "references", "shares", "loads", "seeds")
    }
    for kind, axes in (("set", table.set), ("times", table.times)):
        lists |= {f"{kind}.{path}": values for path, values in axes.items()}
    for name, values in lists.items():
        for value in _twice(values):
            faults.add(name, f"{value!r} appears twice; remove one")
        for value in values:
            if isinstance(value, float) and not isfinite(value):
                faults.add(name, f"{value} is not a finite number")
        if not values and name not in ("fleets", "policies", "references", "shares"):
            faults.add(name, "is empty; give at least one value, or leave it out")


def _check_policies(table: GridTable, faults: Faults) -> None:
    known = known_policies()
    if not table.policies and not table.references:
        faults.add("policies", f"none, and no references either; known: {', '.join(known)}")
    for path, names in (("policies", table.policies), ("references", table.references)):
        for name in names:
            if name not in known:
                faults.add(path, f"no policy {name!r}; {close_matches(name, known)}")
            elif path == "policies" and sees_no_share(name):
                faults.add(path, f"{name!r} takes no notice of the share: list it under references")
            elif path == "references" and name in table.policies:
                faults.add(path, f"{name!r} is under policies too; remove one")


def _check_shares(table: GridTable, fleets: Iterable[tuple[str, Fleet]], faults: Faults) -> None:
    for share in table.shares:
        if share >= 1.0:
            faults.add("shares", f"{share:g} lies outside [0, 1); 0.1 means ten percent")
    if table.policies and not table.shares:
        faults.add("shares", "missing; policies need targets, for instance [0, 0.1]. Without, list them as references")
    for name, fleet in fleets:
        if table.shares and fleet.steered_share() is None:
            faults.add("shares", f"{name} steers no share: add one to it, or leave shares and policies out")


def _axes(table: GridTable, fleets: Sequence[FleetSource], faults: Faults) -> tuple[Axis, ...]:
    axes = [Axis("set", pattern, values) for pattern, values in table.set.items() if values]
    axes += [Axis("times", pattern, values) for pattern, values in table.times.items() if values]
    for fleet in fleets:
        for axis in axes:
            for fault in axis_faults(fleet, axis):
                faults.add(fault.path, fault.message)
    return tuple(axes)


def _traffic(
    table: TrafficTable, folder: Path, override: TraceOverride | None, fleets: Sequence[Fleet], faults: Faults
) -> TrafficSettings:
    options, where, base = table.traces, "traffic.traces {}", folder
    if override is not None and override.options:
        options, where, base = override.options, "--trace {}", Path()
    classes = [name for name in fleets[0].classes if all(name in fleet.classes for fleet in fleets)] if fleets else []
    named, found = named_traces(options, classes, where)
    for fault in found if fleets else []:
        faults.add(fault.path, fault.message)
    if table.format is not None and table.format not in FORMATS:
        faults.add("traffic.format", f"unknown trace format {table.format!r}; known: {', '.join(FORMATS)}")
    traces = tuple(
        (name, _trace(base / path, where.format(path), table.format, faults)) for name, path in named.items()
    )
    _check_kind(table, bool(options), faults)
    given = msgspec.structs.asdict(table)
    given |= {"traces": traces, "generate_s": None if options else table.generate_s or GENERATED_S}
    return TrafficSettings(**given)


def _check_kind(table: TrafficTable, traces: bool, faults: Faults) -> None:
    """Settings of traces where there are traces, of generated traffic where there are none."""
    if traces and table.generate_s is not None:
        faults.add("traffic.generate_s", "is for generated traffic, and there are traces; remove one of them")
    fresh = "is for traces; generated traffic differs from seed to seed as it is"
    if table.resample_block_s is not None and not traces:
        faults.add("traffic.resample_block_s", fresh)
    if table.resample_tasks and not traces:
        faults.add("traffic.resample_tasks", fresh)
    if table.sample < 1.0 and not traces:
        faults.add("traffic.sample", "is for traces; shorten generate_s instead")
    if table.resample_tasks and table.resample_block_s is not None:
        faults.add("traffic.resample_tasks", "tasks are drawn, or blocks (resample_block_s), not both; remove one")


def _trace(path: Path, where: str, format: str | None, faults: Faults) -> str:
    """The path, absolute, of a trace that can be opened and recognised."""
    try:
        if format is None:
            recognise(path)
        path.open("rb").close()
    except Exception as error:  # every reason is the user's to see
        faults.add(where, str(error))
    return str(path.resolve())


def _twice(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]
