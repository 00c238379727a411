"""Three times more than a fleet can serve: what is still served within its SLO, who is turned away, and at what memory.

    python benchmarks/overload.py     (--seconds 60 --rate 60: live; --no-live: simulated only)

The small fleet, half coding and half chat. Goodput is requests per second that met their SLO; the mark is 90 % of the
goodput at `rate`, with coding (worth seven times as much) within its SLO and a `retry-after` for everybody who is
turned away. Live: emulated backends in a process of their own, gateway and clients in this one, whose memory is
printed. `rate` is the load that counts as once the capacity; the fleet's own figure is what one has measured.

What it does not show: clients that come back.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.metrics import RunMetrics
from headrace.policy import AnyAction, AnyEvent, Reject
from headrace.sim import simulate
from headrace.study.up import UpSettings, running_system
from headrace.workload import CHAT, CODING, ClassTraffic, Request, generate

FLEET = Path(__file__).resolve().parent.parent / "examples" / "small.toml"
TRAFFIC = {"coding": replace(CODING, arrivals=CHAT.arrivals), "chat": CHAT}
TIMES = 3.0


def traffic(rate_req_per_s: float, seconds: float) -> Iterator[Request]:
    """Half coding, half chat."""
    streams = []
    for name, lengths in TRAFFIC.items():
        count = round(rate_req_per_s / 2.0 * seconds)
        drawn = list(islice(generate([ClassTraffic(name, lengths, 1.0)], 1e7, 0), count))
        stretch = seconds / drawn[-1].arrival_s
        streams.append([replace(each, arrival_s=each.arrival_s * stretch) for each in drawn])
    return merge(*streams, key=lambda each: each.arrival_s)


def simulated(fleet: Fleet, rate: float, seconds: float) -> tuple[RunMetrics, list[float]]:
    waits: list[float] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        waits.extend(action.retry_after_s for action in actions if isinstance(action, Reject))

    return simulate(fleet, traffic(rate, seconds), on_step=note).metrics, waits


async def live(fleet: Fleet, rate: float, seconds: float) -> tuple[RunMetrics, int]:
    with TemporaryDirectory() as folder:
        async with running_system(fleet, UpSettings(Path(folder) / "ledger.jsonl", 0, 0)) as system:
            done = await system.drive(traffic(rate, seconds), lambda progress: None, asyncio.Event())
    return done.metrics, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def row(table: Table, run: str, rate: float, seconds: float, metrics: RunMetrics, last: str) -> None:
    goodput = sum(each.met for each in metrics.classes.values()) / seconds
    parts = []
    for each in metrics.classes.values():
        arrived = sum(each.outcomes.values())
        p99 = each.ttft.quantile(0.99)
        parts += [f"{each.met / arrived:.1%} of {arrived}", f"{p99:.2f}" if p99 is not None else ""]
    turned_away = sum(each.outcomes["rejected"] + each.outcomes["failed"] for each in metrics.classes.values())
    table.add_row(run, f"{rate:g}", f"{goodput:.1f}", *parts, str(turned_away), last)


def main(
    rate: Annotated[float, typer.Option(help="Requests per second that count as once the capacity.")] = 100.0,
    seconds: Annotated[float, typer.Option(help="Length of a run.")] = 300.0,
    run_live: Annotated[bool, typer.Option("--live/--no-live")] = True,
) -> None:
    """Print goodput, SLOs kept and who was turned away, at once and at three times the rate."""
    fleet = load_fleet(FLEET)
    table = Table(title=f"{seconds:g} s at {rate:g} requests/s and three times as many")
    heads = ("run", "requests/s", "goodput/s", "coding kept", "TTFT p99", "chat kept", "TTFT p99", "turned away")
    for head in (*heads, "retry-after, or peak memory"):
        table.add_column(head)
    for load in (rate, TIMES * rate):
        metrics, waits = simulated(fleet, load, seconds)
        said = f"{min(waits):.1f} to {max(waits):.1f} s" if waits else ""
        row(table, "simulated", load, seconds, metrics, said)
        if run_live:
            metrics, peak = asyncio.run(live(fleet, load, seconds))
            row(table, "live", load, seconds, metrics, f"{peak} MiB")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
