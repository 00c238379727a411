"""`headrace emulate FLEET`: serve every emulated backend of a fleet at its URL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from headrace.cli.options import FleetFile
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.running import ports_explained, stopped_by_signals
from headrace.config import load_fleet
from headrace.emulate import Emulator, read_script
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet


def emulate(
    fleet: FleetFile = None,
    seed: Annotated[int, typer.Option(help="Root seed of the answers' lengths.")] = 0,
    script: Annotated[Path | None, typer.Option(help="What the models say, turn by turn (docs/emulator.md).")] = None,
    only: Annotated[str | None, typer.Option(help="Only these backends, with commas between.")] = None,
    json: JsonPath = None,
) -> None:
    """Emulate a fleet on this machine, in real time, until Ctrl-C. Answers carry x-headrace-emulated: 1."""
    loaded = load_fleet(fleet)
    names = None if only is None else _known(loaded, only)
    said = None if script is None else read_script(script.read_bytes())

    async def run() -> None:
        stop = stopped_by_signals()
        emulator = Emulator(loaded, seed, names)
        if said is not None:
            emulator.say(said)
        urls = await emulator.start()
        write_result(json, {"schema": 1, "command": "emulate", "seed": seed, "backends": urls})
        for name, url in urls.items():
            say(f"{name} emulated at {url}")
        await stop.wait()
        await emulator.stop()

    urls = ", ".join(backend.url for backend in loaded.backends)
    with ports_explained(urls, "stop what listens there, or give the backends other URLs in the fleet file"):
        uvloop.run(run())


def _known(fleet: Fleet, only: str) -> list[str]:
    """The names in a list. Raises ConfigError: no emulated backend has one of them."""
    emulated = [backend.name for backend in fleet.backends if backend.emulated]
    names = [name.strip() for name in only.split(",")]
    there = ", ".join(emulated)
    faults = [Fault(name, f"is no emulated backend; there are: {there}") for name in names if name not in emulated]
    if faults:
        raise ConfigError("--only", faults)
    return names
