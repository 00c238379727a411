"""Several traces as one stream of requests: each with its class, on one clock, cut, thinned, and faster or denser.

Traces recorded at the same time keep their true distance: every file with a wall clock counts from the earliest first
request of all. Files recorded far apart each start at 0, and so do files without a wall clock; a note says so.

What is done to a trace is done to the *starts* of tasks (single requests, and trees of sessions): a session is never
torn, and its own pauses stay what they were. In this order:

    redraw    tasks drawn with replacement from the whole trace, each at the next start (`traces.redrawn`)
    piece     tasks that start within [start_s, start_s + duration_s) of the trace's own seconds; its start becomes 0
    sample    a fraction of the tasks, whole ones (`traces.sample`)
    load      starts come `load` times as fast: more users, who think and whose tools run no faster. Lengths stay.
    blocks    blocks of prompts are put together to `block_tokens` (each stands for all before it): a context of
              100,000 tokens in blocks of 64 is 1,600 ids to look up with every turn
    speedup   then the whole clock runs faster, pauses too: ten minutes of trace at speedup 10 take one minute
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from operator import attrgetter
from os import PathLike

from headrace.errors import ConfigError, Fault
from headrace.traces._lines import BadLines
from headrace.traces.blocks import coarser
from headrace.traces.redrawn import redrawn_file
from headrace.traces.registry import FORMATS, open_trace
from headrace.traces.sample import sampled
from headrace.traces.stamps import NS_PER_S
from headrace.traces.trace import TraceFile, TraceSettings
from headrace.workload import Item, Request, Task, Turn, flatten

LOOK_AHEAD = 5000
"""Requests of each trace that `check_ahead` reads."""

SAME_TIME_S = 7 * 86400.0  # first requests further apart than a week were not recorded together


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What is done to traces; see the top of the module.

    Attributes:
        format: how all of them are read; None: as each file says.
        skip_bad_lines: how many broken lines to leave out, over all files.
        rate_per_s: starts per second of traces without a clock.
        block_tokens: a multiple of every trace's own, or None.
        redraw: another day of the same kind: whole tasks, drawn anew by the seed.
        seed: of what is drawn: tasks, the sample, the starts of traces without a clock, requests from rates.
    """

    format: str | None = None
    skip_bad_lines: int = 0
    speedup: float = 1.0
    start_s: float = 0.0
    duration_s: float | None = None
    load: float = 1.0
    sample: float = 1.0
    rate_per_s: float | None = None
    block_tokens: int | None = None
    redraw: bool = False
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError, with every fault: an option is out of range, or the format unknown."""
        rules = [
            ("format", self.format, self.format is None or self.format in FORMATS, f"one of {', '.join(FORMATS)}"),
            ("skip_bad_lines", self.skip_bad_lines, self.skip_bad_lines >= 0, "at least 0"),
            ("speedup", self.speedup, 0 < self.speedup < float("inf"), "a positive number"),
            ("start_s", self.start_s, 0 <= self.start_s < float("inf"), "at least 0 seconds"),
            ("duration_s", self.duration_s, self.duration_s is None or self.duration_s > 0, "more than 0 seconds"),
            ("load", self.load, 0 < self.load < float("inf"), "a positive number"),
            ("sample", self.sample, 0 < self.sample <= 1, "more than 0 and at most 1"),
            (
                "rate",
                self.rate_per_s,
                self.rate_per_s is None or 0 < self.rate_per_s < float("inf"),
                "more than 0 per second",
            ),
        ]
        faults = [Fault(name, f"must be {what}, got {value!r}") for name, value, good, what in rules if not good]
        if faults:
            raise ConfigError("trace options", faults)


class OpenTraces(Iterator[Request]):
    """The merged requests, in order of arrival; read once.

    Attributes:
        bad_lines: the broken lines that were tolerated so far.
        notes: what was done to the traces that their reader should know of; grows while they are read.
    """

    def __init__(self, requests: Iterator[Request], settings: TraceSettings) -> None:
        self._requests = requests
        self.bad_lines = settings.bad_lines
        self.notes = settings.notes

    def __next__(self) -> Request:
        return next(self._requests)

    @property
    def skipped(self) -> int:
        """How many broken lines were left out so far."""
        return len(self.bad_lines.errors)


def open_traces(traces: Mapping[str, str | PathLike[str]], options: TraceOptions | None = None) -> OpenTraces:
    """Merge trace files by arrival time.

    Args:
        traces: workload class -> file.

    Raises:
        ConfigError: an option is out of range, or a trace without a clock needs a rate.
        TraceError: a file cannot be opened or recognised (at once), or a line is broken (when it is reached).
    """
    options = options or TraceOptions()
    options.check()
    settings = TraceSettings(BadLines(options.skip_bad_lines), options.rate_per_s, options.seed)
    files = [open_trace(path, name, options.format, settings) for name, path in traces.items()]
    streams = [_stream(file, t0_ns, options) for file, t0_ns in zip(files, _zeros(files, settings), strict=True)]
    return OpenTraces(merge(*streams, key=attrgetter("arrival_s")), settings)


def check_ahead(
    traces: Mapping[str, str | PathLike[str]], options: TraceOptions | None = None, requests: int = LOOK_AHEAD
) -> list[str]:
    """Read the beginning of every trace as it will be read, so that what is wrong there costs no hours.

    Returns:
        what the readers had to say.

    Raises:
        ConfigError, TraceError: as `open_traces`, and what reading would raise within the first `requests`.
    """
    notes: list[str] = []
    for name, path in traces.items():
        opened = open_traces({name: path}, options)
        for _ in islice(opened, requests):
            pass
        notes += [note for note in opened.notes if note not in notes]
    return notes


def _zeros(files: list[TraceFile], settings: TraceSettings) -> list[int]:
    """For each file the wall time that becomes 0: the earliest of all, unless they were not recorded together."""
    starts_ns = [file.t0_ns() for file in files]
    known = [start_ns for start_ns in starts_ns if start_ns is not None]
    first_ns = min(known, default=0)
    if known and (max(known) - first_ns) / NS_PER_S > SAME_TIME_S:
        settings.note("the traces were recorded more than a week apart: each starts at 0")
        return [0 if start_ns is None else start_ns for start_ns in starts_ns]
    return [first_ns] * len(files)


def _stream(file: TraceFile, t0_ns: int, options: TraceOptions) -> Iterator[Request]:
    items = redrawn_file(file, t0_ns) if options.redraw else file.items(t0_ns)
    items = _piece(items, options)
    if options.sample < 1:
        items = sampled(items, options.sample, options.seed, file.workload_class)
    if options.load != 1.0 or options.start_s:
        items = (_moved(item, options) for item in items)
    requests = flatten(items)
    if options.block_tokens is not None:
        requests = coarser(requests, options.block_tokens, file.source.name)
    return requests if options.speedup == 1.0 else (_faster(one, options.speedup) for one in requests)


def _start_s(item: Item) -> float:
    return item.start_s if isinstance(item, Task) else item.arrival_s


def _piece(items: Iterator[Item], options: TraceOptions) -> Iterator[Item]:
    end_s = float("inf") if options.duration_s is None else options.start_s + options.duration_s
    for item in items:
        start_s = _start_s(item)
        if start_s >= end_s:
            return
        if start_s >= options.start_s:
            yield item


def _moved(item: Item, options: TraceOptions) -> Item:
    start_s = (_start_s(item) - options.start_s) / options.load
    return item._replace(start_s=start_s) if isinstance(item, Task) else replace(item, arrival_s=start_s)


def _faster(request: Request, speedup: float) -> Request:
    turn: Turn | None = request.turn
    if turn is not None and turn.pause_s is not None:
        turn = replace(turn, pause_s=turn.pause_s / speedup)
    return replace(request, arrival_s=request.arrival_s / speedup, turn=turn)
