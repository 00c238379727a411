"""The Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, one request a line.

Timestamps have up to seven fractional digits and no zone (2023), or a zone `+00:00` and sometimes no fraction (2024);
lines end in CRLF; the last one may have no end. Times are kept as whole nanoseconds until the end, so nothing is
rounded before it is a difference. Source: github.com/Azure/AzurePublicDataset (CC-BY-4.0; Patel et al., "Splitwise",
ISCA 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from headrace.traces._lines import BadLines, Clock, column_names, whole
from headrace.traces.csv_rows import csv_rows
from headrace.traces.source import Head, Member
from headrace.traces.stamps import NS_PER_S, stamp_ns
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
SHOWS = ",".join(COLUMNS)


class AzureRow(NamedTuple):
    """One line: when it was (nanoseconds on the trace's own clock), tokens in, tokens out."""

    at_ns: int
    input_tokens: int
    output_tokens: int


class AzureTrace(TraceFile):
    """One file of an Azure trace."""

    format = "azure"

    def t0_ns(self) -> int | None:
        """Time of the first good row on the trace's own clock; None if there is none. Counts no broken line."""
        return next((row.at_ns for row in self._rows(BadLines(self.settings.bad_lines.limit))), None)

    def items(self, t0_ns: int) -> Iterator[Item]:
        """The good rows, in the order of the file."""
        for row in self._rows(self.settings.bad_lines):
            at_s = (row.at_ns - t0_ns) / NS_PER_S
            yield Request(at_s, self.workload_class, row.input_tokens, row.output_tokens)

    def _rows(self, bad_lines: BadLines) -> Iterator[AzureRow]:
        for member in self.source.members():
            yield from _member_rows(member, bad_lines)


def recognises(head: Head) -> bool:
    """The header names the columns."""
    return set(COLUMNS) <= set(column_names(head.lines[0]))


def _member_rows(member: Member, bad_lines: BadLines) -> Iterator[AzureRow]:
    clock = Clock(COLUMNS[0], calendar=True)

    def parse(fields: list[str]) -> AzureRow:
        stamp, context, generated = fields
        input_tokens, output_tokens = whole(COLUMNS[1], context), whole(COLUMNS[2], generated, 0)
        at_ns = stamp_ns(COLUMNS[0], stamp)
        clock.tick(at_ns / NS_PER_S)
        return AzureRow(at_ns, input_tokens, output_tokens)

    return csv_rows(member, COLUMNS, parse, bad_lines)
