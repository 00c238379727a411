"""`headrace simulate FLEET`: real or generated traffic over a fleet, with the production policy engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from headrace.cli.options import TracePiece, generated, parse_traces
from headrace.cli.table import show_report
from headrace.config import load_fleet
from headrace.metrics import Report, encode_report
from headrace.sim import SimulatedPolicy
from headrace.study import simulate_and_compare
from headrace.workload import Request


def simulate(
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
    trace: Annotated[
        list[str] | None, typer.Option(help="CLASS=PATH, repeatable; without one, traffic is generated.")
    ] = None,
    trace_format: Annotated[
        str | None, typer.Option("--format", help="How every trace is read; default: recognised.")
    ] = None,
    policy: Annotated[SimulatedPolicy, typer.Option(help="What chooses.")] = SimulatedPolicy.PRICES,
    seed: Annotated[int, typer.Option(help="Root seed; the same seed gives the same bytes.")] = 0,
    seconds: Annotated[float, typer.Option(help="Length of generated traffic.")] = 600.0,
    speedup: Annotated[float, typer.Option(help="Arrivals come this many times faster than recorded.")] = 1.0,
    start: Annotated[float, typer.Option(help="First second of the traces to take.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds of the traces to take; default: all.")] = None,
    skip_bad_lines: Annotated[int, typer.Option(help="How many broken trace lines to leave out.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the report here; - means standard output.")] = None,
    timing: Annotated[Path | None, typer.Option(help="Write the wall time here, in seconds.")] = None,
) -> None:
    """Simulate traffic over a fleet and report share, latency, cost and value against hindsight."""
    loaded = load_fleet(fleet)
    traces = parse_traces(trace or [], loaded)

    def requests() -> Iterable[Request]:
        if not traces:
            return generated(loaded, seconds, seed)
        piece = TracePiece(trace_format, skip_bad_lines, speedup, start, duration)
        return piece.open(traces)

    started_s = time.perf_counter()
    with Status(f"simulating {policy.value}", console=Console(stderr=True)):
        report = simulate_and_compare(loaded, requests, policy, seed)
    _say_time(report, time.perf_counter() - started_s, timing)
    if json is not None and str(json) == "-":
        sys.stdout.buffer.write(encode_report(report))
    else:
        show_report(report, json)


def _say_time(report: Report, wall_s: float, timing: Path | None) -> None:
    print(f"simulated {report.requests.arrived:,} requests in {wall_s:.1f} s", file=sys.stderr)
    if timing is not None:
        timing.write_text(f'{{"wall_s": {wall_s}}}\n')
