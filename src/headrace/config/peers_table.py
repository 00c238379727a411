"""`[peers]` of a fleet file: how several engines over one fleet tell each other what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.config.document import Positive, Table
from headrace.config.faults import Faults
from headrace.fleet import Peers


class PeersTable(Table, frozen=True, kw_only=True):
    """`[peers]`; every setting has the default of `headrace.fleet.Peers`."""

    interval_s: Annotated[float, Meta(ge=0.01)] | None = None
    dead_after_s: Positive | None = None
    redis: str | None = None
    password_env: str | None = None
    fleet_name: Annotated[str, Meta(min_length=1)] | None = None


def peers(raw: Mapping[str, object], faults: Faults) -> Peers:
    """The table, or its defaults where there is none."""
    table = faults.table(raw.get("peers", {}), PeersTable, "peers")
    given = {} if table is None else msgspec.structs.asdict(table)
    return Peers(**{key: value for key, value in given.items() if value is not None})
