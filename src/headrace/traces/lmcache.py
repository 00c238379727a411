"""Calls of agents as LMCache records them: one file a session, a JSON object a call with its whole prompt and answer.

Microseconds of Unix time, *not in order* within a file. How long answers took was not recorded, so a call comes when it
was recorded to come, or when the one before has been answered if that is later. Calls without a prompt are left out and
counted; empty sessions too. One agent's call may overlap another's: they are one session here, one after another.
Source: github.com/LMCache/lmcache-agent-trace (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from headrace.traces._lines import good_rows, tokens
from headrace.traces.source import Head, Member
from headrace.traces.stamps import NS_PER_S
from headrace.traces.text import estimated_tokens, prefix_of
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Prefix, Request, Task, Turn

SHOWS = '{"timestamp": us, "input": text, "output": text, "session_id": ...} a line, one file a session'
NS_PER_US = 1000


class _Line(msgspec.Struct):
    timestamp: int
    input: str
    output: str
    session_id: str


class _Call(NamedTuple):
    """A call without its text."""

    at_ns: int
    session: str
    input_tokens: int
    output_tokens: int
    prefix: Prefix


class LmcacheTrace(TraceFile):
    """An archive or folder of sessions, or one session. Held without their text: lengths and block ids."""

    format = "lmcache"

    def t0_ns(self) -> int | None:
        """Unix time of the first call of all sessions."""
        return min((calls[0].at_ns for calls in self._sessions()), default=None)

    def items(self, t0_ns: int) -> Iterator[Item]:
        """One task a session, in order of their start."""
        self.settings.note(f"{self.source.name} holds text: tokens are estimated as bytes / 4")
        yield from sorted((self._task(calls, t0_ns) for calls in self._sessions()), key=lambda task: task.start_s)

    def _sessions(self) -> Iterator[list[_Call]]:
        decoder = msgspec.json.Decoder(_Line)

        def parse(line: bytes) -> _Call | None:
            return _call(decoder.decode(line))

        for member in self.source.members():
            calls = [call for call in good_rows(member, parse, self.settings.bad_lines) if call is not None]
            if calls:
                yield sorted(calls, key=lambda call: call.at_ns)
            self._say_what_is_left_out(member, calls)

    def _say_what_is_left_out(self, member: Member, calls: list[_Call]) -> None:
        if not calls:
            self.settings.note(f"{member.where} holds no call with a prompt: left out")

    def _task(self, calls: list[_Call], t0_ns: int) -> Task:
        start_ns = calls[0].at_ns
        name = f"{self.workload_class}/{calls[0].session}"
        return Task((start_ns - t0_ns) / NS_PER_S, name, _requests(calls, name, self.workload_class))


def recognises(head: Head) -> bool:
    """Prompts, answers and a session."""
    return all(key in head.start for key in (b'"timestamp"', b'"input"', b'"session_id"')) and (
        b'"round_index"' not in head.start
    )


def _call(line: _Line) -> _Call | None:
    """None: the call has no prompt."""
    if not line.input:
        return None
    at_ns = _unix_ns(line.timestamp)
    input_tokens = tokens("input", estimated_tokens(line.input, 1))
    return _Call(at_ns, line.session_id, input_tokens, estimated_tokens(line.output), prefix_of(line.input))


def _unix_ns(timestamp_us: int) -> int:
    """Unix nanoseconds of a stamp in microseconds. Raises ValueError: it is in another unit."""
    if not 10**14 < timestamp_us < 10**17:
        raise ValueError(f"timestamp must be in microseconds of Unix time, got {timestamp_us}")
    return timestamp_us * NS_PER_US


def _requests(calls: list[_Call], task: str, workload_class: str) -> Iterator[Request]:
    for number, call in enumerate(calls):
        last = number == len(calls) - 1
        turn = Turn(task, task, number, None if number else 0.0, ends_session=last, ends_task=last)
        earliest_s = (call.at_ns - calls[0].at_ns) / NS_PER_S
        lengths = call.input_tokens, call.output_tokens
        yield Request(earliest_s, workload_class, *lengths, turn=turn, prefix=call.prefix)
