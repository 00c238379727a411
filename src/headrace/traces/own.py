"""Headrace's own records as traces: yesterday's live traffic, from a usage ledger or a policy journal.

An arrival is known when it comes, its output length when it has ended, and requests end in another order than they
come. So requests are held from their arrival until the oldest one is settled: memory follows what is in flight. A
request that did not end with a count (rejected, failed, cancelled, cut off by a crash) has no known length; it gets the
mean of its class so far, for it was traffic all the same, and a note says how many did; before any of its class has
finished, it is left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import msgspec

from headrace.errors import TraceError
from headrace.metrics.usage import (
    Closed,
    Interrupted,
    Key,
    LedgerState,
    Opened,
    RunStarted,
    decode_records,
)
from headrace.policy import Arrived, Dispatch, End, Finished
from headrace.policy.journal import JournalEntry, decode_entries, decode_header
from headrace.traces._lines import tokens
from headrace.traces.source import Head, Member
from headrace.traces.stamps import NS_PER_S
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Request

LEDGER_SHOWS = '{"kind":"run",...} first (a usage ledger)'
JOURNAL_SHOWS = '{"type":"headrace-journal",...} first (a policy journal)'
RETRY_S = 60.0  # a failed request whose retry has not begun by then has none


@dataclass(slots=True)
class _Held:
    """A request on its way."""

    at_s: float
    workload_class: str
    input_tokens: int
    tenant: str = "default"
    model: str | None = None
    max_output_tokens: int | None = None
    output_tokens: int | None = None
    open_attempts: int = 0
    settled: bool = False
    ended_s: float = 0.0


class _Settling:
    """Requests in order of arrival, given when everything before them is settled."""

    def __init__(self) -> None:
        self.held: OrderedDict[Hashable, _Held] = OrderedDict()
        self.guessed = self.left_out = 0
        self.other: set[str] = set()  # classes that were seen and not taken
        self._lengths: dict[str, tuple[int, int]] = {}

    def learn(self, one: _Held) -> None:
        """A request has finished with a count."""
        total, count = self._lengths.get(one.workload_class, (0, 0))
        self._lengths[one.workload_class] = total + (one.output_tokens or 0), count + 1

    def settled(self, now_s: float) -> Iterator[_Held]:
        """What can be given at `now_s`."""
        while self.held:
            key, one = next(iter(self.held.items()))
            failed = not one.open_attempts and one.ended_s > 0 and now_s - one.ended_s > RETRY_S
            if not one.settled and not failed:
                return
            del self.held[key]
            if self._has_length(one):
                yield one

    def _has_length(self, one: _Held) -> bool:
        if one.output_tokens is None:
            total, count = self._lengths.get(one.workload_class, (0, 0))
            if not count:
                self.left_out += 1
                return False
            self.guessed += 1
            one.output_tokens = round(total / count)
        return True


class _OwnTrace(TraceFile):
    """Takes the requests of its own class, or of the class that the path names: `FILE#CLASS`."""

    def items(self, t0_ns: int) -> Iterator[Item]:
        """The requests of the class, in order of arrival."""
        settling = _Settling()
        found = False
        for one in self._requests(settling):
            found = True
            yield Request(
                max(one.at_s - self._zero_s(t0_ns), 0.0),
                self.workload_class,
                one.input_tokens,
                one.output_tokens or 0,
                one.model,
                one.tenant,
                one.max_output_tokens,
            )
        if not found:
            known = ", ".join(sorted(settling.other)) or "none"
            message = f"holds no finished request of class {self.wanted!r}; others: {known}. Name one: FILE#CLASS"
            raise TraceError(self.source.name, 0, message)
        if settling.guessed or settling.left_out:
            self.settings.note(
                f"{self.source.name}: {settling.guessed} requests did not finish and have their class's mean length; "
                f"{settling.left_out} are left out"
            )

    @property
    def wanted(self) -> str:
        """The class to take."""
        return self.source.part or self.workload_class

    def _is_wanted(self, settling: _Settling, workload_class: str) -> bool:
        if workload_class == self.wanted:
            return True
        settling.other.add(workload_class)
        return False

    def _zero_s(self, t0_ns: int) -> float:
        """Where this file's clock stands at the workload's start; a journal's own clock has no date."""
        return 0.0

    def _requests(self, settling: _Settling) -> Iterator[_Held]:
        raise NotImplementedError


