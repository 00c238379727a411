"""Sessions whose turns lie scattered over a trace in order of time, as services record them.

A task must be given at its start with its later turns to follow, so its turns are read ahead, and no further than
needed: up to the session's next row, or until it has been silent for `IDLE_S`. Then it is over, and what comes later
under its id is a new session. Memory follows what happens in about `IDLE_S` of trace, not its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from headrace.workload import Item, Prefix, Request, Task, Turn

IDLE_S = 3600.0
"""A session that is silent for an hour has ended: 99.7 % of the turns of coding sessions come back sooner (computed
from the Claude Code sessions of github.com/callanjfox/kv-cache-tester)."""


class Row(NamedTuple):
    """One request of a trace.

    Attributes:
        session: None: a request on its own.
        answer_s: how long its answer took where it was recorded; None: unknown.
    """

    at_s: float
    session: str | None
    input_tokens: int
    output_tokens: int
    answer_s: float | None = None
    prefix: Prefix | None = None
    tenant: str = "default"


class Interleaved:
    """Turns rows in order of time into requests and tasks. Its own iterator: read once."""

    def __init__(self, rows: Iterator[Row], workload_class: str, idle_s: float = IDLE_S) -> None:
        self._rows = rows
        self._class = workload_class
        self._idle_s = idle_s
        self._now_s = float("-inf")
        self._done = False
        self._ready: deque[Item] = deque()
        self._queues: dict[str, deque[Row]] = {}

    def items(self) -> Iterator[Item]:
        """Requests and tasks in order of their start."""
        while self._ready or self._read():
            while self._ready:
                yield self._ready.popleft()

    def _read(self) -> bool:
        """Take one more row; False at the end of the trace."""
        row = next(self._rows, None)
        if row is None:
            self._done = True
            return False
        self._now_s = row.at_s
        if row.session is None:
            self._ready.append(_request(row, self._class))
            return True
        queue = self._queues.get(row.session)
        if queue is not None and row.at_s - queue[-1].at_s <= self._idle_s:
            queue.append(row)
        else:
            queue = self._queues[row.session] = deque((row,))
            task = f"{self._class}/{row.session}@{row.at_s:g}"
            self._ready.append(Task(row.at_s, task, self._turns(task, row.session, queue)))
        return True

    def _turns(self, task: str, session: str, queue: deque[Row]) -> Iterator[Request]:
        start_s, earliest_s, number, pause_s = queue[0].at_s, 0.0, 0, 0.0 if queue[0].answer_s is not None else None
        while True:
            row = queue[0]
            while len(queue) == 1 and not self._done and self._now_s - row.at_s <= self._idle_s:
                self._read()
            ends = len(queue) == 1
            if ends and self._queues.get(session) is queue:
                del self._queues[session]
            turn = Turn(task, task, number, pause_s, ends_session=ends, ends_task=ends)
            yield _request(row, self._class, earliest_s, turn)
            if ends:
                return
            queue.popleft()
            number, gap_s = number + 1, queue[0].at_s - row.at_s
            pause_s = None if row.answer_s is None else max(gap_s - row.answer_s, 0.0)
            earliest_s = queue[0].at_s - start_s if pause_s is None else earliest_s + pause_s


def _request(row: Row, workload_class: str, at_s: float | None = None, turn: Turn | None = None) -> Request:
    return Request(
        row.at_s if at_s is None else at_s,
        workload_class,
        row.input_tokens,
        row.output_tokens,
        tenant=row.tenant,
        turn=turn,
        prefix=row.prefix,
    )
