"""Fixtures of the endpoint picker's tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gateway"))

import pytest
from gateway_rig import RunRig, run_rig


@pytest.fixture(name="run_rig")
def run_rig_with_keys(monkeypatch: pytest.MonkeyPatch) -> RunRig:
    """Runs a scenario against a gateway over these backends."""
    monkeypatch.setenv("HEADRACE_TEST_KEY", "backend-secret")
    return run_rig
