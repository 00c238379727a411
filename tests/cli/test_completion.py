"""The shell completes commands and options."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("typed", "expected"), [("headrace doc", "doctor"), ("headrace init --own-k", "--own-key-env")]
)
def test_what_was_begun_is_completed(typed: str, expected: str) -> None:
    variables = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    called = [sys.executable, "-c", "from headrace.cli import app; app(prog_name='headrace')"]
    done = subprocess.run(called, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [expected]
