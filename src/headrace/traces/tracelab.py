"""Rounds of coding sessions as TraceLab records them: one JSON object a round, with tool times and real cache hits.

Rounds of a session follow one another in the file. A round starts with the last input it waited for (a message, a
tool's result), and its answer ends with the round's last timing event; the pause is the time between the two. Rounds
say how many tokens the provider's cache really held, not which: there are no block ids. Reasoning counts inside
`output_tokens` for one provider and not for the other.
Source: github.com/uw-syfi/TraceLab (Apache-2.0; data CC-BY-4.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import msgspec

from headrace.errors import TraceError
from headrace.traces._lines import Clock, good_rows, tokens
from headrace.traces.source import Head, Member
from headrace.traces.stamps import NS_PER_S, stamp_ns
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request, Task, Turn

SHOWS = '{"session_id": ..., "round_index": ..., "input_tokens_total": ..., "timing_events": [...]} a line'


class _Event(msgspec.Struct, gc=False):
    event_type: str
    timestamp: str


class _Round(msgspec.Struct, gc=False):
    session_id: str
    round_index: int
    input_tokens_total: int
    output_tokens: int
    timing_events: list[_Event]
    start_ns: int = 0
    end_ns: int = 0


class TraceLabTrace(TraceFile):
    """A file of rounds, session by session."""

    format = "tracelab"

    def t0_ns(self) -> int | None:
        """The start of the earliest session; every session is looked at, none is kept."""
        return min((rounds[0].start_ns for rounds in self._sessions()), default=None)

    def items(self, t0_ns: int) -> Iterator[Item]:
        """One task a session, in order of their start: one small plan a session is held until then."""
        tasks = [self._task(rounds, t0_ns) for rounds in self._sessions()]
        yield from sorted(tasks, key=lambda task: task.start_s)

    def _sessions(self) -> Iterator[list[_Round]]:
        for member in self.source.members():
            seen: set[str] = set()
            rows = good_rows(member, _parse, self.settings.bad_lines)
            for session, rounds in groupby(rows, key=lambda one: one.session_id):
                yield _checked(member, session, list(rounds), seen)

    def _task(self, rounds: list[_Round], t0_ns: int) -> Task:
        name = f"{self.workload_class}/{rounds[0].session_id}"
        requests: list[Request] = []
        earliest_s = 0.0
        for number, one in enumerate(rounds):
            pause_s = max(one.start_ns - rounds[number - 1].end_ns, 0) / NS_PER_S if number else 0.0
            earliest_s += pause_s
            last = number == len(rounds) - 1
            turn = Turn(name, name, number, pause_s, ends_session=last, ends_task=last)
            lengths = one.input_tokens_total, one.output_tokens
            requests.append(Request(earliest_s, self.workload_class, *lengths, turn=turn))
        return Task((rounds[0].start_ns - t0_ns) / NS_PER_S, name, requests)


def recognises(head: Head) -> bool:
    """Rounds with timing events."""
    return b'"round_index"' in head.start and b'"timing_events"' in head.start


_decode = msgspec.json.Decoder(_Round).decode
_INPUTS = ("user_message", "tool_result")


def _parse(line: bytes) -> _Round:
    found = _decode(line)
    tokens("input_tokens_total", found.input_tokens_total)
    tokens("output_tokens", found.output_tokens, 0)
    if not found.timing_events:
        raise ValueError("timing_events is empty: the round has no time")
    inputs = [event for event in found.timing_events if event.event_type in _INPUTS] or found.timing_events[:1]
    found.start_ns = max(stamp_ns("timestamp", event.timestamp) for event in inputs)
    found.end_ns = max(stamp_ns("timestamp", event.timestamp) for event in found.timing_events)
    found.timing_events = []
    return found


def _checked(member: Member, session: str, rounds: list[_Round], seen: set[str]) -> list[_Round]:
    """Raises TraceError: a session lies in two places, begins late, or its time goes back."""
    if session in seen:
        raise TraceError(
            member.where, 0, f"session {session} lies in two places; sort the file by session_id, round_index"
        )
    seen.add(session)
    if rounds[0].round_index:
        message = (
            f"session {session} begins at round {rounds[0].round_index}: its first turn is missing; drop the session"
        )
        raise TraceError(member.where, 0, message)
    clock = Clock("round_index", calendar=True)
    try:
        for one in rounds:
            clock.tick(one.start_ns / NS_PER_S)
    except ValueError as fault:
        raise TraceError(member.where, 0, f"session {session}: {fault}") from fault
    return rounds
