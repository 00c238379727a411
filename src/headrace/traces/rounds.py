"""Sessions for closed-loop replay, as TraceLab writes them: one round a line, grouped by session, in order of arrival.

`arrival_time` (milliseconds; absent in the form for one user) is when a session starts; `tool_wait_after_ms` runs from
a round's answer to the next round. The input of a round is `prefix_len + input_len`. What a session has sent before it
shares with itself, so its blocks are counted, not hashed: `prefix_len` tokens are the ones of the round before.
Source: github.com/uw-syfi/TraceLab, `replay/` (Apache-2.0).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from headrace.errors import TraceError
from headrace.traces._lines import Clock, column_names, seconds, whole
from headrace.traces.csv_rows import csv_rows
from headrace.traces.source import Head, Member
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Prefix, Request, Task, Turn

COLUMNS = ("session_id", "round_idx", "prefix_len", "input_len", "output_len", "tool_wait_after_ms")
ARRIVAL = "arrival_time"
SHOWS = ",".join(COLUMNS)
BLOCK_TOKENS = 16
MAX_PAUSE_S = 30 * 86400.0  # a tool that takes longer never returns
MS_PER_S = 1000.0
_ID_BITS = 32


class _Round(NamedTuple):
    session: str
    number: int
    input_tokens: int
    output_tokens: int
    wait_s: float
    arrival_s: float | None


class RoundsTrace(TraceFile):
    """A file of rounds, with or without a clock."""

    format = "rounds"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """One task a session."""
        for member in self.source.members():
            yield from self._tasks(member)

    def _tasks(self, member: Member) -> Iterator[Task]:
        starts_s: Iterator[float] | None = None
        clock, seen = Clock(ARRIVAL), set[str]()
        for session, rows in groupby(self._rows(member), key=lambda row: row.session):
            rounds = list(rows)
            _check(member, session, rounds, seen)
            start_s = rounds[0].arrival_s
            if start_s is None:
                starts_s = starts_s or self.starts_s("sessions")
                start_s = next(starts_s)
            try:
                clock.tick(start_s)
            except ValueError as fault:
                raise TraceError(member.where, 0, f"session {session}: {fault}") from fault
            name = f"{self.workload_class}/{session}"
            yield Task(start_s, name, _requests(rounds, name, self.workload_class))

    def _rows(self, member: Member) -> Iterator[_Round]:
        with_clock = ARRIVAL in column_names(self.source.head().lines[0])
        needed = (*COLUMNS, ARRIVAL) if with_clock else COLUMNS
        return csv_rows(member, needed, _parse, self.settings.bad_lines)


def recognises(head: Head) -> bool:
    """The header names the columns."""
    return set(COLUMNS) <= set(column_names(head.lines[0]))


def _parse(fields: list[str]) -> _Round:
    session, index, prefix, new, answer, wait, *arrival = fields
    wait_s = seconds(COLUMNS[5], wait, MS_PER_S)
    if wait_s > MAX_PAUSE_S:
        raise ValueError(f"{COLUMNS[5]} is {wait_s:,.0f} s: this session never ends; is it in milliseconds?")
    input_tokens = whole(COLUMNS[2], prefix, 0) + whole(COLUMNS[3], new, 0)
    if input_tokens < 1:
        raise ValueError("prefix_len + input_len must be at least 1")
    at_s = seconds(ARRIVAL, arrival[0], MS_PER_S) if arrival else None
    return _Round(session, int(index), input_tokens, whole(COLUMNS[4], answer, 0), wait_s, at_s)


def _check(member: Member, session: str, rounds: list[_Round], seen: set[str]) -> None:
    """Raises TraceError: a session lies in two places, has no first round, or lacks one."""
    if session in seen:
        raise TraceError(
            member.where, 0, f"session {session} lies in two places; sort by arrival_time, session_id, round_idx"
        )
    seen.add(session)
    for number, one in enumerate(rounds):
        if one.number == number:
            continue
        what = f"begins at round {one.number}: its first turn is missing" if not number else f"lacks round {number}"
        raise TraceError(
            member.where, 0, f"session {session} {what}; drop the session, or sort its rounds by round_idx"
        )


def _requests(rounds: list[_Round], task: str, workload_class: str) -> Iterator[Request]:
    earliest_s, pause_s = 0.0, 0.0
    base = zlib.crc32(task.encode()) << _ID_BITS
    for one in rounds:
        earliest_s += pause_s
        last = one is rounds[-1]
        turn = Turn(task, task, one.number, pause_s, ends_session=last, ends_task=last)
        prefix = Prefix(BLOCK_TOKENS, range(base, base + one.input_tokens // BLOCK_TOKENS))
        yield Request(earliest_s, workload_class, one.input_tokens, one.output_tokens, turn=turn, prefix=prefix)
        pause_s = one.wait_s
