"""`headrace keys`: secrets are shown once, and every change is in the file and on record."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from headrace.config import sample_fleet_text
from headrace.errors import Unauthenticated
from headrace.tenancy import KeyRing, read_audit, read_keys

Command = Any


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    path = tmp_path / "fleet.toml"
    path.write_text(f'{sample_fleet_text()}\n[tenants]\nkeys = "keys.json"\n[tenants.acme]\nrequests_per_minute = 9\n')
    return str(path)


def name_of(folder: Path, secret: str, now_unix_s: float | None = None) -> str:
    """Of the key that this secret opens."""
    headers = {b"authorization": b"Bearer " + secret.encode()}
    return KeyRing(read_keys(folder / "keys.json")).key_of(headers, now_unix_s or time.time()).name


def test_a_secret_opens_until_it_is_rotated_away_or_revoked(command: Command, fleet: str, tmp_path: Path) -> None:
    code, out, said = command("keys", "create", fleet, "--name", "ci", "--tenant", "acme", "--usd-per-day", "5")
    first = out.strip()
    assert code == 0
    assert "shown once" in said
    assert first not in said
    assert first.rpartition("_")[2] not in (tmp_path / "keys.json").read_text()
    assert name_of(tmp_path, first) == "ci"

    code, out, _ = command("keys", "rotate", fleet, "ci", "--grace", "1h")
    second = out.strip()
    assert code == 0
    assert name_of(tmp_path, first) == name_of(tmp_path, second) == "ci"
    with pytest.raises(Unauthenticated, match="expired"):
        name_of(tmp_path, first, time.time() + 3601.0)
    assert name_of(tmp_path, second, time.time() + 3601.0) == "ci"

    assert command("keys", "revoke", str(tmp_path / "keys.json"), second[:11])[0] == 0  # by its prefix: it alone
    assert name_of(tmp_path, first) == "ci"
    assert command("keys", "revoke", fleet, "ci")[0] == 0
    with pytest.raises(Unauthenticated):
        name_of(tmp_path, first)
    code, _, said = command("keys", "create", fleet, "--name", "ci")
    assert code == 2
    assert "take another name" in said

    changes = read_audit(tmp_path / "audit.jsonl")
    assert [each.action for each in changes] == ["keys.create", "keys.rotate", "keys.revoke", "keys.revoke"]
    assert all(each.subject == "ci" and each.actor.startswith("cli:") for each in changes)
    log = (tmp_path / "audit.jsonl").read_text()
    assert first[12:] not in log
    assert second[12:] not in log


def test_lists_show_prefixes_and_limits(command: Command, fleet: str) -> None:
    _, out, _ = command("keys", "create", fleet, "--name", "ci", "--tenant", "acme", "--class", "chat", "--json", "-")
    made = json.loads(out)
    listed = json.loads(command("keys", "list", fleet, "--json", "-")[1])["keys"]
    assert [each["secrets"][0]["prefix"] for each in listed] == [made["secret"][:11]]
    shown = json.loads(command("keys", "show-limits", fleet, "ci", "--json", "-")[1])
    assert shown["key"]["classes"] == ["chat"]
    assert shown["tenant"]["requests_per_minute"] == 9
    assert made["secret"][:11] in command("keys", "list", fleet)[1]
    assert "requests_per_minute" in command("keys", "show-limits", fleet, made["secret"][:11])[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--name", "a b"], "name"),
        (["--name", "x", "--pool", "nowhere"], "no pool 'nowhere'"),
        (["--name", "x", "--expires", "soon"], "--expires"),
        (["--name", "x", "--requests-per-minute", "0.5"], "requests_per_minute"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    command: Command, fleet: str, tmp_path: Path, more: list[str], said: str
) -> None:
    code, out, err = command("keys", "create", fleet, *more)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "keys.json").exists()


def test_a_fleet_file_without_keys_is_told_what_to_add(command: Command, tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text(sample_fleet_text())
    code, _, err = command("keys", "list", str(tmp_path / "plain.toml"))
    assert code == 2
    assert 'keys = "keys.json"' in err


def test_serve_refuses_another_address_with_the_remedy(command: Command, fleet: str) -> None:
    code, _, err = command("serve", fleet, "--host", "0.0.0.0", "--admin-host", "0.0.0.0")
    assert code == 2
    assert "set certificate and key in [tls]" in err
    assert "set key_env in [admin]" in err
