"""`[telemetry]` of a fleet file; every setting has the default of `headrace.fleet.TelemetrySettings`."""

from __future__ import annotations

import msgspec

from headrace.config.document import Count, Table
from headrace.config.faults import Faults
from headrace.fleet import TelemetrySettings


class TelemetryTable(Table, frozen=True, kw_only=True):
    """`[telemetry]`."""

    max_series: Count | None = None


def telemetry(raw: object, faults: Faults) -> TelemetrySettings:
    """The table's settings; what is wrong with it goes to `faults`."""
    table = faults.table(raw, TelemetryTable, "telemetry")
    given = {} if table is None else msgspec.structs.asdict(table)
    return TelemetrySettings(**{key: value for key, value in given.items() if value is not None})
