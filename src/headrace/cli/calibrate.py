"""`headrace calibrate PROBE...`: the coefficients of a live endpoint, from its probes, for the fleet file."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from headrace.bench import calibrate as run_calibrate
from headrace.bench import calibration_text, read_probe
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.probe_table import show_calibration


def calibrate(
    probes: Annotated[list[Path], typer.Argument(metavar="PROBE...", help="Files that `headrace probe` wrote.")],
    name: Annotated[str | None, typer.Option(help="Name of the calibration; default: the model's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Calibration file; default: NAME.toml.")] = None,
    max_batch: Annotated[int | None, typer.Option(min=1, help="Slots of the server, where you know them.")] = None,
    json: JsonPath = None,
) -> None:
    """Fit an endpoint's speed to its probes, print the fit with its errors, and write it for the fleet file.

    A deployment takes it with `calibrated = "FILE.toml"`, relative to the fleet file.
    """
    result = run_calibrate([read_probe(path) for path in probes], max_batch)
    called = name or re.sub("[^A-Za-z0-9._-]+", "-", result.model)
    path = out or Path(f"{called}.toml")
    today = datetime.now(UTC).date().isoformat()
    path.write_text(calibration_text(called, result, [probe.name for probe in probes], today), encoding="utf-8")
    say(f'wrote {path}; a deployment takes it with calibrated = "{path.name}"')
    write_result(json, {"schema": 1, "command": "calibrate", "name": called, "file": str(path)} | asdict(result))
    if json is None or str(json) != "-":
        show_calibration(result)
