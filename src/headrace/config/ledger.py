"""`[ledger]`: how the usage ledger is kept; every setting has the default of `headrace.fleet.LedgerSettings`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.config.document import Positive, Table
from headrace.config.faults import Faults
from headrace.fleet import Fsync, LedgerSettings

LEAST_ROTATE_BYTES = 65_536  # below, a file would hold little but its head


class LedgerTable(Table, frozen=True, kw_only=True):
    """`[ledger]`."""

    fsync: Fsync | None = None
    fsync_interval_s: Positive | None = None
    rotate_bytes: Annotated[int, Meta(ge=LEAST_ROTATE_BYTES)] | None = None
    rotate_daily: bool | None = None
    postgres: Annotated[str, Meta(min_length=1)] | None = None


def ledger_settings(raw: object, faults: Faults) -> LedgerSettings:
    """The table's settings; what is wrong with it goes to `faults`."""
    table = faults.table(raw, LedgerTable, "ledger")
    if table is None:
        return LedgerSettings()
    given = {name: value for name, value in msgspec.structs.asdict(table).items() if value is not None}
    if "fsync_interval_s" in given and table.fsync is not Fsync.INTERVAL:
        faults.add("ledger.fsync_interval_s", 'only meant for fsync = "interval"; set that, or remove it')
    if table.postgres is not None and table.postgres.partition(":")[0] not in ("env", "file"):
        message = "a URL holds a password; keep it elsewhere and say where: env:NAME, or file:PATH"
        faults.add("ledger.postgres", message)
    return LedgerSettings(**given)
