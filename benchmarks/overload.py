"""Three times more than a fleet can serve: what is still served within its SLO, who is turned away, and at what memory.

    python benchmarks/overload.py     (--seconds 60: of each live run; --no-live: simulated only)

A fifth of the requests are coding (worth seven times as much per second), the rest chat. *Once* is the highest rate at
which every class meets its SLO attainment, found by simulation to 2 %. The marks at three times that: goodput (requests
per second that met their SLO) at least 90 % of what it is at once, coding within its attainment, a `retry-after` for
everybody who is turned away, and memory that does not grow.

The fleet is a fifth of `examples/small.toml` (one GPU of five, a fifth of the places at the fast service), because two
cores have to carry gateway, emulated backends and clients at three times its capacity; simulated and live runs are of
the same file. Live, these are three processes, and the memory is that of the gateway's alone; the index of prefixes,
which is bounded by a setting, is small, so that it is full at once and does not hide what else might grow. Beside the
traffic goes a probe, two chats per second, that reads the status and the `retry-after` of its answer.

A fifth and not a half is coding: at three times the rate all coding has to fit into the fleet, or nobody can serve it.

What it does not show: clients that come back; many gateways.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from drill import FLEET, await_port, headrace, holds
from headrace.bench import ReplaySettings, live_metrics, replay
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.http import ConnectionPool, PoolLimits
from headrace.metrics import RunMetrics
from headrace.policy import AnyAction, AnyEvent, Reject
from headrace.sim import simulate
from headrace.study.chaos.client import ask
from headrace.workload import CHAT, CODING, ClassTraffic, Request, generate

TRAFFIC = {"coding": replace(CODING, arrivals=CHAT.arrivals), "chat": CHAT}
PARTS = {"coding": 0.2, "chat": 0.8}
SCALE = 5
TIMES = 3.0
PORT, ADMIN_PORT, FIRST_PORT = 18490, 18491, 184
LOWEST_PER_S, HIGHEST_PER_S, WITHIN = 5.0, 200.0, 0.02
LIMITS = "\n[limits]\nprefix_index_entries = 1024\n"
LOOK_S = 5.0
PROBES_PER_S = 2.0


@dataclass(slots=True)
class Seen:
    """What a run showed: its metrics, who was told to come back when, and MB of memory by time."""

    metrics: RunMetrics
    waits_s: list[float] = field(default_factory=list)
    untold: int = 0
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    sender_late_s: float | None = None


def scaled(text: str) -> str:
    """A fifth of the small fleet, at ports of its own, with an index of prefixes that is full at once."""
    head, *backends = re.split(r"(?=\[\[pools\.gpu\.backends\]\])", text)
    tail = backends[-1][backends[-1].index("[pools.groq]") :]
    gpu = backends[0]
    groq = re.sub(r"max_in_flight = (\d+)", lambda each: f"max_in_flight = {round(int(each[1]) / SCALE)}", tail)
    return (head + gpu + groq).replace(":182", f":{FIRST_PORT}") + LIMITS


def traffic(rate_req_per_s: float, seconds: float) -> Iterator[Request]:
    """Coding and chat in their parts, as many as the rate says."""
    streams = []
    for name, lengths in TRAFFIC.items():
        count = round(rate_req_per_s * PARTS[name] * seconds)
        drawn = list(islice(generate([ClassTraffic(name, lengths, 1.0)], 1e7, 0), count))
        stretch = seconds / drawn[-1].arrival_s
        streams.append([replace(each, arrival_s=each.arrival_s * stretch) for each in drawn])
    return merge(*streams, key=lambda each: each.arrival_s)


def simulated(fleet: Fleet, rate: float, seconds: float) -> Seen:
    """One run in virtual time."""
    waits_s: list[float] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        waits_s.extend(action.retry_after_s for action in actions if isinstance(action, Reject))

    metrics = simulate(fleet, traffic(rate, seconds), on_step=note).metrics
    return Seen(metrics, waits_s, untold=sum(not wait_s > 0.0 for wait_s in waits_s))


def attainments(metrics: RunMetrics) -> dict[str, float]:
    """Of each class: requests that met their SLO, of all that arrived."""
    return {name: each.met / sum(each.outcomes.values()) for name, each in metrics.classes.items()}


def goodput_per_s(metrics: RunMetrics, seconds: float) -> float:
    """Requests per second that met their SLO."""
    return sum(each.met for each in metrics.classes.values()) / seconds


def capacity_per_s(fleet: Fleet, seconds: float) -> float:
    """The highest rate at which every class meets its SLO attainment, by bisection to `WITHIN`."""
    low, high = LOWEST_PER_S, HIGHEST_PER_S
    while high > low * (1.0 + WITHIN):
        rate = (low * high) ** 0.5
        kept = attainments(simulated(fleet, rate, seconds).metrics)
        if all(part >= fleet.classes[name].slo.attainment for name, part in kept.items()):
            low = rate
        else:
            high = rate
    return low


def live(path: Path, rate: float, seconds: float) -> Seen:
    """One run in real time, with processes of its own."""
    with TemporaryDirectory(prefix="headrace-overload-") as folder:
        work, fleet = Path(folder), load_fleet(path)
        served = ("serve", path, "--port", PORT, "--admin-port", ADMIN_PORT, "--ledger", work / "ledger.jsonl")
        with headrace("emulate", path, log=work / "log"), headrace(*served, log=work / "log") as gateway:
            await_port(ADMIN_PORT)
            for backend in fleet.backends:
                await_port(int(backend.url.rpartition(":")[2]))
            return asyncio.run(_drive(fleet, rate, seconds, gateway.pid))


async def _drive(fleet: Fleet, rate: float, seconds: float, gateway: int) -> Seen:
    seen = Seen(live_metrics(fleet))
    beside = [asyncio.create_task(each) for each in (_look(seen, gateway), _probe(seen, next(iter(fleet.models))))]
    settings = ReplaySettings(lead_s=0.5)
    done = await replay(f"http://127.0.0.1:{PORT}", traffic(rate, seconds), seen.metrics, settings)
    seen.sender_late_s = done.lateness.quantile(0.99)
    for task in beside:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return seen


async def _look(seen: Seen, gateway: int) -> None:
    """Note the gateway's memory, now and then."""
    for k in range(1_000_000):
        seen.memory_mb.append((k * LOOK_S, holds(gateway)[0]))
        await asyncio.sleep(LOOK_S)


