"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from headrace.cli.build import build_of

if build_of().stale:
    pytest.exit(f"{build_of()}; or make pure: tests on these extensions would test an older source", returncode=2)

settings.register_profile("headrace", deadline=None)  # how fast an example runs depends on the machine
settings.load_profile("headrace")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public traces and measurements; absent, a test is skipped, except where data is required."""
    path = Path(os.environ.get("HEADRACE_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        reason = f"no data at {path}: set HEADRACE_DATA to the folder that holds traces/ and measured/"
        if os.environ.get("HEADRACE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def examples_dir() -> Path:
    """The fleet files that ship with the project."""
    return ROOT / "examples"
