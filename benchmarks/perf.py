"""How fast the speed model answers: estimates per second from Python, and one answer from the command line, cold.

    python benchmarks/perf.py [HEADRACE...]

measures the cold start of other installations too: for instance one without the packages of development,
`python -m venv DIR && DIR/bin/pip install .`, then `DIR/bin/headrace`.

What it does not show: how right the answers are (`headrace validate`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from headrace.fleet import Deployment, catalog
from headrace.perf import serve_many

POINTS = 200_000
COLD_RUNS = 9
COLD = (
    *("perf", "gpt-oss-120b", "--on", "H100:8", "--on", "WSE-3:4"),
    *("--input", "8000", "--output", "500", "--concurrency", "1,8,32,128"),
)
TARGET_PER_S = 100_000
TARGET_COLD_S = 0.5


def warm_per_s() -> float:
    """Estimates (TTFT and TPOT of one load) per CPU second, over mixed loads of one deployment."""
    rng = np.random.default_rng(1)
    place = Deployment("h100", catalog.model("gpt-oss-120b"), catalog.accelerator("H100"), 8, software="vllm")
    loads = rng.integers(1, 8000, POINTS), rng.integers(1, 2000, POINTS), rng.integers(1, 256, POINTS)
    arrays = [load.astype(float) for load in loads]
    serve_many(place, *(array[:10] for array in arrays))
    started_s = time.process_time()
    serve_many(place, *arrays)
    return POINTS / (time.process_time() - started_s)


def cold_s(headrace: str) -> list[float]:
    """Wall seconds of `headrace perf` with its table, each in a process of its own.

    As an installation has it: modules are compiled, and files are in the disk's cache.
    """
    taken, environment = [], {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    for run in range(1 + COLD_RUNS):
        started_s = time.perf_counter()
        subprocess.run([headrace, *COLD], check=True, capture_output=True, env=environment)
        if run:  # the first compiles, and reads from the disk
            taken.append(time.perf_counter() - started_s)
    return sorted(taken)


def main() -> None:
    """Print both."""
    table = Table(title="speed model")
    for column in ("", "measured", "target"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("estimates per CPU second, warm", f"{warm_per_s():,.0f}", f">= {TARGET_PER_S:,}")
    for headrace in (str(Path(sys.executable).parent / "headrace"), *sys.argv[1:]):
        taken = cold_s(headrace)
        said = f"{taken[len(taken) // 2]:.2f} ({taken[0]:.2f}-{taken[-1]:.2f})"
        table.add_row(f"{headrace} perf, cold, s: median of {COLD_RUNS} (range)", said, f"<= {TARGET_COLD_S}")
    Console().print(table)


if __name__ == "__main__":
    main()
