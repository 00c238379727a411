"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.traces import FORMATS, TraceOptions
from headrace.traces.named import named_traces
from headrace.workload import Request, generate_named

FleetFile = Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")]
TimingPath = Annotated[Path | None, typer.Option("--timing", help="Write the wall time here, in seconds.")]
Traces = Annotated[
    list[str] | None, typer.Option("--trace", help="CLASS=PATH, repeatable; without one, traffic is generated.")
]
TraceFormat = Annotated[
    str | None,
    typer.Option("--format", help=f"How every trace is read; default: recognised. One of {', '.join(FORMATS)}."),
]
Speedup = Annotated[float, typer.Option(help="The traces' clock runs this many times faster, pauses in sessions too.")]
Load = Annotated[
    float, typer.Option(help="Starts come this many times as fast (time compressed); pauses and lengths stay.")
]
Sample = Annotated[float, typer.Option(help="Fraction of the sessions and requests to take, and of every pool.")]
Rate = Annotated[
    float | None, typer.Option(help="Starts per second (requests, sessions) of traces that have no clock.")
]
Start = Annotated[float, typer.Option(help="First second of the traces to take: what starts then or later.")]
Duration = Annotated[float | None, typer.Option(help="Seconds of the traces to take; default: all.")]
SkipBadLines = Annotated[int, typer.Option(help="How many broken trace lines to leave out.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port for clients; 0: any free one.")]
AdminPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of dashboard, /metrics, /admin; 0: any free one.")]
LedgerFile = Annotated[Path, typer.Option(help="Usage ledger, appended to; of several workers, a directory.")]
JournalPath = Annotated[Path | None, typer.Option(help="Record every event and action here; replaced.")]
PolicyName = Annotated[
    str | None, typer.Option("--policy", help="What chooses; default: the fleet file's `policy`, else prices.")
]

LEDGER = Path("headrace-ledger.jsonl")


def parse_traces(options: list[str], fleet: Fleet) -> dict[str, str]:
    """`CLASS=PATH` options as a mapping. Raises ConfigError, with every fault, for a bad one or an unknown class."""
    traces, faults = named_traces(options, fleet.classes, "--trace {}")
    if faults:
        raise ConfigError("command line", faults)
    return traces


def check_piece(traces: Mapping[str, str], start: float, duration: float | None) -> None:
    """Raises ConfigError: a piece of traces is asked for, and there are none; it would change nothing."""
    given = {"--start": start != 0.0, "--duration": duration is not None}
    if not traces and any(given.values()):
        message = "takes a piece of a --trace, and there is none; generated traffic is as long as --seconds says"
        raise ConfigError("command line", [Fault(name, message) for name, there in given.items() if there])


def generated(fleet: Fleet, seconds: float, seed: int) -> Iterable[Request]:
    """Traffic of every class of the fleet that has a generator. Raises ConfigError: none of them has."""
    return generate_named(fleet.classes, seconds, seed)


def load_notes(options: TraceOptions) -> list[str]:
    """What `--load` did, where it did something."""
    if options.load == 1.0:
        return []
    how = "starts of requests and sessions are compressed in time; lengths, and pauses within sessions, stay"
    return [f"load {options.load:g}: {how}"]
