"""`headrace simulate FLEET`: real or generated traffic over a fleet, with the production policy engine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from headrace.cli.options import (
    Duration,
    FleetFile,
    PolicyName,
    SkipBadLines,
    Speedup,
    Start,
    TimingPath,
    TraceFormat,
    TracePiece,
    Traces,
    generated,
    parse_traces,
)
from headrace.cli.output import JsonPath, say
from headrace.cli.running import show_result, write_timing
from headrace.config import load_fleet
from headrace.study import load_simulated_policy, simulate_and_compare
from headrace.workload import Request


def simulate(
    fleet: FleetFile = None,
    trace: Traces = None,
    trace_format: TraceFormat = None,
    policy: PolicyName = None,
    seed: Annotated[int, typer.Option(help="Root seed; the same seed gives the same bytes.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.0, help="Length of generated traffic.")] = 600.0,
    speedup: Speedup = 1.0,
    start: Start = 0.0,
    duration: Duration = None,
    skip_bad_lines: SkipBadLines = 0,
    json: JsonPath = None,
    timing: TimingPath = None,
) -> None:
    """Simulate traffic over a fleet and report share, latency, cost and value against hindsight."""
    loaded = load_fleet(fleet)
    chosen = load_simulated_policy(policy or loaded.policy)
    traces = parse_traces(trace or [], loaded)
    piece = TracePiece(trace_format, skip_bad_lines, speedup, start, duration)

    def requests() -> Iterable[Request]:
        return piece.open(traces) if traces else generated(loaded, seconds, seed)

    started_s = time.perf_counter()
    with Status(f"simulating {chosen.name}", console=Console(stderr=True)):
        report = simulate_and_compare(loaded, requests, chosen, seed)
    wall_s = time.perf_counter() - started_s
    say(f"simulated {report.requests.arrived:,} requests in {wall_s:.1f} s")
    if not report.requests.arrived:
        say("there was nothing to simulate: see --start, --duration and --seconds")
    write_timing(timing, wall_s)
    show_result(report, json)
