"""`headrace replay URL`: drive a live endpoint with real or generated traffic, and measure it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.bench import (
    ReplayProgress,
    ReplayResult,
    ReplaySettings,
    Sizing,
    fit_sizing,
    live_metrics,
    read_probe,
)
from headrace.bench import replay as run_replay
from headrace.cli.options import (
    Duration,
    FleetFile,
    Load,
    Rate,
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
from headrace.cli.running import say_how_it_went, show_result, stopped_by_signals, write_timing
from headrace.config import load_fleet
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.metrics import RunFacts
from headrace.traces import TraceOptions, open_traces
from headrace.workload import Request


def replay(
    url: Annotated[str, typer.Argument(help="Base URL of the endpoint, for instance http://127.0.0.1:8080.")],
    fleet: FleetFile = None,
    trace: Traces = None,
    trace_format: TraceFormat = None,
    seed: Annotated[int, typer.Option(help="Root seed of generated traffic.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.0, help="Length of generated traffic.")] = 60.0,
    speedup: Speedup = 1.0,
    load: Load = 1.0,
    sample: Annotated[float, typer.Option(help="Fraction of the sessions and requests to send.")] = 1.0,
    rate: Rate = None,
    start: Start = 0.0,
    duration: Duration = None,
    skip_bad_lines: SkipBadLines = 0,
    exact: Annotated[Path | None, typer.Option(help="For a real model: a probe of it, to send exact lengths.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to ask for; default: the fleet's first.")] = None,
    json: JsonPath = None,
    timing: TimingPath = None,
) -> None:
    """Send traffic to a live endpoint at its own pace; report latency, share and cost as a client sees them.

    Ctrl-C cancels what is on its way and reports what was measured until then. With --exact, prompts are random text of
    the trace's length by the model's own tokenizer, and answers are as long as the trace says (`ignore_eos`).
    """
    loaded = load_fleet(fleet)
    traces = parse_traces(trace or [], loaded)
    check_piece(traces, start, duration)
    options = TraceOptions(
        trace_format, skip_bad_lines, speedup, start, duration, load=load, sample=sample, rate_per_s=rate, seed=seed
    )
    options.check()
    requests = _traced(traces, options) if traces else list(generated(loaded, seconds, seed))
    if not requests:
        raise ConfigError("command line", [Fault("--start, --duration, --seconds", "this piece holds no request")])
    settings = ReplaySettings(
        model=model or next(iter(loaded.models)), sizing=None if exact is None else _sizing(exact)
    )
    result = uvloop.run(_drive(url, requests, loaded, settings))
    say_how_it_went(result)
    write_timing(timing, result.end_s)
    show_result(result.report(RunFacts(command="replay", end_s=result.last_arrival_s, seed=seed)), json)


def _traced(traces: dict[str, str], options: TraceOptions) -> list[Request]:
    """The requests of the traces, all of them; and says what there is to say of these."""
    opened = open_traces(traces, options)
    requests = list(opened)
    say_all(opened.notes + load_notes(options))
    return requests


def _sizing(path: Path) -> Sizing:
    """How long text is in tokens, as a probe measured it."""
    _, records = read_probe(path)
    sizing = fit_sizing((record.prompt_bytes, record.input_tokens or 0) for record in records if record.completed)
    if sizing is None:
        raise ConfigError(
            str(path), [Fault("--exact", "holds no prompts of different lengths; probe the endpoint first")]
        )
    return sizing


async def _drive(url: str, requests: list[Request], fleet: Fleet, settings: ReplaySettings) -> ReplayResult:
    stop = stopped_by_signals()
    say(f"replaying {len(requests):,} requests against {url}")
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=len(requests))

        def show(progress: ReplayProgress) -> None:
            bar.update(task, completed=progress.ended)

        return await run_replay(url, requests, live_metrics(fleet), settings, on_progress=show, stop=stop)
