"""Reading a ledger: lines become entries, one for each attempt, each with one end.

The file is append-only, so a writer that dies can leave one torn line, and the next start writes `recovered` below it.
Lines that cannot be read are therefore forgiven at the end of the file and above such a mark, and reported; anywhere
else they are damage and an error. A second end of an attempt, or the end of one that is not open, changes nothing: the
first end holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike, fspath

import msgspec

from headrace.errors import TraceError
from headrace.ledger.record import AttemptStatus, Closed, Interrupted, Opened, Record, Recovered, RunStarted

_DECODER = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt.

    Attributes:
        at_s, ended_s: dispatch and end, in seconds of run `run`; `ended_s` is None while open or when interrupted.
        input_tokens: the backend's own count, or the estimate at dispatch where it gave none (`usage` is False).
        output_low, output_high: the true output count lies between; equal when the backend said it; None: no bound.
        cached_input_tokens: None: unknown.
    """

    run: int
    attempt_id: int
    request_id: int
    backend: str
    workload_class: str
    status: AttemptStatus
    at_s: float
    ended_s: float | None
    input_tokens: int
    output_low: int
    output_high: int | None
    cached_input_tokens: int | None
    usage: bool


@dataclass(slots=True)
class LedgerState:
    """What a pass over a file leaves behind.

    Attributes:
        open: attempts without an end, in the order of their dispatch.
        last_run: highest run number seen; 0 in a new file.
        records: records that could be read.
        torn: lines that could not be read, with their numbers.
        unrepaired: the torn lines are at the end of the file, with no mark below them.
        ends_with_newline: whether the next record starts on a line of its own.
    """

    open: dict[tuple[int, int], Opened] = field(default_factory=dict)
    last_run: int = 0
    records: int = 0
    torn: list[tuple[int, bytes]] = field(default_factory=list)
    unrepaired: bool = False
    ends_with_newline: bool = True


@dataclass(slots=True)
class LedgerTotals:
    """Sums over the attempts of one (backend, workload class).

    Attributes:
        output_tokens: of attempts whose backend said how many, to the token.
        uncertain: attempts without usage; the sum of their true counts is between `uncertain_low` and
            `uncertain_high` (None: some of them had no bound).
    """

    attempts: int = 0
    open: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    uncertain: int = 0
    uncertain_low: int = 0
    uncertain_high: int | None = 0


def read_ledger(path: str | PathLike[str], state: LedgerState | None = None) -> Iterator[Entry]:
    """Every attempt once: ended ones in the order of their end, then those still open.

    Args:
        state: filled while reading, for callers that want to know what is open or torn.

    Raises:
        TraceError: the file cannot be opened, or holds a line in its middle that cannot be read.
    """
    state = state or LedgerState()
    for record in _records(fspath(path), state):
        if isinstance(record, Opened):
            state.open[record.run, record.attempt_id] = record
        elif isinstance(record, Closed | Interrupted):
            opened = state.open.pop((record.run, record.attempt_id), None)
            if opened is not None:
                yield _ended(opened, record)
    for opened in state.open.values():
        yield _entry(opened, AttemptStatus.OPEN)


def ledger_totals(path: str | PathLike[str]) -> dict[tuple[str, str], LedgerTotals]:
    """Sums by (backend, workload class), sorted by both. Raises as `read_ledger`."""
    sums: dict[tuple[str, str], LedgerTotals] = {}
    for entry in read_ledger(path):
        _add(sums.setdefault((entry.backend, entry.workload_class), LedgerTotals()), entry)
    return dict(sorted(sums.items()))


def _records(path: str, state: LedgerState) -> Iterator[Record]:
    try:
        with open(path, "rb") as file:
            yield from _decoded(path, file, state)
    except OSError as fault:
        raise TraceError(path, 0, f"ledger cannot be read: {fault.strerror}") from fault


def _decoded(path: str, lines: Iterable[bytes], state: LedgerState) -> Iterator[Record]:
    damaged: int | None = None  # first of the unreadable lines just above
    for number, line in enumerate(lines, start=1):
        state.ends_with_newline = line.endswith(b"\n")
        try:
            record = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            state.torn.append((number, line))
            damaged = damaged or number
            continue
        if damaged is not None and not isinstance(record, RunStarted | Recovered):
            raise TraceError(path, damaged, "this line of the ledger is damaged; restore the file from a copy")
        damaged = None
        state.records += 1
        if not isinstance(record, Recovered):
            state.last_run = max(state.last_run, record.run)
        yield record
    state.unrepaired = damaged is not None


def _ended(opened: Opened, record: Closed | Interrupted) -> Entry:
    if isinstance(record, Interrupted):
        return _entry(opened, AttemptStatus.INTERRUPTED, low=record.delivered_output_tokens)
    status = AttemptStatus(record.status)
    if record.output_tokens is None:
        return _entry(opened, status, ended_s=record.at_s, low=record.delivered_output_tokens)
    return Entry(
        *(opened.run, opened.attempt_id, opened.request_id, opened.backend, opened.workload_class, status, opened.at_s),
        ended_s=record.at_s,
        input_tokens=opened.input_tokens if record.input_tokens is None else record.input_tokens,
        output_low=record.output_tokens,
        output_high=record.output_tokens,
        cached_input_tokens=record.cached_input_tokens,
        usage=True,
    )


def _entry(opened: Opened, status: AttemptStatus, *, ended_s: float | None = None, low: int = 0) -> Entry:
    """An attempt whose backend did not say what it used: the interval [delivered, reserved]."""
    high = opened.reserved_output_tokens
    return Entry(
        *(opened.run, opened.attempt_id, opened.request_id, opened.backend, opened.workload_class, status, opened.at_s),
        ended_s=ended_s,
        input_tokens=opened.input_tokens,
        output_low=low,
        output_high=None if high is None else max(high, low),
        cached_input_tokens=None,
        usage=False,
    )


def _add(sums: LedgerTotals, entry: Entry) -> None:
    sums.attempts += 1
    sums.open += entry.status is AttemptStatus.OPEN
    sums.input_tokens += entry.input_tokens
    sums.cached_input_tokens += entry.cached_input_tokens or 0
    if entry.usage:
        sums.output_tokens += entry.output_low
        return
    sums.uncertain += 1
    sums.uncertain_low += entry.output_low
    if sums.uncertain_high is not None:
        sums.uncertain_high = None if entry.output_high is None else sums.uncertain_high + entry.output_high
