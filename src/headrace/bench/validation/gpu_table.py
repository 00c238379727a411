"""The fitted table that ships: `python -m headrace.bench.validation.gpu_table MEASURED OUT.csv`.

Every point is fitted. The widths of intervals come from the judging: what 80 % of rows kept within, where the model had
been measured on that system and software, where it had not, and where the system had not.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headrace.bench.validation.gpu import Judged, left_out, unseen_half
from headrace.bench.validation.gpu_fit import NORMAL_80, Design, Fit, fit, make_design
from headrace.bench.validation.gpu_points import GpuPoint, gpu_points
from headrace.perf.continuous import PARAMETERS
from headrace.perf.continuous.parameters import OUTPUTS, SHARED

COLUMNS = ("parameter", "group", "level", "value", "low", "high", "unit", "n", "source", "date")
SOURCE = (
    "fitted by headrace.bench.validation on silicon_sample.csv of ai-dynamo/aiconfigurator (Apache-2.0): InferenceX "
    "exports and Nvidia runs"
)
DATE = "2026-11"
Line = tuple[object, ...]


def write_table(measured: Path, out: Path) -> None:
    """Fit everything and write the table."""
    points = gpu_points(measured)
    design = make_design(points)
    lines = [*_parameters(design, fit(design, np.arange(len(points)))), *_intervals(points, design)]
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)


def _parameters(design: Design, found: Fit) -> list[Line]:
    lines: list[Line] = []
    spread = np.sqrt(np.diag(found.covariance))
    for block in found.blocks:
        shared = block.group == SHARED
        unit = PARAMETERS[block.name].unit if shared else "factor"
        prior = PARAMETERS[block.name].prior if shared else 1.0
        names = [SHARED] if shared else design.names[block.group]
        for place, level in enumerate(names):
            here = block.first + place
            n = len(design.points) if shared else int((design.codes[block.group] == place).sum())
            ends = found.values[here] + NORMAL_80 * spread[here] * np.array([0.0, -1.0, 1.0])
            figures = (f"{prior * value:.4g}" for value in np.exp(ends))
            lines.append((block.name, block.group, level, *figures, unit, n, SOURCE, DATE))
    return lines


def _intervals(points: Sequence[GpuPoint], design: Design) -> list[Line]:
    judged = {
        "known": unseen_half(points, design),
        "model": left_out(points, design, lambda point: point.keys.model),
        "system": left_out(points, design, lambda point: point.keys.system),
    }
    kinds = [(kind, output) for kind in ("mixed", "split") for output in range(2)]
    return [line for kind, output in kinds for line in _widths(points, design, judged, kind, output)]


def _widths(
    points: Sequence[GpuPoint], design: Design, judged: dict[str, Judged], kind: str, output: int
) -> list[Line]:
    """From what is known best to what is known least: the latter is never surer."""
    lines: list[Line] = []
    width, unit = 0.0, "half-width of the logarithm"
    for support, found in judged.items():
        of_kind = np.array([points[k].keys.kind == kind for k in found.index])
        chosen = of_kind & (design.weight[output, found.index] == 1.0)
        missed = np.abs(design.measured[output, found.index] - found.predicted[output])[chosen]
        width = max(width, float(np.quantile(missed, 0.8)))
        level = f"{support}|{kind}"
        lines.append((OUTPUTS[output], "interval", level, f"{width:.4g}", "", "", unit, len(missed), SOURCE, DATE))
    return lines


if __name__ == "__main__":
    write_table(Path(sys.argv[1]), Path(sys.argv[2]))
