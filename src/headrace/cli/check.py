"""`headrace check FLEET`: is this fleet file right, and does every model fit where it is put?"""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.live import check_live
from headrace.cli.options import FleetFile
from headrace.cli.output import JsonPath, write_result
from headrace.config import load_fleet
from headrace.errors import ConfigError
from headrace.fleet import Calibration, Fleet, Pool
from headrace.fleet.check import fleet_warnings
from headrace.perf import memory_fit, speed_curve

INPUT_TOKENS = 1000


class PoolFacts(msgspec.Struct, frozen=True):
    """What a pool is and how fast one user of one backend is served; None: not known."""

    accelerator: str | None
    count: int | None
    calibrated: str | None
    backends: int
    kv_capacity_tokens: int | None
    output_tokens_per_s: float
    ttft_s: float


def check(
    fleet: FleetFile = None,
    live: Annotated[
        str | None, typer.Option(help="Try the dialect's claims at this backend, with tiny requests.")
    ] = None,
    json: JsonPath = None,
) -> None:
    """Check a fleet file: every fault at once, each with its path; exit 2 if there is one.

    With --live, a few tiny requests (at most about twenty, of 8 output tokens each) show which claims of the backend's
    dialect hold there.
    """
    try:
        loaded = load_fleet(fleet)
    except ConfigError as error:
        faults = [{"path": fault.path, "message": fault.message} for fault in error.faults]
        write_result(json, {"schema": 1, "command": "check", "faults": faults, "warnings": [], "pools": {}})
        raise
    if live is not None:
        check_live(loaded, live, json)
        return
    warnings = [str(warning) for warning in fleet_warnings(loaded)]
    for warning in warnings:
        Console(stderr=True).print(f"warning: {warning}", highlight=False, markup=False)
    pools = {name: _facts(pool) for name, pool in loaded.pools.items()}
    write_result(json, {"schema": 1, "command": "check", "faults": [], "warnings": warnings, "pools": pools})
    if json is None or str(json) != "-":
        Console().print(_table(loaded, pools))
        for name, facts in pools.items():
            if facts.calibrated is not None:
                Console().print(f"{name}: speed from calibration {facts.calibrated}", highlight=False)


def _facts(pool: Pool) -> PoolFacts:
    deployment, curve = pool.deployment, speed_curve(pool.deployment)
    known = deployment.accelerator is not None
    return PoolFacts(
        accelerator=None if deployment.accelerator is None else deployment.accelerator.name,
        count=deployment.count if known else None,
        calibrated=None if deployment.calibrated is None else _calibrated(deployment.calibrated),
        backends=len(pool.backends),
        kv_capacity_tokens=memory_fit(deployment).kv_capacity_tokens if known else None,
        output_tokens_per_s=1 / curve.tpot_s(),
        ttft_s=curve.ttft_s(INPUT_TOKENS),
    )


def _calibrated(found: Calibration) -> str:
    """Which calibration, of when, and how far it was measured."""
    beyond = "" if found.max_batch <= found.measured_batch else f"; extrapolated from batch {found.measured_batch}"
    return f"{found.name} ({found.measured}; batch up to {found.max_batch}{beyond})"


def _runs_on(facts: PoolFacts) -> str:
    chips = None if facts.accelerator is None else f"{facts.count} x {facts.accelerator}"
    if facts.calibrated is not None:
        return f"{chips}, calibrated" if chips else "calibrated"
    return chips or "observed speed"


def _table(fleet: Fleet, pools: dict[str, PoolFacts]) -> Table:
    shares = ", ".join(f"{s.name} = {'+'.join(s.pools)} {s.target:.0%} of {s.of}" for s in fleet.shares.values())
    table = Table(title="fleet", caption=f"shares: {shares}" if shares else None, caption_justify="left")
    for column in ("pool", "runs on", "backends", "KV room, tokens", "tokens/s, one user", "TTFT at 1,000 tokens"):
        table.add_column(column)
    for name, facts in pools.items():
        table.add_row(
            name,
            _runs_on(facts),
            str(facts.backends),
            "unknown" if facts.kv_capacity_tokens is None else f"{facts.kv_capacity_tokens:,}",
            f"{facts.output_tokens_per_s:,.0f}",
            f"{facts.ttft_s:.3f} s",
        )
    return table
