"""Fixtures of the gateway's tests; what they are made of is in `gateway_rig`."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from gateway_rig import RunRig, run_rig

from headrace.wire.dialects import COMPATIBLE, DIALECTS


@pytest.fixture(name="run_rig")
def run_rig_with_keys(monkeypatch: pytest.MonkeyPatch) -> RunRig:
    """Runs a scenario against a gateway over these backends; a port number stands for itself (nobody listening)."""
    monkeypatch.setenv("HEADRACE_TEST_KEY", "backend-secret")
    monkeypatch.setenv("HEADRACE_TEST_CODER", "coder-key")
    return run_rig


@pytest.fixture
def dead_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def backends_of_one_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dialects `only-chat`, `only-responses` ... that speak one API each."""
    for api, path in (*COMPATIBLE.paths.items(), ("messages", "/v1/messages")):
        monkeypatch.setitem(DIALECTS, f"only-{api}", replace(COMPATIBLE, name=f"only-{api}", paths={api: path}))
