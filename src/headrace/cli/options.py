"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.traces import OpenTraces, open_traces
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, Request, Traffic, generate

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
    """Traffic of every class of the fleet that has a generator."""
    classes = [ClassTraffic(name, GENERATED[name], 1.0) for name in fleet.classes if name in GENERATED]
    return generate(classes, seconds, seed)