async def _probe(seen: Seen, model: str) -> None:
    """Ask, and note what those who are turned away are told."""
    pool = ConnectionPool(f"http://127.0.0.1:{PORT}", PoolLimits(max_connections=256))
    body = {"model": model, "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello."}]}
    asked: set[asyncio.Task[None]] = set()

    async def one() -> None:
        reply = await ask(pool, "chat", json.dumps(body).encode(), streamed=True, leaves_after=None, timeout_s=60.0)
        if reply.status in (429, 503):
            said = reply.headers.get(b"retry-after")
            seen.untold += said is None
            seen.waits_s += [] if said is None else [float(said)]

    try:
        while True:
            task = asyncio.create_task(one())
            asked.add(task)
            task.add_done_callback(asked.discard)
            await asyncio.sleep(1.0 / PROBES_PER_S)
    finally:
        if asked:
            await asyncio.wait(asked)
        await pool.close()


def add_row(table: Table, run: str, rate: float, seconds: float, seen: Seen) -> None:
    """One run's figures."""
    parts = []
    for each in seen.metrics.classes.values():
        arrived, p99 = sum(each.outcomes.values()), each.ttft.quantile(0.99)
        tpot = each.tpot.quantile(0.95)
        parts += [f"{each.met / arrived:.1%} of {arrived}", f"{p99 or 0.0:.2f} s, {1000 * (tpot or 0.0):.0f} ms"]
    away = sum(each.outcomes["rejected"] for each in seen.metrics.classes.values())
    failed = sum(each.outcomes["failed"] for each in seen.metrics.classes.values())
    said = f"{min(seen.waits_s):.0f} to {max(seen.waits_s):.0f} s" if seen.waits_s else ""
    goodput = f"{goodput_per_s(seen.metrics, seconds):.1f}"
    table.add_row(run, f"{rate:.1f}", goodput, *parts, f"{away}, {failed}", said, str(seen.untold))


def show_memory(console: Console, name: str, seen: Seen) -> None:
    """The gateway's memory over the run, and how late the sender was."""
    step = max(len(seen.memory_mb) // 8, 1)
    shown = ", ".join(f"{mb:.1f} at {at_s:.0f} s" for at_s, mb in seen.memory_mb[::step])
    most = max(mb for _, mb in seen.memory_mb)
    console.print(
        f"{name}: gateway's memory in MB: {shown}; at most {most:.1f}; sender late p99 {seen.sender_late_s} s"
    )


def main(
    seconds: Annotated[float, typer.Option(help="Length of the runs at three times the capacity.")] = 300.0,
    once_seconds: Annotated[float, typer.Option(help="Length of the live run at the capacity; 0: none.")] = 300.0,
    rate: Annotated[float, typer.Option(help="Requests per second that are the capacity; 0: to be found.")] = 0.0,
    run_live: Annotated[bool, typer.Option("--live/--no-live")] = True,
) -> None:
    """Print goodput, SLOs kept and who was turned away, at the fleet's capacity and at three times that."""
    console = Console(width=200)
    with TemporaryDirectory(prefix="headrace-overload-") as folder:
        path = Path(folder) / "fleet.toml"
        path.write_text(scaled(FLEET.read_text()))
        fleet = load_fleet(path)
        once = rate or capacity_per_s(fleet, seconds)
        table = Table(title=f"a fleet of {once:.1f} requests/s at once and at three times that")
        heads = (
            "run",
            "requests/s",
            "goodput/s",
            "coding kept",
            "TTFT p99, TPOT p95",
            "chat kept",
            "TTFT p99, TPOT p95",
        )
        for head in (*heads, "turned away, failed", "retry-after", "without one"):
            table.add_column(head)
        for load, length in ((once, once_seconds), (TIMES * once, seconds)):
            add_row(table, "simulated", load, seconds, simulated(fleet, load, seconds))
            if run_live and length:
                seen = live(path, load, length)
                add_row(table, "live", load, length, seen)
                show_memory(console, f"{load:.1f}/s", seen)
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
