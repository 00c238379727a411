"""Trace files: opened, streamed, checked line by line, merged into one stream of requests."""

from headrace.traces._lines import BadLines
from headrace.traces.azure import AzureRow, AzureTrace, read_azure
from headrace.traces.merge import FORMATS, OpenTraces, open_traces, recognise

__all__ = ["FORMATS", "AzureRow", "AzureTrace", "BadLines", "OpenTraces", "open_traces", "read_azure", "recognise"]
