"""`[tenants]`, `[tls]` and `[admin]` of a fleet file: who may come in, by what, and what each may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from headrace.config.document import Count, Table, Text
from headrace.config.faults import Faults
from headrace.fleet import Admin, Allowance, Tenants, Tls


class TenantsTable(Table, frozen=True, kw_only=True):
    """`[tenants]` without the tenants in it: how they are told apart; see `fleet.Tenants`."""

    header: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")] | None = None
    by_credential: bool = False
    most: Count = 64
    keys: Text | None = None


class TlsTable(Table, frozen=True, kw_only=True):
    """`[tls]`: see `fleet.Tls`; paths are relative to the fleet file.

    Attributes:
        key: path of the private key of that certificate.
    """

    certificate: Text
    key: Text
    client_ca: Text | None = None


class AdminTable(Table, frozen=True, kw_only=True):
    """`[admin]`: see `fleet.Admin`; paths are relative to the fleet file.

    Attributes:
        key_file: path of a file that holds the key; others than its owner and group may not read it.
    """

    key_env: Text | None = None
    key_file: Text | None = None
    audit: Text | None = None


def tenants(raw: Mapping[str, object], faults: Faults, folder: Path) -> Tenants:
    """The table with a table in it for each tenant, or the defaults where there is none."""
    section = raw.get("tenants", {})
    if not isinstance(section, Mapping):
        faults.table(section, TenantsTable, "tenants")
        return Tenants()
    named = {name: value for name, value in section.items() if isinstance(value, Mapping)}
    settings = {name: value for name, value in section.items() if name not in named}
    table = faults.table(settings, TenantsTable, "tenants")
    allowed = faults.tables(named, Allowance, "tenants")
    allowances = {name: each for name, each in allowed.items() if each is not None}
    if table is None:
        return Tenants(allowances=allowances)
    if table.keys is not None and (table.header is not None or table.by_credential):
        faults.add("tenants.keys", "a key says whose it is; remove header and by_credential, or keys")
    path = None if table.keys is None else _path(folder, table.keys)
    return Tenants(table.header, table.by_credential, table.most, path, allowances)


def tls(raw: Mapping[str, object], faults: Faults, folder: Path) -> Tls | None:
    """The files of the clients' port; None without the table."""
    table = faults.table(raw["tls"], TlsTable, "tls") if "tls" in raw else None
    if table is None:
        return None
    roots = None if table.client_ca is None else _path(folder, table.client_ca)
    return Tls(_path(folder, table.certificate), _path(folder, table.key), roots)


def admin(raw: Mapping[str, object], faults: Faults, folder: Path) -> Admin:
    """The table, or its defaults where there is none."""
    table = faults.table(raw.get("admin", {}), AdminTable, "admin")
    if table is None:
        return Admin()
    if table.key_env is not None and table.key_file is not None:
        faults.add("admin.key_file", "there is key_env too; say one place of the key")
    key_file = None if table.key_file is None else _path(folder, table.key_file)
    return Admin(table.key_env, key_file, None if table.audit is None else _path(folder, table.audit))


def _path(folder: Path, name: str) -> str:
    return str(folder / name)
