"""Hostile clients beside normal traffic: what do those who behave notice?

    make hostile        (or: python benchmarks/hostile.py --minutes 2)

`headrace serve --workers 4` stands over the emulated fleet of examples/small.toml. Normal traffic comes all the time,
and phases without and with hostile clients take turns (without, with, with, without), so that both are measured in one
run on one machine. Hostile are

    heads and bodies that come a byte at a time, connections that are reset in the middle of an answer, huge heads,
    clients that close one side, pipelined garbage, connections that say nothing, and readers that never read.

Each keeps so many connections at work as `CROWD` says; they run in a process of their own. No normal request may
be without its answer; the target is p99 of TTFT and of E2E within 20 % of what they are without them. What it does not
show: how a network behaves that hostile traffic fills; and on a machine that does other things meanwhile, p99 of a
few hundred requests is mostly those things.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import chain
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
    headrace,
    holds,
    post,
    quantile,
    show_ends,
    traffic,
)

PORT, ADMIN_PORT, WORKERS = 18390, 18391, 4
RATE_PER_S = 8.0
PHASE_S, WARM_UP_S = 30.0, 5.0
TARGET = 1.2
RESET = struct.pack("ii", 1, 0)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
LONG = json.dumps(
    {"model": "llama-3.1-8b", "stream": True, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4000}
).encode()
console = Console()
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head that comes a byte at a time."""
    for byte in b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx: " + b"x" * 1000:
        writer.write(bytes((byte,)))
        await writer.drain()  # raises where the gateway has closed
        await asyncio.sleep(0.5)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that comes a byte at a time."""
    writer.write(POST % 100_000)
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.5)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection at the first byte of an answer."""
    writer.write(POST % len(LONG) + LONG)
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
    await asyncio.sleep(5.0)


async def huge_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head far beyond the limit."""
    writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n" + b"x: " + b"y" * 2_000_000)
    await reader.read()
    await asyncio.sleep(2.0)


async def half_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks, closes its side, and stays."""
    writer.write(POST % len(LONG) + LONG[:50])
    writer.write_eof()
    await reader.read()
    await asyncio.sleep(1.0)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Good requests with nonsense behind them, all at once."""
    writer.write(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n" * 50 + bytes(range(256)) * 40)
    await reader.read()
    await asyncio.sleep(1.0)


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing."""
    await reader.read()


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks for pages and takes none of them."""
    writer.transport.pause_reading()
    for _ in range(400):
        writer.write(b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n")
    await asyncio.sleep(60.0)


CROWD: dict[Client, int] = {
    slow_head: 100,
    slow_body: 100,
    reset: 4,
    huge_head: 4,
    half_closed: 10,
    garbage: 10,
    idle: 1000,
    never_reads: 20,
}


def attack(port: int, active: Any, done: Any) -> None:
    """Keep the crowd at work while `active` is set."""
    asyncio.run(_attack(port, active, done))


async def _attack(port: int, active: Any, done: Any) -> None:
    tasks: list[asyncio.Task[None]] = []
    while not done.is_set():
        if active.is_set() and not tasks:
            tasks = [asyncio.create_task(_again(each, port)) for each, count in CROWD.items() for _ in range(count)]
        elif not active.is_set() and tasks:
            for task in tasks:  # one that was about to begin anew may miss it, and is told again
                task.cancel()
            tasks = list((await asyncio.wait(tasks, timeout=0.5))[1])
            continue
        await asyncio.sleep(0.2)


async def _again(client: Client, port: int) -> None:
    """One hostile client after the other, each for at most a minute."""
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.wait_for(client(reader, writer), 60)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.5)
        finally:
            if writer is not None:
                writer.transport.abort()


async def phases(seconds: float, phase_s: float, active: Any) -> dict[bool, Tally]:
    """Normal traffic through phases that take turns; what its clients saw, without and with hostile clients."""
    tallies = {False: Tally(), True: Tally()}
    await traffic(PORT, lambda _: RATE_PER_S, WARM_UP_S, Tally())
    for number in range(2 * max(round(seconds / phase_s / 2), 1)):
        hostile = number % 4 in (1, 2)  # without, with, with, without: what drifts meets both alike
        (active.set if hostile else active.clear)()
        await asyncio.sleep(3.0)  # the crowd gathers, or goes
        await traffic(PORT, lambda _: RATE_PER_S, phase_s, tallies[hostile], seed=number // 2)  # pairs ask alike
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(get(ADMIN_PORT, "/admin/state"))
            name = "hostile" if hostile else "quiet"
            connections = state["client_connections"]
            console.print(f"phase {number} ({name}): {connections} client connections")
            if hostile and connections < sum(CROWD.values()) // 2:
                raise SystemExit("the crowd is gone: nothing was measured")
    active.clear()
    return tallies


def report(tallies: dict[bool, Tally]) -> bool:
    """Print what was seen; returns whether every normal request was answered."""
    table = Table("", "without", "with", "ratio", title="normal traffic beside hostile clients")
    met = True
    for name, field in (("TTFT", "ttft_s"), ("E2E", "seconds")):
        quiet, hostile = (list(chain(*getattr(tallies[key], field).values())) for key in (False, True))
        for level in (0.5, 0.99):
            without_s, with_s = quantile(quiet, level), quantile(hostile, level)
            met &= level < 0.99 or with_s <= TARGET * without_s
            ratio = f"{with_s / without_s:.2f}"
            table.add_row(f"{name} p{level * 100:g}, s", f"{without_s:.3f}", f"{with_s:.3f}", ratio)
        table.add_row(f"{name}, n", str(len(quiet)), str(len(hostile)), "")
    console.print(table)
    for beside, tally in tallies.items():
        console.print("with:" if beside else "without:")
        show_ends(console, tally)
    console.print(f"target: p99 within {TARGET:g} times, {'met' if met else 'MISSED'}")
    return all(tally.ends["answered"] == tally.sent for tally in tallies.values())


def main(minutes: Annotated[float, typer.Option(help="How long; half of it with hostile clients.")] = 10.0) -> None:
    """Run it."""
    context = multiprocessing.get_context("spawn")
    active, done = context.Event(), context.Event()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        fleet = fleet_file(work)
        names = ",".join((*GPUS, GROQ))
        stack.enter_context(headrace("emulate", fleet, "--only", names, log=work / "emulate.log"))
        for name in (*GPUS, GROQ):
            await_port(PORTS[name])
            post(PORTS[name], "/emulated/script", SCRIPT)
        gateway = stack.enter_context(
            headrace(
                *("serve", fleet, "--port", PORT, "--admin-port", ADMIN_PORT, "--workers", WORKERS),
                *("--ledger", work / "usage"),
                log=work / "serve.log",
            )
        )
        await_port(ADMIN_PORT)
        attacker = context.Process(target=attack, args=(PORT, active, done), daemon=True)
        attacker.start()
        tallies = asyncio.run(phases(minutes * 60.0, min(PHASE_S, minutes * 30.0), active))
        done.set()
        attacker.join(10)
        rss_mb, descriptors = holds(gateway.pid)
        console.print(f"the gateway holds {rss_mb:.0f} MB and {descriptors} descriptors at the end")
        said = (work / "serve.log").read_text()
        console.print(f"{said.count('Traceback')} tracebacks in its log")
        good = report(tallies) and "Traceback" not in said
        if not good:
            console.print(said, markup=False)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
