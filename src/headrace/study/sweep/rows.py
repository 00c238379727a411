"""The table of a sweep: one row a point, every column with its unit and meaning, as Parquet.

Columns of classes, pools and axes carry their name: `class.chat.ttft_p50_s`, `pool.h100.cost_usd`,
`set.classes.chat.value_of_time_usd_per_s`. Fleets that have other classes or pools leave theirs empty. There is no wall
time in it, so the same sweep gives the same bytes wherever it ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import polars as pl

from headrace.metrics import ClassReport, PoolReport, TaskReport
from headrace.study.compare import regret
from headrace.study.sweep.grid import Grid, Point
from headrace.study.sweep.simulation import Judged, PointResult
from headrace.units import SECONDS_PER_HOUR

Value = str | int | float | None
Row = dict[str, Value]


class Column(NamedTuple):
    """One column: `{}` in the name stands for a class, a pool or an axis."""

    name: str
    type: Any
    unit: str
    meaning: str


COLUMNS = (
    Column("point", pl.Int64, "", "number of the point, its place in the product of the grid"),
    Column("group", pl.Int64, "", "points of one group differ in policy and share only: same requests, same baseline"),
    Column("fleet", pl.String, "", "fleet file"),
    Column("load", pl.Float64, "factor", "arrivals come this many times as fast"),
    Column("seed", pl.Int64, "", "of traffic and policy"),
    Column("policy", pl.String, "", "what chose"),
    Column("share_target", pl.Float64, "fraction", "target of the steered share; empty for references"),
    Column("set.{}", pl.Float64, "as in the fleet file", "an axis: the value of this setting"),
    Column("times.{}", pl.Float64, "factor", "an axis: what these settings were multiplied by"),
    Column("duration_s", pl.Float64, "s", "time of the last arrival"),
    Column("requests", pl.Int64, "requests", "arrived"),
    Column("completed", pl.Int64, "requests", "ended with a whole answer"),
    Column("rejected", pl.Int64, "requests", "turned away"),
    Column("failed", pl.Int64, "requests", "ended without an answer"),
    Column("cancelled", pl.Int64, "requests", "given up by the client"),
    Column("share_of", pl.String, "", "the unit that the steered share is measured in"),
    Column("share_realized", pl.Float64, "fraction", "of the work that the share's pools got"),
    Column("worst_window_pp", pl.Float64, "percentage points", "largest deviation of a feasible five-minute window"),
    Column("windows_judged", pl.Int64, "windows", "full five-minute windows"),
    Column("windows_feasible", pl.Int64, "windows", "of which the target could have been met in"),
    Column("cost_usd", pl.Float64, "USD", "of all pools, capacity included, until the last answer"),
    Column("cost_usd_per_h", pl.Float64, "USD/h", "marginal cost per hour of traffic + capacity paid by the hour"),
    Column("j_usd", pl.Float64, "USD", "J = sum of marginal cost + value of time * E2E"),
    Column("baseline_j_usd", pl.Float64, "USD", "J of `gpu_only` on the same requests"),
    Column("value_captured_usd", pl.Float64, "USD", "baseline J - J"),
    Column("value_captured_usd_per_h", pl.Float64, "USD/h", "the same, per hour of the baseline's traffic"),
    Column(
        "hindsight_value_usd",
        pl.Float64,
        "USD",
        "best value at the larger of target and realized share; not with sessions",
    ),
    Column("hindsight_value_usd_per_h", pl.Float64, "USD/h", "the same, per hour of the baseline's traffic"),
    Column("regret", pl.Float64, "fraction", "1 - value captured / hindsight value; empty where that is 0 or empty"),
    Column("value_captured_usd_per_task", pl.Float64, "USD/task", "value captured over all tasks; only with sessions"),
    Column(
        "marginal_usd_per_task", pl.Float64, "USD/task", "list prices and energy over all tasks; only with sessions"
    ),
    Column("class.{}.requests", pl.Int64, "requests", "arrived of this class"),
    *(
        Column(f"class.{{}}.{name}_{quantile}_s", pl.Float64, "s", f"{quantile} of {about}, completed requests")
        for name, about in (("ttft", "time to first token"), ("tpot", "time per output token"), ("e2e", "E2E"))
        for quantile in ("p50", "p90", "p99")
    ),
    Column("class.{}.slo_attainment", pl.Float64, "fraction", "of the requests that met every threshold"),
    Column("class.{}.value_of_time_usd", pl.Float64, "USD", "value of time * sum of E2E"),
    Column("class.{}.tasks", pl.Int64, "tasks", "sessions, with the sub-agents they started, that came to their end"),
    Column("class.{}.tasks_completed", pl.Int64, "tasks", "of which every request completed"),
    *(
        Column(f"class.{{}}.task_e2e_{quantile}_s", pl.Float64, "s", f"{quantile} of their time from start to end")
        for quantile in ("p50", "p90", "p99")
    ),
    Column("class.{}.task_waited_s", pl.Float64, "s", "mean per task of what it waited for answers: the sum of E2E"),
    Column("pool.{}.requests", pl.Int64, "requests", "attempts"),
    Column("pool.{}.output_tokens", pl.Int64, "tokens", "produced"),
    Column("pool.{}.share_compute", pl.Float64, "fraction", "of the fleet's work in reference seconds"),
    Column("pool.{}.utilization", pl.Float64, "fraction", "busy time of its backends"),
    Column("pool.{}.cost_usd", pl.Float64, "USD", "as `cost_usd`, of this pool"),
)


def rows(grid: Grid, points: Mapping[int, PointResult], judged: Mapping[int, Judged]) -> list[Row]:
    """One row a point, in the order of their numbers."""
    found = []
    for number in range(grid.points):
        point, result = grid.point(number), points[number]
        row = {**_axes(grid, point), **_totals(point, result), **_value(grid, point, result, judged.get(point.group))}
        row |= _per_task(result, row["value_captured_usd"])
        for name, of_class in result.report.classes.items():
            row.update(_class(f"class.{name}", of_class))
        for name, pool in result.report.pools.items():
            row.update(_pool(f"pool.{name}", pool))
        found.append(row)
    return found


def parquet(found: list[Row]) -> bytes:
    """The rows as a Parquet file; its columns are those that `columns` gives."""
    chosen = columns(found)
    schema = {name: column.type for name, column in chosen.items()}
    filled = [{name: row.get(name) for name in chosen} for row in found]
    buffer = BytesIO()
    pl.DataFrame(filled, schema=schema).write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def columns(found: list[Row]) -> dict[str, Column]:
    """The columns that the rows have, in the order of `COLUMNS`, then by class, pool or axis as they first appear."""
    names = dict.fromkeys(name for row in found for name in row)
    described = {name: describe(name) for name in names}
    return {name: described[name] for name in sorted(names, key=lambda name: _place(described[name], name))}


def describe(name: str) -> Column:
    """Unit and meaning of a column. Raises KeyError: there is none of this name."""
    for column in COLUMNS:
        before, wild, after = column.name.partition("{}")
        if name == column.name or (wild and name.startswith(before) and name.endswith(after)):
            return column
    raise KeyError(name)


def _place(column: Column, name: str) -> tuple[int, str, int]:
    """Plain columns first, in order; those of a class or pool together."""
    place = COLUMNS.index(column)
    before, wild, after = column.name.partition("{}")
    if not wild:
        return place, "", 0
    first = next(index for index, each in enumerate(COLUMNS) if each.name.startswith(before))
    return first, name[len(before) : len(name) - len(after)], place


def _axes(grid: Grid, point: Point) -> Row:
    return {
        "point": point.number,
        "group": point.group,
        "fleet": grid.fleets[point.fleet].name,
        "load": point.load,
        "seed": point.seed,
        "policy": point.policy,
        "share_target": point.share,
        **{axis.name: float(value) for axis, value in zip(grid.axes, point.settings, strict=True)},
    }


def _totals(point: Point, result: PointResult) -> Row:
    report = result.report
    share = None if result.steered is None else report.shares[result.steered]
    judged = share is not None and point.share is not None
    return {
        "duration_s": result.duration_s,
        "requests": report.requests.arrived,
        "completed": report.requests.completed,
        "rejected": report.requests.rejected,
        "failed": report.requests.failed,
        "cancelled": report.requests.cancelled,
        "share_of": None if share is None else share.of,
        "share_realized": None if share is None else share.realized,
        "worst_window_pp": share.worst_5min_error_pp if share is not None and judged else None,
        "windows_judged": share.windows.judged if share is not None and judged else None,
        "windows_feasible": share.windows.feasible if share is not None and judged else None,
        "cost_usd": report.cost.total_usd,
        "cost_usd_per_h": _per_h(result.attempts_usd, result.duration_s, result.capacity_usd_per_h),
        "j_usd": result.j_usd,
    }


def _value(grid: Grid, point: Point, result: PointResult, judged: Judged | None) -> Row:
    if judged is None:
        names = ("baseline_j_usd", "value_captured_usd", "value_captured_usd_per_h", "hindsight_value_usd")
        return dict.fromkeys((*names, "hindsight_value_usd_per_h", "regret"))
    captured = judged.baseline_j_usd - result.j_usd
    best = judged.hindsight_usd[point.number - grid.members(point.group).start]
    return {
        "baseline_j_usd": judged.baseline_j_usd,
        "value_captured_usd": captured,
        "value_captured_usd_per_h": _per_h(captured, judged.duration_s),
        "hindsight_value_usd": best,
        "hindsight_value_usd_per_h": None if best is None else _per_h(best, judged.duration_s),
        "regret": regret(captured, best),
    }


def _per_task(result: PointResult, captured: Value) -> Row:
    tasks = sum(each.tasks.count for each in result.report.classes.values() if each.tasks is not None)
    if not tasks:
        return dict.fromkeys(("value_captured_usd_per_task", "marginal_usd_per_task"))
    value = captured / tasks if isinstance(captured, float) else None
    return {"value_captured_usd_per_task": value, "marginal_usd_per_task": result.attempts_usd / tasks}


def _per_h(usd: float, duration_s: float, fixed_usd_per_h: float = 0.0) -> float | None:
    return usd / duration_s * SECONDS_PER_HOUR + fixed_usd_per_h if duration_s > 0.0 else None


def _class(prefix: str, of_class: ClassReport) -> Row:
    row: Row = {f"{prefix}.requests": of_class.count}
    for name, quantiles in (("ttft", of_class.ttft_s), ("tpot", of_class.tpot_s), ("e2e", of_class.e2e_s)):
        for quantile in ("p50", "p90", "p99"):
            row[f"{prefix}.{name}_{quantile}_s"] = getattr(quantiles, quantile)
    row[f"{prefix}.slo_attainment"] = of_class.slo_attainment
    row[f"{prefix}.value_of_time_usd"] = of_class.value_of_time_usd
    if of_class.tasks is not None:
        row |= _tasks(prefix, of_class.tasks)
    return row


def _tasks(prefix: str, tasks: TaskReport) -> Row:
    return {
        f"{prefix}.tasks": tasks.count,
        f"{prefix}.tasks_completed": tasks.completed,
        f"{prefix}.task_e2e_p50_s": tasks.e2e_s.p50,
        f"{prefix}.task_e2e_p90_s": tasks.e2e_s.p90,
        f"{prefix}.task_e2e_p99_s": tasks.e2e_s.p99,
        f"{prefix}.task_waited_s": tasks.waited_s,
    }


def _pool(prefix: str, pool: PoolReport) -> Row:
    return {
        f"{prefix}.requests": pool.requests,
        f"{prefix}.output_tokens": pool.output_tokens,
        f"{prefix}.share_compute": pool.share.compute,
        f"{prefix}.utilization": pool.utilization,
        f"{prefix}.cost_usd": pool.cost_usd,
    }
