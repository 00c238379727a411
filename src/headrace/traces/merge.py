"""Several traces as one stream of requests: each with its class, on one clock, cut to a piece, played faster.

Traces recorded at the same time keep their true distance: every file counts from the earliest first row of all. A piece
is cut in the *trace's* seconds, then time is divided by `speedup`: ten minutes of trace at speedup 10 take one minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from heapq import merge
from operator import attrgetter
from os import PathLike, fspath

from headrace.errors import ConfigError, Fault, TraceError
from headrace.traces._lines import BadLines
from headrace.traces.azure import COLUMNS, AzureTrace, is_azure_header
from headrace.workload import Request

FORMATS = {"azure": ",".join(COLUMNS)}  # name, and the header it is recognised by

_HEADER_BYTES = 4096


class OpenTraces(Iterator[Request]):
    """The merged requests, in order of arrival; read once.

    Attributes:
        bad_lines: the broken lines that were tolerated so far.
    """

    def __init__(self, requests: Iterator[Request], bad_lines: BadLines) -> None:
        self._requests = requests
        self.bad_lines = bad_lines

    def __next__(self) -> Request:
        return next(self._requests)

    @property
    def skipped(self) -> int:
        """How many broken lines were left out so far."""
        return len(self.bad_lines.errors)


def open_traces(
    traces: Mapping[str, str | PathLike[str]],
    *,
    format: str | None = None,
    skip_bad_lines: int = 0,
    speedup: float = 1.0,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> OpenTraces:
    """Merge trace files by arrival time.

    Args:
        traces: workload class -> file.
        format: how all of them are read; None: each is recognised by its first line.
        skip_bad_lines: how many broken lines to leave out, over all files.
        speedup: arrivals come this many times faster than they were recorded.
        start_s, duration_s: the piece to take, in seconds of the trace; its start becomes time 0.

    Raises:
        ConfigError: an option is out of range, or `format` is unknown.
        TraceError: a file cannot be opened or recognised (at once), or a line is broken (when it is reached).
    """
    _check(format, skip_bad_lines, speedup, start_s, duration_s)
    bad_lines = BadLines(skip_bad_lines)
    files = {name: AzureTrace(path, bad_lines) for name, path in traces.items()}
    if format is None:
        for path in traces.values():
            recognise(path)
    starts_ns = [t0_ns for t0_ns in (file.t0_ns() for file in files.values()) if t0_ns is not None]
    t0_ns = min(starts_ns, default=0)
    streams = [file.requests(name, t0_ns) for name, file in files.items()]
    merged = merge(*streams, key=attrgetter("arrival_s"))
    return OpenTraces(_piece(merged, speedup, start_s, duration_s), bad_lines)


def recognise(path: str | PathLike[str]) -> str:
    """The name of a trace file's format. Raises TraceError for an unknown one and names those that are known."""
    try:
        with open(path, "rb") as file:
            header = file.readline(_HEADER_BYTES).decode("utf-8-sig", "replace").strip()
    except OSError as fault:
        raise TraceError(fspath(path), 0, f"cannot be opened: {fault.strerror}") from fault
    if is_azure_header(header):
        return "azure"
    known = "; ".join(f"{name} (first line {first!r})" for name, first in FORMATS.items())
    found = f"the first line is {header[:100]!r}" if header else "the first line is empty"
    raise TraceError(fspath(path), 1, f"unknown trace format: {found}; known formats: {known}")


def _piece(requests: Iterator[Request], speedup: float, start_s: float, duration_s: float | None) -> Iterator[Request]:
    end_s = float("inf") if duration_s is None else start_s + duration_s
    for request in requests:
        if request.arrival_s >= end_s:
            return
        if request.arrival_s >= start_s:
            yield replace(request, arrival_s=(request.arrival_s - start_s) / speedup)


def _check(format: str | None, skip_bad_lines: int, speedup: float, start_s: float, duration_s: float | None) -> None:
    faults = []
    if format is not None and format not in FORMATS:
        faults.append(Fault("format", f"unknown trace format {format!r}; known formats: {', '.join(FORMATS)}"))
    if skip_bad_lines < 0:
        faults.append(Fault("skip_bad_lines", f"must be at least 0, got {skip_bad_lines}"))
    if not 0 < speedup < float("inf"):
        faults.append(Fault("speedup", f"must be a positive number, got {speedup}"))
    if not 0 <= start_s < float("inf"):
        faults.append(Fault("start_s", f"must be at least 0 seconds, got {start_s}"))
    if duration_s is not None and not duration_s > 0:
        faults.append(Fault("duration_s", f"must be more than 0 seconds, got {duration_s}"))
    if faults:
        raise ConfigError("trace options", faults)
