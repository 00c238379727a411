"""What every reader gives: a stream of single requests and of tasks, in the order in which they start.

Whatever cuts, thins or scales a trace does it to those starts (`traces.merge`), so a task keeps its inner times and is
never torn; `workload.flatten` lays them side by side at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headrace import rng
from headrace.errors import ConfigError, Fault
from headrace.traces._lines import BadLines
from headrace.traces.source import Source
from headrace.workload import Item, Poisson, Request, flatten


@dataclass(slots=True)
class TraceSettings:
    """How a trace is read.

    Attributes:
        rate_per_s: starts (of requests, or of sessions) per second, for a trace without a clock.
        notes: what a reader has to say about what it did with the trace; each once.
        dealt: starts were drawn, for the trace has no clock.
    """

    bad_lines: BadLines = field(default_factory=BadLines)
    rate_per_s: float | None = None
    seed: int = 0
    notes: list[str] = field(default_factory=list)
    dealt: bool = False

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)


class TraceFile:
    """One trace of one workload class. A reader overrides `items`, and `t0_ns` where the trace has a wall clock.

    Attributes:
        format: the name of its format.
    """

    format = ""

    def __init__(self, source: Source, workload_class: str, settings: TraceSettings) -> None:
        self.source = source
        self.workload_class = workload_class
        self.settings = settings

    def t0_ns(self) -> int | None:
        """Wall time of the first request, in nanoseconds; None: the trace has no wall clock, and starts at 0."""
        return None

    def items(self, t0_ns: int) -> Iterator[Item]:
        """Requests and tasks in the order of their start, in seconds from `t0_ns` where the trace has a wall clock.

        Raises:
            TraceError: the file cannot be opened or lacks what its format needs, or a line is broken.
        """
        raise NotImplementedError

    def requests(self) -> Iterator[Request]:
        """All requests in order of their earliest arrival, from 0 on. Raises as `items`."""
        return flatten(self.items(self.t0_ns() or 0))

    def starts_s(self, what: str) -> Iterator[float]:
        """Start times for a trace without a clock: Poisson at the rate that was asked for.

        Raises:
            ConfigError: none was.
        """
        rate = self.settings.rate_per_s
        if rate is None:
            message = f"{self.source.name} has no clock ({self.format}): say how many {what} start per second, for"
            raise ConfigError("trace options", [Fault("rate", f"{message} instance --rate 0.5 (a grid: rate_per_s)")])
        self.settings.dealt = True
        self.settings.note(f"{self.source.name} has no clock: {what} start as a Poisson process, {rate:g} per second")
        return Poisson(rate).times_s(rng.stream(self.settings.seed, f"traces.{self.workload_class}.starts"))
