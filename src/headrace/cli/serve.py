"""`headrace serve FLEET`: the gateway in front of the backends that a fleet file names."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from headrace import __version__, rng
from headrace.config import load_fleet, sample_fleet_text
from headrace.gateway import start_gateway
from headrace.ledger import UsageLedger
from headrace.ledger.journal import JournalFile
from headrace.policy import PolicyEngine, PolicyName
from headrace.policy.journal import JournalHeader


def serve(
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
    port: Annotated[int, typer.Option(help="Port for clients, on 127.0.0.1; 0: any free one.")] = 8080,
    admin_port: Annotated[int, typer.Option(help="Port for /admin/state; 0: any free one.")] = 8081,
    ledger: Annotated[Path, typer.Option(help="Usage ledger; appended to.")] = Path("headrace-ledger.jsonl"),
    journal: Annotated[Path | None, typer.Option(help="Record every event and action here; replaced.")] = None,
    policy: Annotated[PolicyName, typer.Option(help="What chooses.")] = PolicyName.PRICES,
    seed: Annotated[int, typer.Option(help="Root seed of the policy's chance.")] = 0,
) -> None:
    """Serve OpenAI's chat completions over the fleet until Ctrl-C, which drains."""
    loaded = load_fleet(fleet)
    text = sample_fleet_text() if fleet is None else fleet.read_text()
    header = JournalHeader(1, __version__, seed, policy.value, text)
    engine = PolicyEngine(loaded, rng.stream(seed, "policy"), policy)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        with contextlib.ExitStack() as stack:
            books = stack.enter_context(UsageLedger(ledger))
            record = None if journal is None else stack.enter_context(JournalFile(journal, header)).record
            running = await start_gateway(loaded, engine, books, port=port, admin_port=admin_port, journal=record)
            print(f"headrace: http://127.0.0.1:{running.port}/v1", file=sys.stderr)
            print(f"headrace: http://127.0.0.1:{running.admin_port}/admin/state", file=sys.stderr)
            await stop.wait()
            await running.close()

    uvloop.run(run())
