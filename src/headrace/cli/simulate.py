"""`headrace simulate FLEET`: real or generated traffic over a fleet, with the production policy engine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from headrace.cli.options import (
    Duration,
    FleetFile,
    Load,
    PolicyName,
    Rate,
    Sample,
    SkipBadLines,
    Speedup,
    Start,
    TimingPath,
    TraceFormat,
    Traces,
    check_piece,
    generated,
    load_notes,
    parse_traces,
)
from headrace.cli.output import JsonPath, say, say_all
from headrace.cli.running import show_result, write_timing
from headrace.config import load_fleet, load_incidents
from headrace.fleet import Fleet, Incident, limited_to, thinned
from headrace.metrics import Report
from headrace.study import load_simulated_policy, sample_notes, simulate_and_compare, tail_note
from headrace.traces import TraceOptions, check_ahead, open_traces
from headrace.workload import Request

FaultFile = Annotated[
    Path | None, typer.Option("--faults", help="Faults on a timeline (TOML): who is down, slow or cut, and when.")
]
Workers = Annotated[
    int, typer.Option(min=1, max=256, help="Gateway workers: so many engines, each with a view of its own.")
]


def simulate(
    fleet: FleetFile = None,
    trace: Traces = None,
    trace_format: TraceFormat = None,
    policy: PolicyName = None,
    seed: Annotated[int, typer.Option(help="Root seed; the same seed gives the same bytes.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.0, help="Length of generated traffic.")] = 600.0,
    speedup: Speedup = 1.0,
    load: Load = 1.0,
    sample: Sample = 1.0,
    rate: Rate = None,
    start: Start = 0.0,
    duration: Duration = None,
    skip_bad_lines: SkipBadLines = 0,
    faults: FaultFile = None,
    workers: Workers = 1,
    json: JsonPath = None,
    timing: TimingPath = None,
) -> None:
    """Simulate traffic over a fleet and report share, latency, cost and value against hindsight."""
    loaded = load_fleet(fleet)
    chosen = load_simulated_policy(policy or loaded.policy)
    incidents = () if faults is None else load_incidents(faults, loaded)
    traces = parse_traces(trace or [], loaded)
    check_piece(traces, start, duration)
    piece = (trace_format, skip_bad_lines, speedup, start, duration)
    options = TraceOptions(*piece, load=load, sample=sample, rate_per_s=rate, seed=seed)
    options.check()
    loaded, notes = _sampled(loaded, sample) if traces else (loaded, [])
    incidents, spared = _left(incidents, loaded)
    say_all(spared + notes + _ahead(traces, options))

    def requests() -> Iterable[Request]:
        return open_traces(traces, options) if traces else generated(loaded, seconds, seed)

    began_s = time.perf_counter()
    with Status(f"simulating {chosen.name}", console=Console(stderr=True)):
        report = simulate_and_compare(loaded, requests, chosen, seed, incidents=incidents, workers=workers)
    write_timing(timing, wall_s := time.perf_counter() - began_s)
    _say_how_it_went(report, wall_s, sampled=bool(notes))
    show_result(report, json)


def _ahead(traces: dict[str, str], options: TraceOptions) -> list[str]:
    """What can be said of the traffic before it is simulated. Raises ConfigError, TraceError: it cannot be read."""
    return check_ahead(traces, options) + load_notes(options) if traces else []


def _say_how_it_went(report: Report, wall_s: float, sampled: bool) -> None:
    say(f"simulated {report.requests.arrived:,} requests in {wall_s:.1f} s")
    if not report.requests.arrived:
        say("there was nothing to simulate: see --start, --duration, --sample and --seconds")
    elif sampled:
        say(tail_note(report.requests.arrived))


def _sampled(fleet: Fleet, fraction: float) -> tuple[Fleet, list[str]]:
    """The fleet for a sample of the traffic, and what there is to say about it."""
    if fraction >= 1.0:
        return fleet, []
    thin, pools = thinned(fleet, fraction)
    return thin, sample_notes(fraction, pools)


def _left(incidents: tuple[Incident, ...], fleet: Fleet) -> tuple[tuple[Incident, ...], list[str]]:
    """The faults of the backends that a sample has left, and what there is to say about it."""
    left = limited_to(incidents, frozenset(backend.name for backend in fleet.backends))
    gone = sum(len(each.backends) for each in incidents) - sum(len(each.backends) for each in left)
    return left, [f"faults: {gone} of the backends that they hit are not in the sample"] if gone else []
