"""`headrace check --live BACKEND`: the claims of a backend's dialect, tried there, as a table."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console
from rich.table import Table

from headrace.cli.output import write_result
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.fleet.catalog import close_matches

HOLDS = {True: "yes", False: "no", None: "open"}


def check_live(fleet: Fleet, name: str, json: Path | None) -> None:
    """Try them, and print what holds. Raises ConfigError: the fleet has no such backend."""
    from headrace.bench.live_check import live_claims  # most checks send nothing

    backends = {backend.name: backend for backend in fleet.backends}
    if name not in backends:
        raise ConfigError("command line", [Fault("--live", f"no backend {name!r}; {close_matches(name, backends)}")])
    backend = backends[name]
    claims = asyncio.run(live_claims(backend, fleet.pools[backend.pool].model_name_at(backend)))
    found = [claim._asdict() for claim in claims]
    write_result(json, {"schema": 1, "command": "check", "backend": name, "dialect": backend.dialect, "claims": found})
    if json is not None and str(json) == "-":
        return
    table = Table(
        title=f"{name}: {backend.dialect}", caption="open: cannot be told from outside", caption_justify="left"
    )
    for column in ("claim", "the dialect says", "found", "holds"):
        table.add_column(column)
    for claim in claims:
        table.add_row(claim.claim, claim.said, claim.found, HOLDS[claim.holds])
    Console().print(table)
