"""A bad day in twenty minutes: everything that may happen to a gateway happens to it, while requests come.

    make bad-day        (or: python benchmarks/bad_day.py --minutes 5)

Traffic follows the curve of a day (a sine, its peak at 70 % of full load) over examples/small.toml. `headrace serve`
runs with two workers and a Redis, and meanwhile

    a backend flaps, another one is slow, the SRAM vendor is lost and comes back, a GPU is lost in the middle of its
    answers, a worker is killed, Redis is restarted, and the fleet file is replaced twenty times.

Counted: how every request ended for its client, the text against the one that the models say; the ledgers against what
the emulated backends counted; the share per window that could be judged; TTFT of coding.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from drill import (
    GPUS,
    GROQ,
    PORTS,
    SCRIPT,
    Tally,
    await_port,
    fleet_file,
    get,
    post,
    redis_server,
    show_ends,
    show_share,
    start,
    stop,
    traffic,
    tree,
)
from headrace.config import load_fleet
from headrace.ledger.reader import Entry, read_ledger
from headrace.metrics.usage import AttemptStatus

PORT, ADMIN_PORT, REDIS_PORT = 18290, 18291, 18399
PEAK_PER_S = 28.0
RELOADS = 20
console = Console()


class Day:
    """The processes, and what is done to them."""

    def __init__(self, work: Path, seconds: float) -> None:
        self.work = work
        self.seconds = seconds
        redis = f'\n[peers]\nredis = "redis://127.0.0.1:{REDIS_PORT}/0"\n'
        self.fleet = fleet_file(work, redis)
        self.ledger = work / "usage"
        self.groq: Any = None
        self.gpus: Any = None
        self.gpu_5: Any = None
        self.redis: Any = None
        self.lost_unix_s = self.back_unix_s = math.inf
        self.gateway: Any = None

    def start(self) -> None:
        """Start everything, and see that it answers."""
        self.redis = redis_server(self.work, REDIS_PORT)
        self.gpus = self.emulate(GPUS[:4])
        self.gpu_5 = self.emulate(GPUS[4:])
        self.groq = self.emulate((GROQ,))
        serve = ("serve", self.fleet, "--workers", 2, "--port", PORT, "--admin-port", ADMIN_PORT)
        self.gateway = start(*serve, "--ledger", self.ledger, log=self.work / "serve.log")
        await_port(ADMIN_PORT)

    def emulate(self, names: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Emulate these backends in a process of their own."""
        process = start("emulate", self.fleet, "--only", ",".join(names), log=self.work / "emulate.log")
        for name in names:
            await_port(PORTS[name])
            post(PORTS[name], "/emulated/script", SCRIPT)
        return process

    def stop(self) -> None:
        """End everything."""
        for process in (self.gateway, self.groq, self.gpu_5, self.gpus, self.redis):
            if process is not None:
                stop(process)

    # what happens

    async def flap(self) -> None:
        """A GPU answers every other request, for a tenth of the day."""
        await self._faults("gpu-1", ["500", "", "reset", "", "cut@6", ""] * 10, self.seconds / 10)

    async def slow(self) -> None:
        """Another one begins two seconds late, for a tenth of the day."""
        await self._faults("gpu-2", ["late@2"] * 60, self.seconds / 10)

    async def lose_vendor(self) -> None:
        """The SRAM vendor is gone at once, for an eighth of the day."""
        self.lost_unix_s = time.time()
        self.groq.kill()
        await asyncio.sleep(self.seconds / 8)
        self.groq = await asyncio.to_thread(self.emulate, (GROQ,))
        self.back_unix_s = time.time()

    async def lose_gpu(self) -> None:
        """A GPU is gone in the middle of its answers, and stays away."""
        self.gpu_5.kill()

    async def kill_worker(self) -> None:
        """One of the two workers is killed; it gets no word in."""
        workers = [pid for pid in tree(self.gateway.pid)[1:] if b"resource_tracker" not in _command(pid)]
        os.kill(max(workers), signal.SIGKILL)

    async def restart_redis(self) -> None:
        """Redis is gone for ten seconds."""
        self.redis.kill()
        await asyncio.sleep(10.0)
        self.redis = redis_server(self.work, REDIS_PORT)

    async def reload(self) -> None:
        """The fleet file is replaced, again and again; what changes is how many may wait."""
        text = self.fleet.read_text()
        for number in range(RELOADS):
            await asyncio.sleep(self.seconds / (RELOADS + 2))
            new = self.fleet.with_suffix(".new")
            new.write_text(_deeper(text, number))
            new.rename(self.fleet)
            self.gateway.send_signal(signal.SIGHUP)

    async def _faults(self, name: str, faults: list[str], seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            await asyncio.to_thread(post, PORTS[name], "/emulated/faults", json.dumps(faults).encode())
            await asyncio.sleep(2.0)
        await asyncio.to_thread(post, PORTS[name], "/emulated/faults", b"[]")

    async def happen(self, at: float, what: Callable[[], Awaitable[None]]) -> None:
        """Let it happen at a part of the day."""
        await asyncio.sleep(at * self.seconds)
        console.print(f"{at * self.seconds:5.0f} s  {what.__name__.replace('_', ' ')}")
        await what()


def main(
    minutes: Annotated[float, typer.Option(help="How long the day is.")] = 20.0,
    peak: Annotated[float, typer.Option(help="Requests per second at noon.")] = PEAK_PER_S,
    keep: Annotated[Path | None, typer.Option(help="Keep ledgers and logs here.")] = None,
) -> None:
    """Live through a bad day, and count what became of every request."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is missing: apt-get install redis-server")
    with ExitStack() as stack:
        work = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bad-day-")))
        work.mkdir(parents=True, exist_ok=True)
        day = Day(work, 60.0 * minutes)
        stack.callback(day.stop)
        day.start()
        tally = asyncio.run(_live(day, peak))
        metrics = get(ADMIN_PORT, "/metrics").decode()
        served = {name: json.loads(get(PORTS[name], "/emulated/served")) for name in (*GPUS[:4], GROQ)}
        stop(day.gateway)
        entries, fleet = list(read_ledger(day.ledger)), load_fleet(day.fleet)
    _show(tally, entries, served, metrics)
    show_share(console, fleet, entries, lambda at_s: day.lost_unix_s <= at_s < day.back_unix_s)
    if tally.wrong or tally.ended < tally.sent:
        raise typer.Exit(1)


async def _live(day: Day, peak: float) -> Tally:
    tally = Tally()

    def rate(now_s: float) -> float:
        return peak * (0.55 - 0.45 * math.cos(2.0 * math.pi * now_s / day.seconds))

    events = (
        *((0.05, day.reload), (0.12, day.flap), (0.30, day.slow), (0.42, day.lose_vendor)),
        *((0.60, day.lose_gpu), (0.66, day.kill_worker), (0.75, day.restart_redis)),
    )
    shares = asyncio.create_task(_watch_share(day.seconds))
    happening = [asyncio.create_task(day.happen(*event)) for event in events]
    await traffic(PORT, rate, day.seconds, tally)
    for task in (*happening, shares):
        task.cancel()
    await asyncio.gather(*happening, shares, return_exceptions=True)
    return tally


async def _watch_share(seconds: float) -> None:
    """Say what the share of the last five minutes is, ten times a day."""
    while True:
        await asyncio.sleep(seconds / 10)
        metrics = (await asyncio.to_thread(get, ADMIN_PORT, "/metrics")).decode().splitlines()
        console.print(next((line for line in metrics if line.startswith("headrace_share_realized")), "no share"))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _deeper(text: str, number: int) -> str:
    return text.replace("stall_timeout_s = 3.0\n", f"stall_timeout_s = 3.0\nqueue_depth = {1000 + number}\n")


def _show(tally: Tally, entries: list[Entry], served: dict[str, Any], metrics: str) -> None:
    show_ends(console, tally)
    statuses = {status.value: sum(entry.status is status for entry in entries) for status in AttemptStatus}
    console.print(f"attempts in the ledgers: {statuses}")
    table = Table(title="ledgers beside the backends' own count", title_justify="left")
    for column in ("backend", "completed", "by the ledger", "output tokens", "by the ledger"):
        table.add_column(column, justify="right")
    for name, own in served.items():
        done = [entry for entry in entries if entry.backend == name and entry.status is AttemptStatus.COMPLETED]
        tokens = sum(entry.output_low for entry in done)
        table.add_row(name, str(own["completed"]), str(len(done)), str(own["output_tokens"]), str(tokens))
    console.print(table)
    for line in metrics.splitlines():
        if line.startswith(("headrace_share_", "headrace_rescues", "headrace_hedge", "headrace_worker_restarts")):
            console.print(line)


if __name__ == "__main__":
    typer.run(main)
