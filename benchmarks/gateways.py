"""Four gateways over one fleet: do they keep one share, with Redis and without it?

    python -u benchmarks/gateways.py        (or: --minutes 6)

Four `headrace serve`, each with a ledger of its own, over the emulated examples/small.toml; each gets a quarter of the
traffic. Redis is there for the first half of the time and gone for the second. The share is that of all their ledgers
together: by windows of five minutes, and of each half as a whole.

What it does not show: gateways on several machines, whose clocks and network differ.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from drill import (
    PORTS,
    SCRIPT,
    Tally,
    await_port,
    fleet_file,
    get,
    headrace,
    post,
    redis_server,
    show_ends,
    show_share,
    stop,
    traffic,
)
from headrace.config import load_fleet
from headrace.ledger import Entry, read_ledger

GATEWAYS = [(18420 + 2 * k, 18421 + 2 * k) for k in range(4)]
REDIS_PORT = 18430
LOOK_S = 10.0
console = Console()


def main(
    minutes: Annotated[float, typer.Option(help="How long, of which half is without Redis.")] = 20.0,
    rate: Annotated[float, typer.Option(help="Requests per second, together.")] = 16.0,
) -> None:
    """Print the share that four gateways keep together."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is missing: apt-get install redis-server")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-gateways-")))
        fleet = fleet_file(work, f'\n[peers]\nredis = "redis://127.0.0.1:{REDIS_PORT}/0"\n')
        redis = redis_server(work, REDIS_PORT)
        stack.callback(stop, redis)
        stack.enter_context(headrace("emulate", fleet, log=work / "emulate.log"))
        for number, (port, admin_port) in enumerate(GATEWAYS):
            ledger = ("--ledger", work / f"ledger-{number}.jsonl")
            ports = ("--port", port, "--admin-port", admin_port)
            stack.enter_context(headrace("serve", fleet, *ports, *ledger, log=work / f"serve-{number}.log"))
        for port in (*PORTS.values(), *(admin_port for _, admin_port in GATEWAYS)):
            await_port(port)
        for port in PORTS.values():
            post(port, "/emulated/script", SCRIPT)
        tally, gone_unix_s = asyncio.run(_run(60.0 * minutes, rate, redis))
        said = [_unheard(admin_port) for _, admin_port in GATEWAYS]
        entries = [each for k in range(len(GATEWAYS)) for each in read_ledger(work / f"ledger-{k}.jsonl")]
        known = load_fleet(fleet)
    show_ends(console, tally)
    console.print(f"gateways that say that the others cannot be heard: {sum(said)} of {len(said)}")
    for name, with_redis in (("with Redis", True), ("without", False)):
        half = [each for each in entries if (_started_s(each) < gone_unix_s) is with_redis]
        console.print(f"[bold]{name}[/]: {len(half)} attempts")
        show_share(console, known, half, lambda _: False)


async def _run(seconds: float, rate: float, redis: subprocess.Popen[bytes]) -> tuple[Tally, float]:
    """Send, and end Redis at half time; returns when that was (Unix)."""
    tally = Tally()
    part = rate / len(GATEWAYS)
    asking = [traffic(port, lambda _: part, seconds, tally, seed) for seed, (port, _) in enumerate(GATEWAYS)]
    sending = asyncio.gather(*asking)
    await asyncio.sleep(seconds / 2)
    redis.kill()
    gone_unix_s = time.time()
    console.print(f"{seconds / 2:.0f} s: Redis is gone")
    await sending
    return tally, gone_unix_s


def _started_s(entry: Entry) -> float:
    return (entry.started_unix_s or 0.0) + entry.at_s


def _unheard(admin_port: int) -> bool:
    return b"headrace_peers_unheard 1" in get(admin_port, "/metrics")


if __name__ == "__main__":
    typer.run(main)
