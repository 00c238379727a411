"""A long run: CPU minutes per million simulated requests, and whether memory stays flat, over days of traffic.

    make bench-week                                                  a generated week on the sample fleet: 6 million
    python benchmarks/week.py --backends 512 --trace chat=TRACE --seconds 600

The sample fleet with its whole policy, widened to `--backends`, streams generated traffic, or traces in any format that
`headrace simulate` reads. Requests are drawn or read while the simulation asks for them, so that is in the figure; what
it costs alone is shown apart. Memory is the peak of the process at each tenth.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.build import build_of
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.sim import simulate
from headrace.traces import TraceOptions, open_traces
from headrace.workload import Request, generate_named
from sim import KIB, widened

WEEK_S = 7 * 86_400.0
MILLION = 1e6
READ_ALONE = 200_000  # requests that are drawn or read without a simulator


def watched(requests: Iterable[Request], seconds: float, grown_kib: list[int]) -> Iterator[Request]:
    """The same requests; notes the peak of memory at each tenth of the time."""
    for request in requests:
        if request.arrival_s >= len(grown_kib) * seconds / 10.0:
            grown_kib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        yield request


def opened(fleet: Fleet, trace: list[str], seconds: float) -> Iterable[Request]:
    """The traffic, from its beginning."""
    if not trace:
        return generate_named(fleet.classes, seconds, 0)
    return open_traces(dict(each.split("=", 1) for each in trace), TraceOptions(duration_s=seconds))


def read_us(requests: Iterable[Request]) -> float:
    """CPU microseconds to draw or read one request."""
    started_s = time.process_time()
    count = sum(1 for _ in islice(requests, READ_ALONE))
    return (time.process_time() - started_s) / max(count, 1) * MILLION


def main(
    trace: Annotated[list[str] | None, typer.Option(help="CLASS=PATH, repeatable; default: generated.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the traffic.")] = WEEK_S,
    backends: Annotated[int, typer.Option(help="Backends, the same number in each of the eight pools.")] = 8,
) -> None:
    """Simulate it all, and print minutes per million requests and what memory grew to."""
    fleet = widened(load_fleet(), backends)
    alone_us = read_us(opened(fleet, trace or [], seconds))
    peaks_kib: list[int] = []
    started_s = time.process_time()
    result = simulate(fleet, watched(opened(fleet, trace or [], seconds), seconds, peaks_kib))
    cpu_s = time.process_time() - started_s
    outcomes = [totals.outcomes for totals in result.metrics.classes.values()]
    count, completed = sum(sum(each.values()) for each in outcomes), sum(each["completed"] for each in outcomes)
    table = Table(title=f"{seconds / 86_400.0:.3g} days on {backends} backends ({build_of()})")
    for head in ("requests", "completed", "CPU min", "min / million", "of which reading", "peak MiB at each tenth"):
        table.add_column(head, justify="right")
    minutes = cpu_s / 60.0
    table.add_row(
        f"{count:,}",
        f"{completed / max(count, 1):.2%}",
        f"{minutes:.2f}",
        f"{minutes / count * MILLION:.3f}",
        f"{alone_us / 60.0:.3f}",
        " ".join(f"{peak / KIB:.0f}" for peak in peaks_kib),
    )
    Console(width=140, file=sys.stdout).print(table)


if __name__ == "__main__":
    typer.run(main)
