"""Tables of `headrace keys`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table

from headrace.fleet import Allowance
from headrace.tenancy import Key


def show_keys(keys: Sequence[Key], now_unix_s: float) -> None:
    """A row for each secret; a revoked key has one."""
    table = Table("key", "tenant", "prefix", "made", "holds until")
    for key in keys:
        if key.revoked_unix_s is not None or not key.secrets:
            table.add_row(key.name, key.tenant, "", "", f"revoked {_day(key.revoked_unix_s)}")
        for secret in key.secrets:
            expired = secret.expires_unix_s is not None and secret.expires_unix_s <= now_unix_s
            until = "for good" if secret.expires_unix_s is None else _day(secret.expires_unix_s)
            table.add_row(
                *(key.name, key.tenant, secret.prefix, _day(secret.created_unix_s)),
                f"expired {until}" if expired else until,
            )
    Console().print(table)


def show_limits_of(key: Key, of_tenant: Allowance | None) -> None:
    """What a key and its tenant may do, side by side."""
    table = Table("limit", f"key {key.name}", f"tenant {key.tenant}")
    tenant = {} if of_tenant is None else msgspec.structs.asdict(of_tenant)
    for name, value in msgspec.structs.asdict(key.allowance).items():
        table.add_row(name, _said(value), _said(tenant[name]) if tenant else "see the fleet file")
    Console().print(table)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "all"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _day(unix_s: float | None) -> str:
    return "" if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
