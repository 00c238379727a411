"""Half an hour of mixed traffic with faults: does the gateway hold more at the end than in the middle?

    make soak        (or: python benchmarks/soak.py --minutes 5)

`headrace emulate` and `headrace serve` over examples/small.toml, in processes of their own. Some requests break, in one
of the ways that the emulator knows, backend by backend. Looked at every ten seconds: memory (RSS), file descriptors
and asyncio tasks of the gateway. Growth is the slope of a line through the second half, as a part of its mean.

What it does not show: growth that needs more than this time, or more than one day's kinds of requests.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from drill import PORTS, SCRIPT, Tally, await_port, fleet_file, get, headrace, holds, post, show_ends, traffic

PORT, ADMIN_PORT = 18290, 18291
FAULTS = ("cut@5", "reset", "reset@9", "stall@4", "500", "500@6", "garbage", "malformed@3", "polite@7", "late@2", "cut")
LOOK_S = 10.0
STORE = "stored_responses = 1024\n"  # a cache that is full long before the second half: what grows then is growth
console = Console()
Look = tuple[float, float, int, int]  # seconds, MB, descriptors, tasks


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 12.0,
    faulty: Annotated[float, typer.Option(help="Part of a backend's requests that break.")] = 0.1,
) -> None:
    """Print what the gateway holds over time, and how its requests ended."""
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder:
        work = Path(folder)
        fleet = fleet_file(work, STORE)
        emulator = headrace("emulate", fleet, log=work / "emulate.log")
        with emulator, headrace(*_serve(work, fleet), log=work / "serve.log") as gateway:
            await_port(ADMIN_PORT)
            for port in PORTS.values():
                await_port(port)
                post(port, "/emulated/script", SCRIPT)
            looks, tally = asyncio.run(_soak(gateway.pid, 60.0 * minutes, rate, faulty))
    _show(looks, tally)
    if tally.wrong or tally.ended < tally.sent:
        raise typer.Exit(1)


def _serve(work: Path, fleet: Path) -> tuple[object, ...]:
    return ("serve", fleet, "--port", PORT, "--admin-port", ADMIN_PORT, "--ledger", work / "ledger.jsonl")


async def _soak(pid: int, seconds: float, rate: float, faulty: float) -> tuple[list[Look], Tally]:
    tally, looks = Tally(), list[Look]()
    sending = asyncio.create_task(traffic(PORT, lambda _: rate, seconds, tally))
    breaking = asyncio.create_task(_break(faulty))
    with Progress(console=console) as progress:
        task = progress.add_task("soak", total=seconds)
        passed_s = 0.0
        while not sending.done():
            await asyncio.wait([sending], timeout=LOOK_S)
            passed_s += LOOK_S
            looks.append((passed_s, *holds(pid), await asyncio.to_thread(_tasks)))
            progress.update(task, completed=passed_s, description=f"{tally.ended} ended, {looks[-1][1]:.0f} MB")
    breaking.cancel()
    sending.result()
    return looks, tally


async def _break(faulty: float) -> None:
    """Give every backend a new list of faults, now and then."""
    draw = random.Random(1)
    for port in cycle(PORTS.values()):
        faults = [draw.choice(FAULTS) if draw.random() < faulty else "" for _ in range(60)]
        await asyncio.to_thread(post, port, "/emulated/faults", json.dumps(faults).encode())
        await asyncio.sleep(2.0)


def _tasks() -> int:
    return int(json.loads(get(ADMIN_PORT, "/admin/state"))["tasks"])


def _show(looks: list[Look], tally: Tally) -> None:
    table = Table(title="what the gateway holds", title_justify="left")
    for column in ("seconds", "memory, MB", "file descriptors", "tasks"):
        table.add_column(column, justify="right")
    for look in looks[:: max(len(looks) // 12, 1)]:
        table.add_row(f"{look[0]:.0f}", f"{look[1]:.1f}", str(look[2]), str(look[3]))
    console.print(table)
    half = looks[len(looks) // 2 :]
    for index, name in ((1, "memory"), (2, "file descriptors"), (3, "tasks")):
        console.print(f"{name}: {_growth(half, index):+.2%} of its mean over the second half")
    show_ends(console, tally)


def _growth(looks: list[Look], index: int) -> float:
    """Slope of the least-squares line times its length, over the mean."""
    xs, ys = [look[0] for look in looks], [float(look[index]) for look in looks]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0
    return slope * (xs[-1] - xs[0]) / y if y else 0.0


if __name__ == "__main__":
    typer.run(main)
