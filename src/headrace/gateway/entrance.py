"""The entrance: what a gateway is given to know who may come in, and where it may listen.

A gateway that knows nobody listens on loopback only. On any other address strangers can reach it, so it must know who
asks (keys, or clients' certificates), and what it is told must not be readable on the way (TLS); `--behind-proxy` says
that somebody in front of it sees to both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from headrace.errors import Fault
from headrace.fleet import Fleet
from headrace.gateway.admin_key import AdminKey, admin_key
from headrace.gateway.certificates import CertificateWatch
from headrace.gateway.spending import spent_before
from headrace.ledger import Entry
from headrace.telemetry import tell
from headrace.tenancy import Accounts, AuditLog, KeyWatch, audit_path, periods_of

LOOPBACK = "127.0.0.1"
ACCOUNTS = "accounts"
KEYS = "keys.json"


@dataclass(frozen=True, slots=True)
class Entrance:
    """What guards one gateway.

    Attributes:
        keys: that clients need; None: they need none. accounts: what tenants and keys have used.
        certificates: of the clients' port, and of the admin port where that is not on loopback; None: no TLS.
        admin_key: that the admin port needs; audit: where changes are put on record.
    """

    keys: KeyWatch | None = None
    accounts: Accounts | None = None
    certificates: CertificateWatch | None = None
    admin_key: AdminKey | None = None
    admin_host: str = LOOPBACK
    audit: AuditLog | None = None

    def record(self, actor: str, action: str, subject: str, **detail: object) -> None:
        """Put a change on record, if there is one; one that cannot be written is told to the operator."""
        if self.audit is None:
            return
        try:
            self.audit.write(time.time(), actor, action, subject, **detail)
        except OSError as error:
            tell(f"the audit log cannot be written: {error}; this change is not in it: {action} {subject}")


def open_entrance(
    fleet: Fleet,
    *,
    shared: Path | None = None,
    workers: int = 1,
    number: int = 0,
    admin_host: str = LOOPBACK,
    environment: Mapping[str, str] = os.environ,
) -> Entrance:
    """What a fleet file asks for.

    Args:
        shared: directory that the workers share in memory; None: there is one.
        number: of this worker.

    Raises:
        ConfigError: a file or a key cannot be used.
        OSError: there is no room for the accounts.
    """
    path, kept = fleet.tenants.keys, None if shared is None else shared / KEYS
    accounts = Accounts() if shared is None else Accounts(shared / ACCOUNTS, workers, number)
    audit = audit_path(fleet)
    return Entrance(
        keys=None if path is None else KeyWatch(Path(path), kept, tell),
        accounts=accounts,
        certificates=None if fleet.tls is None else CertificateWatch(fleet.tls, tell),
        admin_key=admin_key(fleet.admin, environment),
        admin_host=admin_host,
        audit=None if audit is None else AuditLog(audit),
    )


def resume_accounts(entrance: Entrance, fleet: Fleet, read: Callable[[], Iterator[Entry]]) -> None:
    """Put in what was spent this month, once for all workers: the first reads the ledger, the others wait for it.

    Raises:
        TraceError: the ledger cannot be read.
    """
    accounts = entrance.accounts
    if accounts is None or (entrance.keys is None and not fleet.tenants.allowances):
        return
    with accounts.locked():
        if not accounts.resumed:
            periods = periods_of(time.time())
            accounts.resume(spent_before(read(), periods), periods.day_unix_s, periods.month_unix_s)


def bind_faults(fleet: Fleet, host: str, admin_host: str, behind_proxy: bool) -> Iterator[Fault]:
    """Why a gateway over this fleet may not listen there."""
    if not is_loopback(host) and not behind_proxy:
        known = fleet.tenants.keys is not None or (fleet.tls is not None and fleet.tls.client_ca is not None)
        if not known:
            said = "anybody could ask at your expense: make keys with `headrace keys create` and set keys in [tenants]"
            yield Fault(f"--host {host}", f"{said}, or client_ca in [tls]; or --behind-proxy, if one knows its clients")
        if fleet.tls is None:
            said = "what is asked could be read on the way: set certificate and key in [tls]"
            yield Fault(f"--host {host}", f"{said}; or --behind-proxy, if one ends TLS")
    if not is_loopback(admin_host):
        if fleet.admin.key_env is None and fleet.admin.key_file is None:
            yield Fault(f"--admin-host {admin_host}", "the admin port needs a key there: set key_env in [admin]")
        if fleet.tls is None and not behind_proxy:
            said = "the admin key could be read on the way: set certificate and key in [tls]"
            yield Fault(f"--admin-host {admin_host}", f"{said}; or --behind-proxy, if one ends TLS")


def kept_faults(before: Fleet, after: Fleet) -> Iterator[Fault]:
    """What of the entrance a fleet file cannot change while a gateway runs."""
    for path, old, new in (
        ("tenants.keys", before.tenants.keys, after.tenants.keys),
        ("tls", before.tls, after.tls),
        ("admin", before.admin, after.admin),
    ):
        if old != new:
            yield Fault(path, "cannot change while the gateway runs: restart it")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
