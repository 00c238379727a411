"""Reading a ledger: lines become entries, one for each attempt, each with one end.

A second end of an attempt, or the end of one that is not open, changes nothing: the first end holds. How lines become
records, and which are forgiven: `metrics.usage`. The files of a directory are read as one, each writer's in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any

from headrace.cost import MarginalCost, request_cost_usd
from headrace.errors import TraceError
from headrace.ledger.files import ledger_files
from headrace.metrics.usage import (
    AttemptStatus,
    Closed,
    Interrupted,
    LedgerState,
    Opened,
    Record,
    Terms,
    decode_records,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt.

    Attributes:
        run_id: with `attempt_id`, names it among all; `run` is the number of its run in its file.
        started_unix_s: second 0 of its run, in wall time; None: its file does not say.
        at_s, ended_s: dispatch and end, in seconds of its run; `ended_s` is None while open or when interrupted.
        input_tokens: the backend's own count, or the estimate at dispatch where it gave none (`usage` is False).
        output_low, output_high: the true output count lies between; equal when the backend said it; None: no bound.
        cached_input_tokens: None: unknown.
        terms: the backend's when it was dispatched; None: not recorded.
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
    run_id: str
    started_unix_s: float | None
    terms: Terms | None
    api: str
    reason: str
    tenant: str
    key: str = ""

    @property
    def usd(self) -> tuple[float, float | None] | None:
        """What it cost, at least and at most (None: no bound); None where no terms are recorded.

        By the backend's counts, where it gave them: exact. Else at most the estimated input and all that was reserved;
        at least nothing, if nothing was delivered, and else the cheaper price for the input and what was delivered.
        """
        if self.terms is None:
            return None
        terms = self.terms
        fresh, cached, output = (
            *(terms.input_usd_per_token, terms.cached_input_usd_per_token),
            terms.output_usd_per_token,
        )
        if self.usage:
            cost = MarginalCost(fresh, cached, output)
            usd = request_cost_usd(cost, self.input_tokens, self.output_low, self.cached_input_tokens or 0)
            return usd, usd
        low = self.input_tokens * min(fresh, cached) + self.output_low * output if self.output_low else 0.0
        high = None if self.output_high is None else self.input_tokens * fresh + self.output_high * output
        return low, high


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


def read_ledger(
    path: str | PathLike[str], state: LedgerState | None = None, *, writer: str | None = None
) -> Iterator[Entry]:
    """Every attempt once: ended ones in the order of their end, then those still open.

    Args:
        path: a file, or a directory of files.
        state: filled while reading, for callers that want to know what is open or torn.
        writer: only what this one wrote, of a directory; None: all.

    Raises:
        TraceError: the ledger cannot be opened, or holds a line in its middle that cannot be read.
    """
    state = state or LedgerState()
    for file in ledger_files(path, writer):
        state.runs.clear()
        for record in _records(file, state):
            if isinstance(record, Opened):
                state.open[state.key(record)] = record
            elif isinstance(record, Closed | Interrupted):
                key = state.key(record)
                opened = state.open.pop(key, None)
                if opened is not None:
                    yield _ended(opened, record, key[0], state)
    for (run_id, _), opened in state.open.items():
        yield _entry(opened, AttemptStatus.OPEN, run_id, state)


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


def _ended(opened: Opened, record: Closed | Interrupted, run_id: str, state: LedgerState) -> Entry:
    if isinstance(record, Interrupted):
        return _entry(opened, AttemptStatus.INTERRUPTED, run_id, state, low=record.delivered_output_tokens)
    status = AttemptStatus(record.status)
    if record.output_tokens is None:
        return _entry(opened, status, run_id, state, ended_s=record.at_s, low=record.delivered_output_tokens)
    return Entry(
        status=status,
        ended_s=record.at_s,
        input_tokens=opened.input_tokens if record.input_tokens is None else record.input_tokens,
        output_low=record.output_tokens,
        output_high=record.output_tokens,
        cached_input_tokens=record.cached_input_tokens,
        usage=True,
        **_said_at_dispatch(opened, run_id, state),
    )


def _entry(
    opened: Opened,
    status: AttemptStatus,
    run_id: str,
    state: LedgerState,
    *,
    ended_s: float | None = None,
    low: int = 0,
) -> Entry:
    """An attempt whose backend did not say what it used: the interval [delivered, reserved]."""
    high = opened.reserved_output_tokens
    return Entry(
        status=status,
        ended_s=ended_s,
        input_tokens=opened.input_tokens,
        output_low=low,
        output_high=None if high is None else max(high, low),
        cached_input_tokens=None,
        usage=False,
        **_said_at_dispatch(opened, run_id, state),
    )


def _said_at_dispatch(opened: Opened, run_id: str, state: LedgerState) -> dict[str, Any]:
    """What an entry has from the record of its dispatch."""
    same = ("run", "attempt_id", "request_id", "backend", "workload_class", "at_s", "api", "reason", "tenant", "key")
    terms = None if opened.terms is None else state.terms.get((run_id, opened.terms))
    known = {"run_id": run_id, "started_unix_s": state.started_unix_s.get(run_id), "terms": terms}
    return {name: getattr(opened, name) for name in same} | known


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
