"""The tables of public measurements, which stay outside the package."""

from __future__ import annotations

import csv
from pathlib import Path

from headrace.errors import ConfigError, Fault


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a measured table. Raises ConfigError: there is none."""
    if not path.is_file():
        advice = "name the folder that holds measured/ with --data or HEADRACE_DATA"
        raise ConfigError("measurements", [Fault(str(path), f"no such table; {advice}")])
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
