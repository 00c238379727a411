"""`headrace up`: the whole system on one machine, with traffic to look at; then it stays up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.live import Live

from headrace.bench import ReplayProgress, ReplayResult
from headrace.cli.options import generated
from headrace.cli.table import show_report
from headrace.cli.up_screen import progress_line, screen
from headrace.config import load_fleet, sample_fleet_text
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet
from headrace.metrics import RunFacts, encode_report
from headrace.study import UpSettings, UpSystem, running_system

PLAIN_INTERVAL_S = 10.0


def up(
    fleet: Annotated[Path | None, typer.Argument(help="Fleet file; without one, the sample fleet.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Length of the generated traffic; 0: none.")] = 60.0,
    port: Annotated[int, typer.Option(help="Port for clients, on 127.0.0.1; 0: any free one.")] = 8080,
    admin_port: Annotated[int, typer.Option(help="Port for /admin/state; 0: any free one.")] = 8081,
    ledger: Annotated[Path, typer.Option(help="Usage ledger; appended to.")] = Path("headrace-ledger.jsonl"),
    journal: Annotated[Path | None, typer.Option(help="Record every event and action here; replaced.")] = None,
    seed: Annotated[int, typer.Option(help="Root seed of traffic, answers and policy.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the report here; - means standard output.")] = None,
    timing: Annotated[Path | None, typer.Option(help="Write the wall times here, in seconds.")] = None,
) -> None:
    """Emulate a fleet, serve it, send traffic through it, report, and stay up until Ctrl-C."""
    loaded = load_fleet(fleet)
    text = sample_fleet_text() if fleet is None else fleet.read_text()
    settings = UpSettings(ledger, port, admin_port, journal, seed, text)
    try:
        uvloop.run(_up(loaded, settings, seconds, json, timing))
    except OSError as error:
        hint = "is the port taken? --port 0 --admin-port 0 takes free ones"
        raise ConfigError("up", [Fault(f"ports {port} and {admin_port}", f"{error}; {hint}")]) from error


async def _up(fleet: Fleet, settings: UpSettings, seconds: float, json: Path | None, timing: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_system(fleet, settings) as system:
        _say(f"emulated fleet and gateway: {system.url}/v1   state: {system.admin_url}")
        if seconds > 0.0:
            result = await _drive(system, seconds, settings.seed, stop)
            _report(result, settings.seed, json, timing)
        if not stop.is_set():
            _say(f"still up; try this, or stop it with Ctrl-C:\n{curl_line(system)}")
            await stop.wait()
    _say("stopped")


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
                _say(progress_line(system, progress, seconds))

        return await system.drive(requests, show, stop)


def _report(result: ReplayResult, seed: int, json: Path | None, timing: Path | None) -> None:
    p50, p99 = result.lateness.quantile(0.5), result.lateness.quantile(0.99)
    if p50 is not None and p99 is not None:
        _say(f"the load was sent late by p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    for error, count in sorted(result.errors.items()):
        _say(f"{count} requests: {error}")
    report = result.report(RunFacts(command="up", end_s=result.last_arrival_s, seed=seed))
    if timing is not None:
        timing.write_text(f'{{"wall_s": {result.end_s}}}\n')
    if json is not None and str(json) == "-":
        sys.stdout.buffer.write(encode_report(report))
        sys.stdout.flush()
    else:
        show_report(report, json)


def curl_line(system: UpSystem) -> str:
    """A request that works as it stands, on one line."""
    model = next(iter(system.fleet.models))
    body = f'{{"model":"{model}","stream":true,"max_tokens":64,"messages":[{{"role":"user","content":"Hello"}}]}}'
    return f"curl -sN {system.url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"


def _say(text: str) -> None:
    print(f"headrace: {text}", file=sys.stderr, flush=True)
