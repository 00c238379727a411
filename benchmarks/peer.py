"""Environments of their own for the tools that we are compared with: their dependencies never meet ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from rich.console import Console


def interpreter(package: str) -> Path:
    """The Python of an environment under `out/` that has `package` (a requirement), made when it is not there."""
    folder = Path("out") / package.partition("==")[0]
    python = folder / "bin" / "python"
    if not python.exists():
        Console(stderr=True).print(f"installing {package} into {folder}")
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True, stdout=sys.stderr)
    return python
