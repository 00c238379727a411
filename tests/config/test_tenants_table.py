"""`[tenants]`, `[tls]` and `[admin]`: their defaults, their faults, and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace.config import parse_fleet, sample_fleet_text
from headrace.config.tenants_table import AdminTable, TenantsTable, TlsTable
from headrace.errors import ConfigError
from headrace.fleet import Admin, Allowance, Fleet, Tenants, Tls

PAGE = (Path(__file__).resolve().parents[2] / "docs/tenants.md").read_text()


def fleet(more: str, folder: Path = Path("/etc/headrace")) -> Fleet:
    return parse_fleet(f"{sample_fleet_text()}\n{more}", "x", folder)


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("`[tenants]`", TenantsTable),
        ("`[tenants.NAME]`, and each key", Allowance),
        ("`[tls]`", TlsTable),
        ("`[admin]`", AdminTable),
    ],
)
def test_the_page_lists_every_setting(title: str, table: type) -> None:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(table.__struct_fields__)  # type: ignore[attr-defined]


def test_what_a_file_says_is_what_the_fleet_has() -> None:
    found = fleet(
        '[tenants]\nkeys = "k.json"\n[tenants.acme]\nusd_per_day = 5.0\nhard = false\n'
        '[tls]\ncertificate = "c.pem"\nkey = "/x/k.pem"\n[admin]\nkey_env = "ADMIN_KEY"\n'
    )
    assert found.tenants == Tenants(
        keys="/etc/headrace/k.json", allowances={"acme": Allowance(usd_per_day=5.0, hard=False)}
    )
    assert found.tls == Tls("/etc/headrace/c.pem", "/x/k.pem")
    assert found.admin == Admin("ADMIN_KEY")
    plain = fleet("")
    assert (plain.tenants, plain.tls, plain.admin) == (Tenants(), None, Admin())


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[tenants]\nkeys = "k"\nheader = "x-t"\n', "tenants.keys: a key says whose it is"),
        ("[tenants]\nmany = 3\n", "tenants.many: unknown setting"),
        ("[tenants.a]\nrequests_per_minute = 0.5\n", "tenants.a.requests_per_minute"),
        ("[tenants.a]\nusd_per_year = 1.0\n", "tenants.a.usd_per_year: unknown setting"),
        ('[tenants.a]\nmodels = ["none"]\n', "tenants.a.models[0]: no model 'none'"),
        ('[tenants."a b"]\n', "tenants.a b"),
        ('[tls]\ncertificate = "c"\n', "tls.key: missing"),
        ('[admin]\nkey_env = "A"\nkey_file = "b"\n', "admin.key_file: there is key_env too"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(more: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        fleet(more)
    assert fault in str(refused.value)
