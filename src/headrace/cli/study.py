"""`headrace study sweep GRID`: a grid of simulations, as a table and a page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from headrace.cli.options import Traces
from headrace.cli.output import JsonPath, say, say_all, write_result
from headrace.study import sweep as sweeps

MAX_POINTS = 10_000
WIDE = 140  # characters, where the output is no terminal

GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="Grid file; see docs/studies.md.")]
Folder = Annotated[
    Path | None, typer.Option("--out", help="Folder of the results; default: the grid's name and -study, here.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core. 1: in this one.")]
RayAddress = Annotated[
    str | None, typer.Option("--ray", metavar="ADDRESS", help="Run on this Ray cluster; local: start one here.")
]
MaxPoints = Annotated[int, typer.Option(min=1, help="A grid with more points is refused.")]
ReportPath = Annotated[Path | None, typer.Option("--report", help="Write the page with the curves here, as HTML.")]

PlanFile = Annotated[Path, typer.Argument(help="A plan (JSON), or a scenario (TOML).")]

study = typer.Typer(add_completion=False, no_args_is_help=True, help="Studies: many simulations, one answer.")


@study.callback()
def _group() -> None:
    """Studies: many simulations, one answer."""


@study.command()
def sweep(
    grid: GridFile,
    trace: Traces = None,
    out: Folder = None,
    workers: Workers = None,
    ray: RayAddress = None,
    max_points: MaxPoints = MAX_POINTS,
    report: ReportPath = None,
    json: JsonPath = None,
) -> None:
    """Simulate every point of a grid, in parallel; stopped or killed, the same command goes on where it was.

    --trace takes the place of the traces that the grid names.
    """
    loaded = sweeps.load_grid(grid, sweeps.TraceOverride(tuple(trace or ())))
    say_all(sweeps.check_traffic(loaded))
    sweeps.check_size(loaded, max_points, workers or sweeps.available_cores())
    sweeps.check_values(loaded)
    folder = out or Path(f"{grid.stem}-study")
    try:
        with _progress() as progress:
            found = sweeps.run_sweep(
                loaded, folder, workers=workers, ray_address=ray, on_start=progress.start, on_done=progress.done
            )
    except KeyboardInterrupt:
        say(f"stopped; what is finished is in {folder}, and the same command goes on from there")
        raise typer.Exit(130) from None
    table = folder / sweeps.TABLE
    table.write_bytes(sweeps.parquet(found))
    if report is not None:
        report.write_text(sweeps.sweep_page(found, sweeps.about(loaded)), encoding="utf-8")
        say(f"wrote {report}")
    say(f"wrote {table}: {len(found):,} points")
    payoffs = sweeps.payoffs(found)
    write_result(json, {"schema": 1, "command": "study sweep", "points": len(found), "payoffs": payoffs})
    if json is None or str(json) != "-":
        _show(payoffs)


@study.command()
def compare(first: PlanFile, second: PlanFile, json: JsonPath = None) -> None:
    """Compare two plans, figure by figure: results of `headrace plan --json`, or scenarios, which are planned first."""
    from headrace.cli.plan import answer_of
    from headrace.cli.plan_table import show_comparison
    from headrace.study.plan.compare import compare_plans

    found = compare_plans(answer_of(first), answer_of(second))
    write_result(json, msgspec.structs.asdict(found))
    if json is None or str(json) != "-":
        show_comparison(found)


class _Progress:
    """Points done, requests per second, time left; a line now and then where the output is no terminal."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar = bar
        self._console = console
        self._task: TaskID | None = None
        self._requests = 0
        self._points, self._done, self._said = 0, 0, 0

    def start(self, done: int, points: int) -> None:
        """The sweep begins; `done` points are finished already."""
        if done:
            say(f"{done:,} of {points:,} points are finished already")
        self._points, self._done, self._said = points, done, done
        self._task = self._bar.add_task("points", total=points, completed=done, speed="")

    def done(self, done: sweeps.Done) -> None:
        """One more piece of work came back."""
        if self._task is None:
            return
        self._requests += done.requests
        elapsed_s = self._bar.tasks[0].elapsed or 0.0
        speed = f"{self._requests / elapsed_s:,.0f} requests/s" if elapsed_s > 0.0 else ""
        self._done += done.work.point is not None
        self._bar.update(self._task, completed=self._done, speed=speed)
        if not self._console.is_terminal and (self._done - self._said) * 10 >= self._points:
            self._said = self._done
            say(f"{self._done:,} of {self._points:,} points, {speed}")


@contextlib.contextmanager
def _progress() -> Iterator[_Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        yield _Progress(bar, console)


def _show(payoffs: list[dict[str, object]]) -> None:
    if not payoffs:
        return
    table = Table(title="where the next percent stops paying", title_justify="left")
    for index, name in enumerate(payoffs[0]):
        table.add_column(name.replace("_", " "), justify="left" if index == 0 else "right")
    for row in payoffs:
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
