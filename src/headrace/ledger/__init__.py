"""The usage ledger: an append-only file of what every attempt used, from dispatch to end."""

from headrace.ledger.reader import Entry, LedgerState, LedgerTotals, ledger_totals, read_ledger
from headrace.ledger.record import AttemptStatus, Closed, Interrupted, Opened, Record, Recovered, RunStarted
from headrace.ledger.writer import Recovery, UsageLedger, recover

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
