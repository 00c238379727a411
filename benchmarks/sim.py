"""How fast the simulator is, and whether its memory grows with the number of requests.

The sample fleet of eight pools, full policy, share control and metrics, over generated coding, agent and chat traffic.
Each size runs in a process of its own, so that its peak of memory is its own. A second table gives the same traffic to
the same eight pools with more and more backends in each. The yardstick of the same run is a bare
event loop: a heap of as many events as the simulation had (three per request), each popped and handed to an empty
function. The ratio says what everything but the heap costs; requests per second depend on the machine.

What it does not show: several processes, other fleets, traces read from disk.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from heapq import heappop, heappush
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.sim import simulate
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, generate

TARGET_REQUESTS_PER_S = 20_000.0
TRAFFIC = {"coding": CODING, "chat": CHAT, "agent": AGENT}
EVENTS_PER_REQUEST = 3
KIB = 1024


def widened(fleet: Fleet, backends: int) -> Fleet:
    """The fleet with `backends` backends, the same number in every pool."""
    each = backends // len(fleet.pools)
    pools = {
        name: replace(pool, backends=tuple(replace(pool.backends[0], name=f"{name}-{k}") for k in range(each)))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


def run_once(seconds: float, backends: int | None = None) -> dict[str, float]:
    """One simulation of `seconds` of traffic, in this process; `backends` None: those of the fleet file."""
    fleet = load_fleet() if backends is None else widened(load_fleet(), backends)
    classes = [ClassTraffic(name, TRAFFIC[name], 1.0) for name in fleet.classes]
    requests = list(generate(classes, seconds, 0))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started_s, cpu_s = time.perf_counter(), time.process_time()
    simulate(fleet, iter(requests), seed=0)
    return {
        "requests": len(requests),
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - cpu_s,
        "grown_bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * KIB,
        "yardstick_s": bare_loop_s(len(requests) * EVENTS_PER_REQUEST),
    }


def bare_loop_s(events: int) -> float:
    """CPU seconds of a heap with as many events and nothing to do; a few hundred are on it at any time."""
    heap: list[tuple[float, int]] = [(float(i), i) for i in range(300)]
    started_s = time.process_time()
    for i in range(events):
        at_s, _ = heappop(heap)
        heappush(heap, (at_s + 300.0, i))
        _nothing(at_s)
    return time.process_time() - started_s


def _nothing(at_s: float) -> None:
    """An event without a consequence."""


def _in_child(seconds: float, backends: int | None = None) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(seconds)]
    if backends is not None:
        command += ["--backends", str(backends)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def main(
    seconds: Annotated[str, typer.Option(help="Lengths of traffic, comma-separated.")] = "900,1800,3600",
    backends: Annotated[str, typer.Option(help="Numbers of backends, comma-separated.")] = "8,64,512",
    child: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print requests per second, the ratio to a bare event loop, and the growth of memory."""
    if child is not None:
        print(json.dumps(run_once(child, int(backends) if backends.isdigit() else None)))
        return
    table = Table(title=f"simulator: 8 pools, full policy (target {TARGET_REQUESTS_PER_S:,.0f} requests/s)")
    for column in (
        "traffic, s",
        "requests",
        "requests / CPU s",
        "CPU / request, us",
        "x a bare loop",
        "memory grown, MiB",
    ):
        table.add_column(column, justify="right")
    for length in seconds.split(","):
        found = _in_child(float(length))
        table.add_row(
            length,
            f"{found['requests']:,}",
            f"{found['requests'] / found['cpu_s']:,.0f}",
            f"{found['cpu_s'] / found['requests'] * 1e6:.1f}",
            f"{found['cpu_s'] / found['yardstick_s']:.1f}",
            f"{found['grown_bytes'] / KIB / KIB:.1f}",
        )
    Console().print(table)
    Console().print(_by_backends([int(count) for count in backends.split(",")], float(seconds.split(",")[0])))


def _by_backends(counts: list[int], seconds: float) -> Table:
    """CPU per request at each number of backends, and over that at the first."""
    table = Table(title="the same traffic on more backends (target at 512: twice the cost at 8)")
    for column in ("backends", "CPU / request, us", "x the first"):
        table.add_column(column, justify="right")
    first_us = None
    for count in counts:
        found = _in_child(seconds, count)
        cpu_us = found["cpu_s"] / found["requests"] * 1e6
        first_us = first_us or cpu_us
        table.add_row(str(count), f"{cpu_us:.1f}", f"{cpu_us / first_us:.2f}")
    return table


if __name__ == "__main__":
    typer.run(main)