class LedgerTrace(_OwnTrace):
    """A usage ledger: the requests of a class, by their attempts."""

    format = "ledger"

    def t0_ns(self) -> int | None:
        """Unix time of the first run's start."""
        for member in self.source.members():
            for record in decode_records(member.where, (line for _, line in member.lines())):
                if isinstance(record, RunStarted):
                    return round(record.started_unix_s * NS_PER_S)
        return None

    def _zero_s(self, t0_ns: int) -> float:
        return t0_ns / NS_PER_S

    def _requests(self, settling: _Settling) -> Iterator[_Held]:
        keys: dict[Key, Key] = {}  # of an attempt, and of its request
        started_s, state = 0.0, LedgerState()
        for member in self.source.members():
            for record in decode_records(member.where, (line for _, line in member.lines()), state):
                if isinstance(record, RunStarted):
                    started_s = record.started_unix_s
                    for one in settling.held.values() if record.segment == 1 else ():
                        one.settled = True
                elif isinstance(record, Opened) and self._is_wanted(settling, record.workload_class):
                    if state.key(record) not in keys:  # else it is repeated at the head of a next file
                        keys[state.key(record)] = key = state.run_id(record.run), record.request_id
                        _open(settling, key, record, started_s + record.at_s)
                elif isinstance(record, Closed | Interrupted):
                    closed = keys.pop(state.key(record), None)
                    if closed is not None:
                        _close(settling, closed, record, started_s)
                now_s = started_s + record.at_s if isinstance(record, Opened | Closed) else started_s
                yield from settling.settled(now_s)
        for one in settling.held.values():
            one.settled = True
        yield from settling.settled(0.0)


def _open(settling: _Settling, key: Key, record: Opened, at_s: float) -> None:
    one = settling.held.get(key)
    if one is None:
        most = record.reserved_output_tokens
        one = _Held(at_s, record.workload_class, tokens("input_tokens", record.input_tokens), max_output_tokens=most)
        settling.held[key] = one
    one.open_attempts += 1


def _close(settling: _Settling, key: Key, record: Closed | Interrupted, started_s: float) -> None:
    one = settling.held.get(key)
    if one is None:
        return
    one.open_attempts -= 1
    if isinstance(record, Interrupted):
        one.settled = True
        return
    one.ended_s = started_s + record.at_s
    if record.status == "completed" and record.output_tokens is not None:
        one.output_tokens, one.settled = record.output_tokens, True
        one.input_tokens = record.input_tokens or one.input_tokens
        settling.learn(one)
    one.settled = one.settled or record.status in ("completed", "cancelled")


class JournalTrace(_OwnTrace):
    """A policy journal: the requests of a class, with tenant, model and the client's ceiling; times from its start."""

    format = "journal"

    def _requests(self, settling: _Settling) -> Iterator[_Held]:
        request_of: dict[int, int] = {}
        for member in self.source.members():
            for entry in _entries(member):
                event = entry.event
                if isinstance(event, Arrived) and self._is_wanted(settling, event.workload_class):
                    settling.held[event.request_id] = _Held(
                        entry.now_s,
                        event.workload_class,
                        max(event.input_tokens, 1),
                        event.tenant,
                        event.model,
                        event.max_output_tokens,
                    )
                elif isinstance(event, Finished):
                    one = settling.held.get(request_of.pop(event.attempt_id, -1))
                    if one is not None and event.output_tokens is not None:
                        one.output_tokens, one.input_tokens = (
                            event.output_tokens,
                            event.input_tokens or one.input_tokens,
                        )
                        settling.learn(one)
                _act(entry, settling, request_of)
                yield from settling.settled(entry.now_s)
        for one in settling.held.values():
            one.settled = True
        yield from settling.settled(0.0)


def _act(entry: JournalEntry, settling: _Settling, request_of: dict[int, int]) -> None:
    for action in entry.actions:
        if isinstance(action, Dispatch) and action.request_id in settling.held:
            request_of[action.attempt_id] = action.request_id
        elif isinstance(action, End) and action.request_id in settling.held:
            settling.held[action.request_id].settled = True


def _entries(member: Member) -> Iterator[JournalEntry]:
    lines = member.lines()
    for number, line in lines:
        try:
            if number == 1:
                decode_header(line)
            else:
                yield next(decode_entries([line]))
        except msgspec.DecodeError as error:
            if not line.endswith(b"\n"):
                return  # the process was killed while it wrote: what came before holds
            raise TraceError(member.where, number, f"not a journal: {error}") from error


def recognises_ledger(head: Head) -> bool:
    """The first record says that a run began."""
    return head.start.startswith(b'{"kind":"run"')


def recognises_journal(head: Head) -> bool:
    """The first line is a journal's header."""
    return b'"headrace-journal"' in head.lines[0]
