"""The usage ledger: an append-only file of what every attempt used, from dispatch to end."""

from headrace.ledger.reader import Entry, LedgerTotals, ledger_totals, read_ledger
from headrace.ledger.writer import Recovery, UsageLedger, recover
from headrace.metrics.usage import (
    AttemptStatus,
    Closed,
    Interrupted,
    LedgerState,
    Opened,
    Record,
    Recovered,
    RunStarted,
)

__all__ = [
    "AttemptStatus",
    "Closed",
    "Entry",
    "Interrupted",
    "LedgerState",
    "LedgerTotals",
    "Opened",
    "Record",
    "Recovered",
    "Recovery",
    "RunStarted",
    "UsageLedger",
    "ledger_totals",
    "read_ledger",
    "recover",
]
