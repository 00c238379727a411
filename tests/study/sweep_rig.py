"""A small grid over the acceptance fleet: a few seconds of generated traffic, quick enough to run many times."""

from __future__ import annotations

from pathlib import Path

from headrace.study.sweep import Grid, load_grid

GRID = """
schema = 1
fleets = ["fleet.toml"]
policies = ["prices", "static"]
references = ["gpu_only", "fast_only"]
shares = [0, 0.1, 0.3]
loads = [1, 2]
seeds = [0, 1]

[traffic]
generate_s = 12
"""


def write_grid(folder: Path, examples: Path, text: str = GRID) -> Path:
    """The grid file, beside a copy of the acceptance fleet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.toml").write_text((examples / "azure-acceptance.toml").read_text())
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def small_grid(folder: Path, examples: Path, text: str = GRID) -> Grid:
    """The grid, read."""
    return load_grid(write_grid(folder, examples, text))
