"""Commands that do not plan do not pay for the solver."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_is_imported_without_the_solver() -> None:
    code = "import sys, headrace.plan; print(sorted({'highspy', 'headrace.plan.solve'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
