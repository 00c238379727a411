"""Reading a ledger: lines become entries, one for each attempt, each with one end.

A second end of an attempt, or the end of one that is not open, changes nothing: the first end holds. How lines become
records, and which are forgiven: `metrics.usage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fspath

from headrace.errors import TraceError
from headrace.metrics.usage import AttemptStatus, Closed, Interrupted, LedgerState, Opened, Record, decode_records


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
            yield from decode_records(path, file, state)
    except OSError as fault:
        raise TraceError(path, 0, f"ledger cannot be read: {fault.strerror}") from fault


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
