"""How fast and how good the planner is: against Mélange's integer program, and as problems grow.

    python benchmarks/plan.py melange [--seeds 3] [--proof-s 600]   the grid of tests/plan/melange.py, both solvers
    python benchmarks/plan.py growth                                solve time over periods, buckets and candidates
    python benchmarks/plan.py week                                  168 periods, 100 cells, 12 candidates, 5 losses

Tables are printed as Markdown, as they stand in docs/planner.md; growth also writes docs/images/plan-growth.png with
`--chart`. Each solve runs in this process after one that warms it up: what is measured leaves imports out.

What it does not show: whether a plan holds when it is simulated.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from headrace.plan.check import violations
from headrace.plan.solve import Progress, Settings, solve

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "plan"))  # the oracle and the generated problems are the tests'

from instances import large  # noqa: E402
from melange import as_problem, instance, melange_usd  # noqa: E402

TYPES = (2, 4, 8, 16)
RATES = (10.0, 100.0, 1000.0, 10_000.0)
GAP = 0.001
TARGET_S = 1.0
GROWTH = {
    "periods": [(periods, 10, 12) for periods in (6, 12, 24, 48, 96, 168)],
    "cells": [(48, buckets, 12) for buckets in (2, 5, 10, 15, 25)],
    "candidates": [(48, 10, candidates) for candidates in (4, 6, 8, 12, 16, 24)],
}


class Run(NamedTuple):
    """One instance, both ways; `usd` infinite where the integer program found nothing; CPU of all threads."""

    types: int
    rate_per_s: float
    ours_s: float
    ours_cpu_s: float
    ours_usd: float
    ilp_s: float
    ilp_usd: float
    proven: bool


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Wall seconds, and what came out."""
    started_s = time.perf_counter()
    result = work()
    return time.perf_counter() - started_s, result


def melange(seeds: int, proof_s: float) -> None:
    """Print the grid by types and rate."""
    grid = [(types, rate, seed) for types in TYPES for rate in RATES for seed in range(seeds)]
    solve(as_problem(instance(0, 2, 10.0)))
    runs = [run(*each, proof_s) for each in track(grid, "instances", console=Console(stderr=True))]
    print("| types | requests/s | planner, s | its CPU, s | integer program, s | proven | planner's cost over it |")
    print("|---|---|---|---|---|---|---|")
    for types in TYPES:
        for rate in RATES:
            print(row([r for r in runs if (r.types, r.rate_per_s) == (types, rate)]))
    fast, busy = sum(r.ours_s <= TARGET_S for r in runs), sum(r.ours_cpu_s <= TARGET_S for r in runs)
    worst = max((r.ours_usd / r.ilp_usd - 1.0 for r in runs if r.proven), default=math.nan)
    print(f"\n{fast} of {len(runs)} instances within {TARGET_S:g} s, {busy} within as much CPU time")
    print(f"dearest beside a proven optimum: {worst:+.3%}")


def run(types: int, rate_per_s: float, seed: int, proof_s: float) -> Run:
    """Solve one instance both ways."""
    given = instance(seed, types, rate_per_s)
    busy_s = time.process_time()
    ours_s, plan = timed(lambda: solve(as_problem(given), Settings(gap=GAP)))
    busy_s = time.process_time() - busy_s
    ilp_s, answer = timed(lambda: melange_usd(given, limit_s=proof_s, gap=1e-4))
    return Run(types, rate_per_s, ours_s, busy_s, plan.money.objective_usd, ilp_s, answer.usd, answer.proven)


def row(runs: Sequence[Run]) -> str:
    """One line of the table: medians, and the range of what the planner costs more."""
    ours, busy, theirs = (statistics.median(times) for times in zip(*(r[2:4] + r[5:6] for r in runs), strict=True))
    more = sorted(r.ours_usd / r.ilp_usd - 1.0 for r in runs)
    proven = sum(r.proven for r in runs)
    times = f"{ours:.2f} | {busy:.2f} | {theirs:.1f}"
    said = f"{proven} of {len(runs)} | {more[0]:+.2%} to {more[-1]:+.2%}"
    return f"| {runs[0].types} | {runs[0].rate_per_s:,.0f} | {times} | {said} |"


def growth(chart: str | None) -> None:
    """Print solve time over each dimension."""
    solve(large(6, 2, 6))
    shown = Console(stderr=True)
    series = {name: [grown(*size) for size in track(sizes, name, console=shown)] for name, sizes in GROWTH.items()}
    print("| periods | cells | candidates | solve, s | gap reached |")
    print("|---|---|---|---|---|")
    for name, sizes in GROWTH.items():
        for (periods, buckets, candidates), (taken_s, gap) in zip(sizes, series[name], strict=True):
            print(f"| {periods} | {4 * buckets} | {candidates} | {taken_s:.1f} | {gap:.2%} |")
    if chart is not None:
        drawn(series, chart)


def grown(periods: int, buckets: int, candidates: int) -> tuple[float, float]:
    """Wall seconds and the gap that was reached."""
    taken_s, plan = timed(lambda: solve(large(periods, buckets, candidates), Settings(gap=0.01, time_limit_s=600.0)))
    return taken_s, plan.gap


def drawn(series: dict[str, list[tuple[float, float]]], path: str) -> None:
    """Write the chart as a page of its own: a browser turns it into the picture of the docs."""
    from headrace.study.style import COLOURS, chart_html, log_figure, page

    names = "periods, cells or candidates", "seconds to a plan within 1 %"
    figure = log_figure(*names, height=400, width=860, margin={"t": 10})
    figure.update_xaxes(tickvals=[4, 8, 16, 24, 48, 100, 168])
    figure.update_yaxes(tickvals=[1, 2, 5, 10, 20, 40])
    for (name, sizes), colour in zip(GROWTH.items(), COLOURS, strict=False):
        at = {"periods": [s[0] for s in sizes], "cells": [4 * s[1] for s in sizes], "candidates": [s[2] for s in sizes]}
        seconds = [taken_s for taken_s, _ in series[name]]
        figure.add_scatter(x=at[name], y=seconds, name=name, mode="lines+markers", line_color=colour)
    lead = "Two threads; 12 candidates, 40 cells, 48 periods unless varied."
    Path(path).write_text(page("Solve time of the planner", lead, chart_html(figure)))


def week(seeds: Iterable[int]) -> None:
    """Print solve time, gap and what the checker finds for a whole week."""
    print("| seed | seconds | gap | ending | broken constraints | checked in, s |")
    print("|---|---|---|---|---|---|")
    for seed in seeds:
        problem = large(168, 25, 12, seed=seed)
        taken_s, plan = timed(lambda problem=problem: solve(problem, Settings(gap=0.01), told))
        check_s, broken = timed(lambda plan=plan: violations(plan))
        print(
            f"| {seed} | {taken_s:.0f} | {plan.gap:.2%} | {plan.ending} | {len(broken)} | {check_s:.0f} |", flush=True
        )


def told(progress: Progress) -> None:
    """Say on stderr where a solve stands."""
    print(f"{progress.elapsed_s:7.1f} s  {progress.phase}: gap {progress.gap:.2%}", file=sys.stderr)


def main() -> None:
    """Run what was asked for; everything without an argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["melange", "growth", "week"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--proof-s", type=float, default=600.0)
    parser.add_argument("--chart", help="write the growth chart to this page")
    asked = parser.parse_args()
    if "melange" in asked.what:
        melange(asked.seeds, asked.proof_s)
    if "growth" in asked.what:
        growth(asked.chart)
    if "week" in asked.what:
        week(range(1, 1 + asked.seeds))


if __name__ == "__main__":
    main()
