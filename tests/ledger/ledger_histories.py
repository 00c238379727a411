"""What several tests of the ledger write."""

from __future__ import annotations

from headrace.ledger import AttemptStatus, UsageLedger


def open_one(ledger: UsageLedger, attempt_id: int, reserved: int | None = 500) -> None:
    fields = (attempt_id, attempt_id + 1000, "fäst-0", "coding", 1.5)
    ledger.opened(*fields, input_tokens=90, reserved_output_tokens=reserved)


def close_one(ledger: UsageLedger, attempt_id: int) -> bool:
    usage = {"input_tokens": 100, "output_tokens": 40, "cached_input_tokens": 8}
    return ledger.closed(attempt_id, AttemptStatus.COMPLETED, 2.5, delivered_output_tokens=40, **usage)
