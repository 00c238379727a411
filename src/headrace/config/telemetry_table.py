"""`[telemetry]` of a fleet file; every setting has the default of `headrace.fleet.TelemetrySettings`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.config.document import Count, Table, Text
from headrace.config.faults import Faults
from headrace.fleet import LogFormat, TelemetrySettings


class TelemetryTable(Table, frozen=True, kw_only=True):
    """`[telemetry]`."""

    max_series: Count | None = None
    log_format: LogFormat | None = None
    access_log: bool | None = None
    access_log_file: Text | None = None
    otlp_endpoint: Annotated[str, Meta(pattern=r"^https?://[^/@]+(/[^?#]*)?$")] | None = None
    sampling_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    service_name: Text | None = None
    metrics_interval_s: Annotated[float, Meta(ge=0.01)] | None = None


def telemetry(raw: object, faults: Faults) -> TelemetrySettings:
    """The table's settings; what is wrong with it goes to `faults`."""
    table = faults.table(raw, TelemetryTable, "telemetry")
    if table is not None and table.access_log_file is not None and not table.access_log:
        faults.add("telemetry.access_log_file", "is of no use without access_log = true; set that, or remove it")
    given = {} if table is None else msgspec.structs.asdict(table)
    return TelemetrySettings(**{key: value for key, value in given.items() if value is not None})
