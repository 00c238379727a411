"""`headrace keys`: API keys of a gateway, made, listed, rotated and revoked in its key file.

Every running worker takes on what the file says within a second. Each change is put on record in the audit log.
"""

from __future__ import annotations

import getpass
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headrace.cli.keys_table import show_keys, show_limits_of
from headrace.cli.output import JsonPath, say, write_result
from headrace.config import load_fleet
from headrace.errors import ConfigError, Fault
from headrace.fleet import Allowance, Fleet
from headrace.fleet.limit_check import allowance_faults
from headrace.fleet.tenants import DEFAULT_TENANT
from headrace.tenancy import AUDIT_NAME, AuditLog, Key, audit_path, changing, new_secret, read_keys
from headrace.units import SECONDS_PER_DAY, SECONDS_PER_HOUR, SECONDS_PER_MINUTE

UNITS_S = {"m": SECONDS_PER_MINUTE, "h": SECONDS_PER_HOUR, "d": SECONDS_PER_DAY, "w": 7 * SECONDS_PER_DAY}

Place = Annotated[
    Path, typer.Argument(help="Fleet file whose [tenants] names the key file; or the key file itself (.json).")
]
Which = Annotated[str, typer.Argument(help="Name of the key, or the public prefix of a secret of it.")]
Names = Annotated[list[str] | None, typer.Option(help="Repeatable; none: all.")]
Amount = Annotated[float | None, typer.Option(min=0.0, help="None: no limit of its own.")]

keys = typer.Typer(help="API keys of a gateway.", no_args_is_help=True)


class _Place:
    """A key file, what the fleet file says, if there is one, and where changes are put on record."""

    def __init__(self, given: Path) -> None:
        self.fleet: Fleet | None = None
        self.path, audit = given, given.with_name(AUDIT_NAME)
        if given.suffix != ".json":
            self.fleet = load_fleet(given)
            if self.fleet.tenants.keys is None:
                raise ConfigError(
                    str(given), [Fault("tenants.keys", 'missing; add keys = "keys.json" under [tenants]')]
                )
            self.path, audit = Path(self.fleet.tenants.keys), audit_path(self.fleet) or audit
        self._audit = AuditLog(audit)

    def record(self, action: str, subject: str, **detail: object) -> None:
        """Put a change on record."""
        self._audit.write(time.time(), f"cli:{getpass.getuser()}", action, subject, **detail)


@keys.command()
def create(
    place: Place,
    name: Annotated[str, typer.Option(help="Of the key: under it the key is counted, and in the usage ledger.")],
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = DEFAULT_TENANT,
    expires: Annotated[
        str | None, typer.Option(help="In so long (90d, 12h), or a day (2027-01-31); else never.")
    ] = None,
    model: Names = None,
    workload_class: Annotated[list[str] | None, typer.Option("--class", help="Repeatable; none: all.")] = None,
    pool: Names = None,
    requests_per_minute: Amount = None,
    tokens_per_minute: Amount = None,
    usd_per_day: Amount = None,
    usd_per_month: Amount = None,
    soft: Annotated[bool, typer.Option("--soft", help="Over a budget requests pass, and are counted.")] = False,
    priority: Annotated[float, typer.Option(min=0.0, help="The value of its time is multiplied by it.")] = 1.0,
    value_of_time: Annotated[float | None, typer.Option(min=0.0, help="USD per second; else the class's.")] = None,
    json: JsonPath = None,
) -> None:
    """Make a key. Its secret is shown once, on standard output, and cannot be had again."""
    found, now_unix_s = _Place(place), time.time()
    given = {
        "models": tuple(model or ()),
        "classes": tuple(workload_class or ()),
        "pools": tuple(pool or ()),
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "usd_per_day": usd_per_day,
        "usd_per_month": usd_per_month,
        "hard": not soft,
        "priority": priority,
        "value_of_time_usd_per_s": value_of_time,
    }
    secret = new_secret(now_unix_s, _when(expires, now_unix_s))
    key = _key({"name": name, "tenant": tenant, "secrets": (secret.kept,), "allowance": given}, found.fleet)
    with changing(found.path) as kept:
        if any(each.name == key.name for each in kept):
            raise _fault("--name", f"there is a key {name!r}, perhaps a revoked one; take another name")
        kept.append(key)
    found.record("keys.create", name, tenant=tenant, prefix=secret.kept.prefix, allowance=key.allowance)
    _show_once(json, key, secret.text)


@keys.command("list")
def list_keys(place: Place, json: JsonPath = None) -> None:
    """Every key: whose it is, its prefixes, and how long they hold. No secret is kept, so none is shown."""
    kept = read_keys(_Place(place).path)
    write_result(json, {"schema": 1, "command": "keys list", "keys": [_public(key) for key in kept]})
    if str(json) != "-":
        show_keys(kept, time.time())


