"""`headrace emulate FLEET`: serve every emulated backend of a fleet at its URL."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from headrace.config import load_fleet
from headrace.emulate import Emulator


def emulate(
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
    seed: Annotated[int, typer.Option(help="Root seed of the answers' lengths.")] = 0,
) -> None:
    """Emulate a fleet on this machine, in real time, until Ctrl-C. Answers carry x-headrace-emulated: 1."""
    loaded = load_fleet(fleet)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        emulator = Emulator(loaded, seed)
        for name, url in (await emulator.start()).items():
            print(f"headrace: {name} emulated at {url}", file=sys.stderr)
        await stop.wait()
        await emulator.stop()

    uvloop.run(run())
