"""Trace files: recognised, streamed, checked line by line, cut, thinned and merged into one stream of requests."""

from headrace.traces._lines import BadLines
from headrace.traces.merge import OpenTraces, TraceOptions, check_ahead, open_traces
from headrace.traces.registry import FORMATS, Format, open_trace, recognise
from headrace.traces.trace import TraceFile, TraceSettings

__all__ = [
    "FORMATS",
    "BadLines",
    "Format",
    "OpenTraces",
    "TraceFile",
    "TraceOptions",
    "TraceSettings",
    "check_ahead",
    "open_trace",
    "open_traces",
    "recognise",
]