@keys.command()
def rotate(
    place: Place,
    key: Which,
    grace: Annotated[
        str, typer.Option(help="The present secrets hold on for so long (24h, 30m; 0m: not at all).")
    ] = "24h",
    expires: Annotated[str | None, typer.Option(help="Of the new secret; see create.")] = None,
    json: JsonPath = None,
) -> None:
    """Give a key another secret, shown once. What it has used, and what it may do, stay."""
    found, now_unix_s = _Place(place), time.time()
    secret = new_secret(now_unix_s, _when(expires, now_unix_s))
    until_unix_s = now_unix_s + _duration_s(grace, "--grace")
    with changing(found.path) as kept:
        at = _place_of(kept, key)
        before = kept[at]
        if before.revoked_unix_s is not None:
            raise _fault("KEY", f"{before.name} is revoked; create another key")
        old = [
            msgspec.structs.replace(each, expires_unix_s=min(each.expires_unix_s or until_unix_s, until_unix_s))
            for each in before.secrets
            if each.expires_unix_s is None or each.expires_unix_s > now_unix_s
        ]
        kept[at] = msgspec.structs.replace(before, secrets=(*old, secret.kept))
    found.record("keys.rotate", before.name, prefix=secret.kept.prefix, grace=grace)
    _show_once(json, kept[at], secret.text)


@keys.command()
def revoke(place: Place, key: Which) -> None:
    """End a key, or by a prefix one secret of it: on every worker within a second."""
    found, now_unix_s = _Place(place), time.time()
    with changing(found.path) as kept:
        at = _place_of(kept, key)
        before = kept[at]
        left = tuple(each for each in before.secrets if before.name != key and each.prefix != key)
        revoked = None if left else now_unix_s
        kept[at] = msgspec.structs.replace(before, secrets=left, revoked_unix_s=revoked)
    found.record("keys.revoke", before.name, given=key, whole=not left)
    say(f"{before.name}: " + ("revoked" if not left else f"{key} is revoked; its other secrets hold on"))


@keys.command("show-limits")
def show_limits(place: Place, key: Which, json: JsonPath = None) -> None:
    """What a key may do, and what its tenant may: a request must meet both."""
    found = _Place(place)
    kept = read_keys(found.path)
    one = kept[_place_of(kept, key)]
    of_tenant = None if found.fleet is None else found.fleet.tenants.allowances.get(one.tenant, Allowance())
    limits = {"key": _whole(one.allowance), "tenant": None if of_tenant is None else _whole(of_tenant)}
    write_result(json, {"schema": 1, "command": "keys show-limits", "name": one.name, "of": one.tenant, **limits})
    if str(json) != "-":
        show_limits_of(one, of_tenant)


def _key(given: dict[str, object], fleet: Fleet | None) -> Key:
    """Raises ConfigError: a value is out of range, or the fleet does not know a name."""
    try:
        key = msgspec.convert(msgspec.to_builtins(given), Key)
    except msgspec.ValidationError as error:
        raise _fault("keys create", str(error)) from error
    if fleet is not None:
        names = tuple(fleet.models), tuple(fleet.classes), tuple(fleet.pools)
        faults = list(allowance_faults(key.name, key.allowance, *names))
        if faults:
            raise ConfigError("command line", faults)
        if key.tenant not in fleet.tenants.allowances:
            say(f"the fleet file has no [tenants.{key.tenant}]: the tenant itself has no limits")
    return key


def _place_of(kept: list[Key] | tuple[Key, ...], which: str) -> int:
    for at, key in enumerate(kept):
        if which == key.name or any(each.prefix == which for each in key.secrets):
            return at
    raise _fault("KEY", f"there is no key {which!r}; `headrace keys list` shows those that there are")


def _show_once(json: Path | None, key: Key, text: str) -> None:
    write_result(json, {"schema": 1, "command": "keys", "secret": text, **_public(key)})
    if json is None:
        print(text)
    say(f"{key.name}: this is shown once, and is kept nowhere")


def _public(key: Key) -> dict[str, object]:
    shown = [{"prefix": each.prefix, "expires_unix_s": each.expires_unix_s} for each in key.secrets]
    limits = _whole(key.allowance)
    return {"name": key.name, "tenant": key.tenant, "secrets": shown, "limits": limits, "revoked": key.revoked_unix_s}


def _whole(allowance: Allowance) -> dict[str, object]:
    """With what is left at its default."""
    return msgspec.structs.asdict(allowance)


def _when(text: str | None, now_unix_s: float) -> float | None:
    if text is None:
        return None
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        return now_unix_s + _duration_s(text, "--expires")
    return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()


def _duration_s(text: str, option: str) -> float:
    found = re.fullmatch(r"(\d+)([mhdw])", text)
    if found is None:
        raise _fault(option, f"{text!r} is no time; write 30m, 12h, 90d or 4w")
    return float(found[1]) * UNITS_S[found[2]]


def _fault(path: str, message: str) -> ConfigError:
    return ConfigError("command line", [Fault(path, message)])
