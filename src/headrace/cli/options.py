"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.traces import OpenTraces, open_traces
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, Request, Traffic, generate

FleetFile = Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")]
TimingPath = Annotated[Path | None, typer.Option("--timing", help="Write the wall time here, in seconds.")]
Traces = Annotated[
    list[str] | None, typer.Option("--trace", help="CLASS=PATH, repeatable; without one, traffic is generated.")
]
TraceFormat = Annotated[str | None, typer.Option("--format", help="How every trace is read; default: recognised.")]
Speedup = Annotated[float, typer.Option(help="Arrivals come this many times faster than recorded.")]
Start = Annotated[float, typer.Option(help="First second of the traces to take.")]
Duration = Annotated[float | None, typer.Option(help="Seconds of the traces to take; default: all.")]
SkipBadLines = Annotated[int, typer.Option(help="How many broken trace lines to leave out.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port for clients, on 127.0.0.1; 0: any free one.")]
AdminPort = Annotated[int, typer.Option(min=0, max=65535, help="Port for /admin/state; 0: any free one.")]
LedgerFile = Annotated[Path, typer.Option(help="Usage ledger; appended to.")]
JournalPath = Annotated[Path | None, typer.Option(help="Record every event and action here; replaced.")]
PolicyName = Annotated[
    str | None, typer.Option("--policy", help="What chooses; default: the fleet file's `policy`, else prices.")
]

LEDGER = Path("headrace-ledger.jsonl")
GENERATED: dict[str, Traffic] = {"coding": CODING, "chat": CHAT, "agent": AGENT}


@dataclass(frozen=True, slots=True)
class TracePiece:
    """How traces are read and which piece of them; see `traces.open_traces`."""

    format: str | None
    skip_bad_lines: int
    speedup: float
    start_s: float
    duration_s: float | None

    def open(self, traces: dict[str, str]) -> OpenTraces:
        """The merged requests of `traces`, class to path."""
        return open_traces(
            traces,
            format=self.format,
            skip_bad_lines=self.skip_bad_lines,
            speedup=self.speedup,
            start_s=self.start_s,
            duration_s=self.duration_s,
        )


def parse_traces(options: list[str], fleet: Fleet) -> dict[str, str]:
    """`CLASS=PATH` options as a mapping. Raises ConfigError, with every fault, for a bad one or an unknown class."""
    traces: dict[str, str] = {}
    faults = []
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not path:
            faults.append(Fault(f"--trace {option}", "expected CLASS=PATH, for instance coding=code.csv"))
        elif name not in fleet.classes:
            faults.append(
                Fault(f"--trace {option}", f"the fleet has no class {name!r}; it has {', '.join(fleet.classes)}")
            )
        elif name in traces:
            faults.append(Fault(f"--trace {option}", f"class {name!r} has a trace already"))
        else:
            traces[name] = path
    if faults:
        raise ConfigError("command line", faults)
    return traces


def generated(fleet: Fleet, seconds: float, seed: int) -> Iterable[Request]:
    """Traffic of every class of the fleet that has a generator. Raises ConfigError: none of them has."""
    classes = [ClassTraffic(name, GENERATED[name], 1.0) for name in fleet.classes if name in GENERATED]
    if not classes:
        known, asked = ", ".join(GENERATED), ", ".join(fleet.classes) or "none"
        message = f"traffic can be generated for {known}; the fleet has {asked}: give --trace CLASS=PATH"
        raise ConfigError("generated traffic", [Fault("classes", message)])
    return generate(classes, seconds, seed)
