"""What the fleet file says: its faults and warnings, credentials, shares that cannot be kept, figures that are old."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import date

from headrace.cli.diagnosis.finding import Finding, Severity
from headrace.cli.first_fleet import list_price
from headrace.errors import ConfigError
from headrace.fleet import Fleet, PerToken, Pool, Share, catalog
from headrace.fleet.check import fleet_warnings
from headrace.fleet.credentials import credential_variables
from headrace.gateway.key_files import credential_faults

PRICES_AGE_DAYS = 180
CALIBRATION_AGE_DAYS = 90


def fleet_findings(found: Fleet | ConfigError) -> Iterator[Finding]:
    """Every fault of a file that cannot be read, or every warning of one that can."""
    if isinstance(found, ConfigError):
        for fault in found.faults:
            yield Finding(Severity.STOPS, f"{found.source}: {fault.path}", fault.message, "mend the fleet file")
        return
    for warning in fleet_warnings(found):
        yield Finding(Severity.ADVICE, warning.path, warning.message, "`headrace check` lists all of these")


def credential_findings(fleet: Fleet, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Keys that are not there, or that nobody could send, and key files that others may read."""
    for backend in fleet.backends:
        where = f"backends.{backend.name}"
        missing = [name for name in credential_variables(backend) if name not in environment]
        for name in missing:
            yield Finding(Severity.STOPS, where, f"{name} is not in the environment", f"export {name}=...")
        for fault in [] if missing else credential_faults(backend, environment):
            yield Finding(Severity.STOPS, fault.path, fault.message, "the gateway does not start before this is mended")
    password = fleet.peers.password_env
    if password is not None and password not in environment:
        yield Finding(Severity.STOPS, "peers", f"{password} is not in the environment", f"export {password}=...")


def share_findings(fleet: Fleet) -> Iterator[Finding]:
    """Steered shares that no choice among routes can keep, whatever the traffic."""
    for share in fleet.shares.values():
        if not share.report_only:
            yield from _kept(fleet, share)


def _kept(fleet: Fleet, share: Share) -> Iterator[Finding]:
    inside = {name: _reach(fleet, name, share) for name in fleet.classes}
    where, remedy = f"shares.{share.name}", "change [[routes]], or the share's pools"
    pools = ", ".join(share.pools)
    if not any(may for may, _ in inside.values()):
        yield Finding(Severity.IMPAIRS, where, f"no route of any class leads to {pools}: the share stays at 0", remedy)
    elif all(must for _, must in inside.values()):
        yield Finding(Severity.IMPAIRS, where, f"every route leads to {pools} alone: the share stays at 1", remedy)
    else:
        shut = [name for name, (may, _) in inside.items() if not may]
        if shut:
            what = f"traffic of {', '.join(shut)} cannot go to {pools}, so the rest must make up for it"
            yield Finding(Severity.ADVICE, where, what, remedy)


def _reach(fleet: Fleet, workload_class: str, share: Share) -> tuple[bool, bool]:
    """Whether requests of a class may, and whether they must, go to the share's pools."""
    routes = [route for route in fleet.routes if route.workload_class in (None, workload_class)]
    pools = {pool for route in routes for pool in route.pools}
    return bool(pools & set(share.pools)), bool(pools) and pools <= set(share.pools)


def aged_findings(fleet: Fleet, today: date | None = None) -> Iterator[Finding]:
    """Prices that a list no longer says, a catalog that is old, calibrations that are.

    Args:
        today: None: as the clock says.
    """
    now = date.today() if today is None else today
    newest = max(_date(row["date"]) for row in catalog.table("prices.csv"))
    if (now - newest).days > PRICES_AGE_DAYS:
        what = f"the newest list price that headrace knows is of {newest:%Y-%m}"
        yield Finding(Severity.ADVICE, "catalog prices", what, "update headrace, and look at your own prices")
    for pool in fleet.pools.values():
        yield from _price(pool)
        yield from _calibration(pool, now)


def _price(pool: Pool) -> Iterator[Finding]:
    dialects = {backend.dialect for backend in pool.backends if not backend.emulated}
    listed = [list_price(dialect, pool.deployment.model) for dialect in sorted(dialects)]
    for price in listed:
        if price is None or not isinstance(pool.price, PerToken):
            continue
        if (price.input_usd_per_mtok, price.output_usd_per_mtok) != (
            pool.price.input_usd_per_mtok,
            pool.price.output_usd_per_mtok,
        ):
            what = f"the list says {price.input_usd_per_mtok:g} in, {price.output_usd_per_mtok:g} out, in USD a million"
            yield Finding(Severity.ADVICE, f"pools.{pool.name}.price", what, "keep it if your contract says so")


def _calibration(pool: Pool, now: date) -> Iterator[Finding]:
    found = pool.deployment.calibrated
    if found is None or re.match(r"\d{4}-\d\d-\d\d", found.measured) is None:
        return
    days = (now - date.fromisoformat(found.measured[:10])).days
    if days > CALIBRATION_AGE_DAYS:
        what = f"its speed was measured {days} days ago ({found.source})"
        yield Finding(Severity.ADVICE, f"pools.{pool.name}", what, "headrace probe, then headrace calibrate, again")


def _date(text: str) -> date:
    """Of a day, or the first of a month."""
    return date.fromisoformat(text if len(text) > len("2026-11") else f"{text}-01")
