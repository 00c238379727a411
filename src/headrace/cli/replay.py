"""`headrace replay URL`: drive a live endpoint with a trace, open loop, and measure it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.bench import ReplayProgress, ReplayResult, ReplaySettings
from headrace.bench import replay as run_replay
from headrace.cli.options import TracePiece, parse_traces
from headrace.cli.table import show_report
from headrace.config import load_fleet
from headrace.errors import ConfigError, Fault
from headrace.metrics import RunFacts, RunMetrics
from headrace.perf import work_rate


def replay(
    url: Annotated[str, typer.Argument(help="Base URL of the endpoint, for instance http://127.0.0.1:8080.")],
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
    trace: Annotated[list[str] | None, typer.Option(help="CLASS=PATH, repeatable.")] = None,
    trace_format: Annotated[str | None, typer.Option("--format", help="How every trace is read.")] = None,
    speedup: Annotated[float, typer.Option(help="Arrivals come this many times faster than recorded.")] = 1.0,
    start: Annotated[float, typer.Option(help="First second of the traces to take.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds of the traces to take; default: all.")] = None,
    skip_bad_lines: Annotated[int, typer.Option(help="How many broken trace lines to leave out.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
) -> None:
    """Send a trace to a live endpoint at its own pace; report latency, share and cost as a client sees them."""
    loaded = load_fleet(fleet)
    traces = parse_traces(trace or [], loaded)
    if not traces:
        raise ConfigError("command line", [Fault("--trace", "expected at least one CLASS=PATH")])
    requests = list(TracePiece(trace_format, skip_bad_lines, speedup, start, duration).open(traces))
    rates = {share.name: work_rate(share) for share in loaded.shares.values()}
    metrics = RunMetrics(loaded, rates, tpot_min_output_tokens=8)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=len(requests))

        def show(progress: ReplayProgress) -> None:
            bar.update(task, completed=progress.ended)

        model = next(iter(loaded.models))
        result = uvloop.run(run_replay(url, requests, metrics, ReplaySettings(model=model), on_progress=show))
    _say_lateness(result)
    show_report(result.report(RunFacts(command="replay", end_s=result.last_arrival_s)), json)


def _say_lateness(result: ReplayResult) -> None:
    p50, p99 = result.lateness.quantile(0.5), result.lateness.quantile(0.99)
    if p50 is not None and p99 is not None and result.worst_lateness_s is not None:
        worst_ms = result.worst_lateness_s * 1000
        print(f"sent late by p50 {p50 * 1000:.1f}, p99 {p99 * 1000:.1f}, at most {worst_ms:.1f} ms", file=sys.stderr)
    for error, count in sorted(result.errors.items()):
        print(f"{count} requests: {error}", file=sys.stderr)
