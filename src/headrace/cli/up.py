"""`headrace up`: the whole system on one machine, with traffic to look at; then it stays up."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.live import Live

from headrace.bench import ReplayProgress, ReplayResult
from headrace.cli.options import LEDGER, AdminPort, FleetFile, JournalPath, LedgerFile, Port, TimingPath, generated
from headrace.cli.output import JsonPath, say
from headrace.cli.running import ports_explained, say_how_it_went, show_result, stopped_by_signals, write_timing
from headrace.cli.up_screen import progress_line, screen
from headrace.config import load_fleet, sample_fleet_text
from headrace.dashboard import Dashboard
from headrace.fleet import Fleet
from headrace.metrics import RunFacts
from headrace.study import UpSettings, UpSystem, running_system

PLAIN_INTERVAL_S = 10.0


def up(
    fleet: FleetFile = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Length of the generated traffic; 0: none.")] = 60.0,
    port: Port = 8080,
    admin_port: AdminPort = 8081,
    ledger: LedgerFile = LEDGER,
    journal: JournalPath = None,
    seed: Annotated[int, typer.Option(help="Root seed of traffic, answers and policy.")] = 0,
    json: JsonPath = None,
    timing: TimingPath = None,
) -> None:
    """Emulate a fleet, serve it, send traffic through it, report, and stay up until Ctrl-C."""
    loaded = load_fleet(fleet)
    text = sample_fleet_text() if fleet is None else fleet.read_text()
    settings = UpSettings(ledger, port, admin_port, journal, seed, text)
    with ports_explained(f"ports {port} and {admin_port}", "--port 0 --admin-port 0 takes free ones"):
        uvloop.run(_up(loaded, settings, seconds, json, timing))


async def _up(fleet: Fleet, settings: UpSettings, seconds: float, json: Path | None, timing: Path | None) -> None:
    stop = stopped_by_signals()
    async with running_system(fleet, settings, Dashboard()) as system:
        say(f"emulated fleet and gateway: {system.url}/v1   state: {system.admin_url}")
        say(f"dashboard: {system.dashboard_url}")
        if seconds > 0.0:
            result = await _drive(system, seconds, settings.seed, stop)
            say_how_it_went(result)
            write_timing(timing, result.end_s)
            show_result(result.report(RunFacts(command="up", end_s=result.last_arrival_s, seed=settings.seed)), json)
        if not stop.is_set():
            say(f"still up; try this, or stop it with Ctrl-C:\n{curl_line(system)}")
            await stop.wait()
    say("stopped")


async def _drive(system: UpSystem, seconds: float, seed: int, stop: asyncio.Event) -> ReplayResult:
    console = Console(stderr=True)
    requests = generated(system.fleet, seconds, seed)
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if console.is_terminal else None
        said_s = 0.0

        def show(progress: ReplayProgress) -> None:
            nonlocal said_s
            if live is not None:
                live.update(screen(system, progress, seconds), refresh=True)
            elif progress.now_s - said_s >= PLAIN_INTERVAL_S:
                said_s = progress.now_s
                say(progress_line(system, progress, seconds))

        return await system.drive(requests, show, stop)


def curl_line(system: UpSystem) -> str:
    """A request that works as it stands, on one line."""
    model = next(iter(system.fleet.models))
    body = f'{{"model":"{model}","stream":true,"max_tokens":64,"messages":[{{"role":"user","content":"Hello"}}]}}'
    return f"curl -sN {system.url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"
