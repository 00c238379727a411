"""Which build runs: pure Python, or with extension modules that were compiled from it (`make compiled`).

An extension lies beside its source and is imported in its place, so one that was built from an older source is a trap:
the edit has no effect. It is told apart by its time stamp.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import headrace

SLACK_S = 2.0  # an installer writes files in any order


class Build(NamedTuple):
    """Names of the modules that are compiled, and of those whose source was changed afterwards."""

    compiled: list[str]
    stale: list[str]

    def __str__(self) -> str:
        if not self.compiled:
            return "pure Python"
        text = f"compiled, {len(self.compiled)} modules"
        return f"{text}, of which {len(self.stale)} are older than their source: make compiled" if self.stale else text


def build_of(folder: Path = Path(headrace.__file__).parent) -> Build:
    """The build of the package in `folder`: this one."""
    compiled, stale = [], []
    for source in sorted(folder.rglob("*.py")):
        extension = _extension_of(source)
        if extension is not None:
            name = ".".join((folder.name, *source.relative_to(folder).with_suffix("").parts))
            compiled.append(name)
            if extension.stat().st_mtime < source.stat().st_mtime - SLACK_S:
                stale.append(name)
    return Build(compiled, stale)


def _extension_of(source: Path) -> Path | None:
    """What is imported in place of `source`; None: nothing."""
    found = (source.with_suffix(suffix) for suffix in EXTENSION_SUFFIXES)
    return next((path for path in found if path.exists()), None)
