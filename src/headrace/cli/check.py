"""`headrace check FLEET`: is this fleet file right, and does every model fit where it is put?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.config import load_fleet
from headrace.fleet import Deployment, Fleet
from headrace.fleet.check import fleet_warnings
from headrace.perf import memory_fit, speed_curve


def check(
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
) -> None:
    """Check a fleet file: every fault at once, each with its path; exit 2 if there is one."""
    loaded = load_fleet(fleet)
    for warning in fleet_warnings(loaded):
        Console(stderr=True).print(f"warning: {warning}", highlight=False, markup=False)
    Console().print(_table(loaded))


def _table(fleet: Fleet) -> Table:
    table = Table(title="fleet")
    for column in ("pool", "runs on", "backends", "KV room, tokens", "tokens/s, one user", "TTFT at 1,000 tokens"):
        table.add_column(column)
    for pool in fleet.pools.values():
        curve = speed_curve(pool.deployment)
        table.add_row(
            pool.name,
            _silicon(pool.deployment),
            str(len(pool.backends)),
            _kv_room(pool.deployment),
            f"{1 / curve.tpot_s():,.0f}",
            f"{curve.ttft_s(1000):.3f} s",
        )
    return table


def _silicon(deployment: Deployment) -> str:
    if deployment.accelerator is None:
        return "observed speed"
    return f"{deployment.count} x {deployment.accelerator.name}"


def _kv_room(deployment: Deployment) -> str:
    return "unknown" if deployment.accelerator is None else f"{memory_fit(deployment).kv_capacity_tokens:,}"
