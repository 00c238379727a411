"""`headrace serve FLEET`: the gateway in front of the backends that a fleet file names."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from headrace import __version__, rng
from headrace.cli.options import LEDGER, AdminPort, FleetFile, JournalPath, LedgerFile, PolicyName, Port
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.running import ports_explained, stopped_by_signals
from headrace.config import load_fleet, load_policy, sample_fleet_text
from headrace.fleet import Fleet
from headrace.gateway import RunningGateway, resumed_periods, start_gateway
from headrace.ledger import UsageLedger
from headrace.ledger.journal import JournalFile
from headrace.policy import PolicyEngine
from headrace.policy.journal import JournalHeader


def serve(
    fleet: FleetFile = None,
    port: Port = 8080,
    admin_port: AdminPort = 8081,
    ledger: LedgerFile = LEDGER,
    journal: JournalPath = None,
    policy: PolicyName = None,
    seed: Annotated[int, typer.Option(help="Root seed of the policy's chance.")] = 0,
    json: JsonPath = None,
) -> None:
    """Serve OpenAI's chat completions over the fleet until Ctrl-C, which drains."""
    loaded = load_fleet(fleet)
    text = sample_fleet_text() if fleet is None else fleet.read_text()
    chosen = load_policy(policy or loaded.policy)
    header = JournalHeader(1, __version__, seed, chosen.name, text)
    engine = PolicyEngine(loaded, rng.stream(seed, "policy"), chosen)

    async def run() -> None:
        stop = stopped_by_signals()
        with contextlib.ExitStack() as stack:
            books = stack.enter_context(UsageLedger(ledger, loaded.ledger))
            record = None if journal is None else stack.enter_context(JournalFile(journal, header)).record
            running = await start_gateway(
                loaded,
                engine,
                books,
                port=port,
                admin_port=admin_port,
                journal=record,
                resumed=resumed_periods(loaded, ledger, time.time()),
            )
            _announce(loaded, running, ledger, journal, json)
            await stop.wait()
            await running.close()

    with ports_explained(f"ports {port} and {admin_port}", "--port 0 --admin-port 0 takes free ones"):
        uvloop.run(run())


def _announce(fleet: Fleet, running: RunningGateway, ledger: Path, journal: Path | None, json: Path | None) -> None:
    url, admin_url = f"http://127.0.0.1:{running.port}/v1", f"http://127.0.0.1:{running.admin_port}/admin/state"
    backends = {backend.name: backend.url for backend in fleet.backends}
    files = {"ledger": str(ledger), "journal": None if journal is None else str(journal)}
    write_result(
        json, {"schema": 1, "command": "serve", "url": url, "admin_url": admin_url, "backends": backends, **files}
    )
    say(url)
    say(admin_url)
