"""Shipping the ledger to PostgreSQL, in a thread, while `serve` writes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from os import PathLike

from headrace.cli.output import say
from headrace.fleet import LedgerSettings
from headrace.ledger.postgres import Shipper, database_url


@contextlib.contextmanager
def shipped(ledger: str | PathLike[str], settings: LedgerSettings) -> Iterator[Shipper | None]:
    """While a ledger is written, a thread ships it to PostgreSQL, if the settings say so. Raises as `Shipper` does."""
    if settings.postgres is None:
        yield None
        return
    with contextlib.closing(Shipper(ledger, database_url(settings.postgres), say)) as shipper:
        yield shipper
