"""Pairs of lengths without a clock: `TIMESTAMP,ContextTokens,GeneratedTokens` with stamps `XXX`, or
`num_prefill_tokens,num_decode_tokens,...`. Requests start by a Poisson process of the caller's rate.

Sources: efeslab/Nanoflow (Apache-2.0), microsoft/vidur (MIT). The texts behind some of them have terms of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.traces import azure
from headrace.traces._lines import column_names, whole
from headrace.traces.csv_rows import csv_rows
from headrace.traces.source import Head
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request

SHAPES = (azure.COLUMNS[1:], ("num_prefill_tokens", "num_decode_tokens"))
SHOWS = f"{','.join(SHAPES[1])}, or {azure.SHOWS} with stamps XXX"
NO_STAMP = b"XXX,"


class LengthsTrace(TraceFile):
    """One file of pairs."""

    format = "lengths"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """The pairs as requests, in the order of the file."""
        starts_s = self.starts_s("requests")
        for member in self.source.members():
            names = column_names(self.source.head().lines[0])
            shape = next((shape for shape in SHAPES if set(shape) <= set(names)), SHAPES[0])

            def parse(fields: list[str], shape: tuple[str, ...] = shape) -> tuple[int, int]:
                return whole(shape[0], fields[0]), whole(shape[1], fields[1], 0)

            for input_tokens, output_tokens in csv_rows(member, shape, parse, self.settings.bad_lines):
                yield Request(next(starts_s), self.workload_class, input_tokens, output_tokens)


def recognises(head: Head) -> bool:
    """Pairs by name, and no time."""
    names = set(column_names(head.lines[0]))
    no_stamps = len(head.lines) > 1 and head.lines[1].startswith(NO_STAMP)
    return set(SHAPES[1]) <= names or (set(SHAPES[0]) <= names and no_stamps)
