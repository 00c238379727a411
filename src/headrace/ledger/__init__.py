"""The usage ledger: an append-only log of what every attempt used, from dispatch to end."""

from headrace.ledger.files import ledger_files
from headrace.ledger.reader import Entry, LedgerTotals, ledger_totals, read_ledger
from headrace.ledger.terms import fleet_terms
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
    Terms,
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
    "Terms",
    "UsageLedger",
    "fleet_terms",
    "ledger_files",
    "ledger_totals",
    "read_ledger",
    "recover",
]
