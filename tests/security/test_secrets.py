"""Secrets are planted, and everything that comes out is searched for them."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.fleet import Backend
from headrace.fleet.credentials import Credentials
from headrace.gateway.key_files import credential_faults

KEY = "sk-planted-backend-key-0123456789"


def test_no_credential_is_in_a_repr_or_a_traceback() -> None:
    credentials = Credentials(Backend("b", "p", "http://h", api_key_env="K"), {"K": KEY})
    assert KEY not in repr(credentials)
    try:
        credentials.sign(b"POST", b"/", b"", 0.0)
    except AttributeError:
        assert KEY not in traceback.format_exc()


def test_a_credential_that_a_backend_repeats_is_taken_out_of_its_errors() -> None:
    credentials = Credentials(Backend("b", "p", "http://h", api_key_env="K"), {"K": KEY})
    assert credentials.redacted(b'{"error":"no such key: %b"}' % KEY.encode()) == b'{"error":"no such key: [redacted]"}'
    credentials.use_token("ya29.token")
    assert credentials.redacted(b"ya29.token") == b"[redacted]"


@pytest.mark.parametrize("mode", [0o620, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(mode)
    backend = Backend("b", "p", "http://h", api_key_file=str(path))
    (fault,) = credential_faults(backend, {})
    assert f"chmod 600 {path}" in fault.message
    assert KEY not in str(fault)
    for good in (0o600, 0o400, 0o440):  # a group may read: mounted secrets come so
        path.chmod(good)
        assert credential_faults(backend, {}) == []


@pytest.mark.parametrize("value", ["", "sk-a\r\nx-admin: 1", "sk-a\n", "sk a", "sk-ä", "sk-\0"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(value: str) -> None:
    backend = Backend("b", "p", "http://h", api_key_env="K")
    (fault,) = credential_faults(backend, {"K": value})
    assert "the value of K" in fault.message
    assert not value or value not in str(fault)


def test_certificates_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    backend = Backend("b", "p", "https://h", ca_file=str(tmp_path / "missing.pem"))
    assert credential_faults(backend, {})
    (tmp_path / "ca.pem").write_text("no certificate")
    assert credential_faults(replace(backend, ca_file=str(tmp_path / "ca.pem")), {})
