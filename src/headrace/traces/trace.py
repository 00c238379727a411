"""What every reader gives: a stream of single requests and of tasks, in the order in which they start.

A *task* here is a start and its requests, with times counted from that start. The unit matters: whatever cuts, thins or
scales a trace does it to starts, and a task keeps its inner times and is never torn. Only at the end are tasks laid
side by side (`flatten`): a heap of one pending turn a task, so memory follows what is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import NamedTuple

from headrace import rng
from headrace.errors import ConfigError, Fault, TraceError
from headrace.traces._lines import BadLines
from headrace.traces.source import Source
from headrace.workload import Poisson, Request


class Task(NamedTuple):
    """A tree of sessions.

    Attributes:
        start_s: when its first request comes.
        requests: in order of `arrival_s`, which counts from `start_s`; read once, as late as possible.
    """

    start_s: float
    id: str
    requests: Iterator[Request]


Item = Request | Task


@dataclass(slots=True)
class TraceSettings:
    """How a trace is read.

    Attributes:
        rate_per_s: starts (of requests, or of sessions) per second, for a trace without a clock.
        notes: what a reader has to say about what it did with the trace; each once.
    """

    bad_lines: BadLines = field(default_factory=BadLines)
    rate_per_s: float | None = None
    seed: int = 0
    notes: list[str] = field(default_factory=list)

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
            message = f"has no clock ({self.format}): say how many {what} start per second"
            raise ConfigError(
                "trace options", [Fault("rate", f"{self.source.name} {message}, for instance --rate 0.5")]
            )
        self.settings.note(f"{self.source.name} has no clock: {what} start as a Poisson process, {rate:g} per second")
        return Poisson(rate).times_s(rng.stream(self.settings.seed, f"traces.{self.workload_class}.starts"))


def flatten(items: Iterable[Item]) -> Iterator[Request]:
    """Requests and tasks laid side by side, in order of arrival; ties in the order of their start.

    Raises:
        TraceError: starts go back.
    """
    heap: list[tuple[float, int, Request, Task]] = []
    latest_s = 0.0
    for number, item in enumerate(items):
        start_s = item.start_s if type(item) is Task else item.arrival_s  # type: ignore[union-attr]
        if start_s < latest_s:
            raise TraceError("trace", 0, f"starts go back from {latest_s} to {start_s} s; sort the trace by time")
        latest_s = start_s
        while heap and heap[0][0] <= start_s:
            yield _next_turn(heap)
        if type(item) is Task:
            _push(heap, number, item)
        else:
            yield item  # type: ignore[misc]
    while heap:
        yield _next_turn(heap)


def _next_turn(heap: list[tuple[float, int, Request, Task]]) -> Request:
    at_s, number, request, task = heappop(heap)
    _push(heap, number, task)
    return replace(request, arrival_s=at_s)


def _push(heap: list[tuple[float, int, Request, Task]], number: int, task: Task) -> None:
    request = next(task.requests, None)
    if request is not None:
        heappush(heap, (task.start_s + request.arrival_s, number, request, task))
