"""Trace files: recognised, streamed, checked line by line, cut, thinned and merged into one stream of requests."""

from headrace.traces._lines import BadLines
from headrace.traces.merge import OpenTraces, TraceOptions, check_ahead, open_traces
from headrace.traces.mooncake import BLOCK_TOKENS as MOONCAKE_BLOCK_TOKENS
from headrace.traces.mooncake import mooncake_line
from headrace.traces.registry import FORMATS, Format, open_trace, recognise
from headrace.traces.trace import TraceFile, TraceSettings

__all__ = [
    "FORMATS",
    "MOONCAKE_BLOCK_TOKENS",
    "BadLines",
    "Format",
    "OpenTraces",
    "TraceFile",
    "TraceOptions",
    "TraceSettings",
    "check_ahead",
    "mooncake_line",
    "open_trace",
    "open_traces",
    "recognise",
]
