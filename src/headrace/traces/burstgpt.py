"""BurstGPT: one request a line, by column name; the third release also has sessions and how long answers took.

Seconds. `Response tokens` of 0 is a request that failed: its length is unknown, so it is left out, and a note says so.
The pause before a turn is its distance to the turn before, less that answer's `Elapsed time`.
Source: github.com/HPMLL/BurstGPT (CC-BY-4.0).
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.traces._lines import Clock, Columns, column_names, good_rows, seconds, whole
from headrace.traces.interleaved import Interleaved, Row
from headrace.traces.source import Head, Member
from headrace.traces.trace import TraceFile
from headrace.workload import Item

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")
SESSION_COLUMNS = ("Session ID", "Elapsed time")
SHOWS = ",".join(COLUMNS)


class BurstGptTrace(TraceFile):
    """One file of BurstGPT."""

    format = "burstgpt"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """The requests that were answered."""
        for member in self.source.members():
            yield from Interleaved(self._rows(member), self.workload_class).items()

    def _rows(self, member: Member) -> Iterator[Row]:
        parse = _Parser(member.where)
        zero_s: float | None = None
        for row in good_rows(member, parse, self.settings.bad_lines):
            if row is None:
                continue
            zero_s = row.at_s if zero_s is None else zero_s
            if row.output_tokens:
                yield row._replace(at_s=row.at_s - zero_s)
            else:
                self.settings.note(f"{self.source.name}: requests that failed (Response tokens 0) are left out")


def recognises(head: Head) -> bool:
    """The header names the columns."""
    return set(COLUMNS) <= set(column_names(head.lines[0]))


class _Parser:
    def __init__(self, where: str) -> None:
        self._where = where
        self._columns: Columns | None = None
        self._clock = Clock(COLUMNS[0])

    def __call__(self, line: bytes) -> Row | None:
        if self._columns is None:
            with_sessions = set(SESSION_COLUMNS) <= set(column_names(line))
            self._columns = Columns(self._where, line, COLUMNS + SESSION_COLUMNS if with_sessions else COLUMNS)
            return None
        at, asked, answered, *more = self._columns.fields(line)
        input_tokens, output_tokens = whole(COLUMNS[1], asked), whole(COLUMNS[2], answered, 0)
        at_s = self._clock.tick(seconds(COLUMNS[0], at))
        if not more or not more[0]:
            return Row(at_s, None, input_tokens, output_tokens)
        return Row(
            at_s, more[0], input_tokens, output_tokens, seconds(SESSION_COLUMNS[1], more[1]) if more[1] else None
        )
