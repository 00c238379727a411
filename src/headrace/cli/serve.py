"""`headrace serve FLEET`: the gateway in front of the backends that a fleet file names."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headrace.cli.options import LEDGER, AdminPort, FleetFile, JournalPath, LedgerFile, PolicyName, Port
from headrace.cli.output import JsonPath, write_result
from headrace.cli.running import ports_explained
from headrace.cli.shipping import shipped
from headrace.cli.supervisor import Supervisor
from headrace.cli.worker import WorkerSettings, read_fleet, run_worker
from headrace.errors import ConfigError
from headrace.fleet import Fleet
from headrace.gateway import LOOPBACK, bind_faults, is_loopback
from headrace.ledger.places import make_directory
from headrace.telemetry import set_up_logs, tell

MOST_WORKERS = 256


def serve(
    fleet: FleetFile = None,
    port: Port = 8080,
    admin_port: AdminPort = 8081,
    host: Annotated[
        str, typer.Option(help="Address for clients; another than loopback needs keys and TLS.")
    ] = LOOPBACK,
    admin_host: Annotated[
        str, typer.Option(help="Address of the admin port; another needs its key and TLS.")
    ] = LOOPBACK,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Somebody in front of it ends TLS and knows its clients.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=MOST_WORKERS, help="Processes that share the ports; see docs/operations.md.")
    ] = 1,
    ledger: LedgerFile = LEDGER,
    journal: JournalPath = None,
    policy: PolicyName = None,
    seed: Annotated[int, typer.Option(help="Root seed of the policy's chance.")] = 0,
    json: JsonPath = None,
) -> None:
    """Serve chat completions, Responses, Messages, completions and embeddings until Ctrl-C, which drains."""
    if workers > 1 and ledger == LEDGER:
        ledger = LEDGER.with_suffix("")
    settings = WorkerSettings(
        fleet=None if fleet is None else str(fleet),
        port=port,
        admin_port=admin_port,
        ledger=str(ledger),
        journal=None if journal is None else str(journal),
        policy=policy,
        seed=seed,
        workers=workers,
        host=host,
        admin_host=admin_host,
    )
    text, loaded = read_fleet(settings)
    faults = tuple(bind_faults(loaded, host, admin_host, behind_proxy))
    if faults:
        raise ConfigError("command line", faults)
    set_up_logs(loaded.telemetry.log_format)
    announce = partial(_announce, loaded, settings, json)
    with ports_explained(f"ports {port} and {admin_port}", "--port 0 --admin-port 0 takes free ones"):
        if workers == 1:
            run_worker(settings, text, loaded, lambda running: announce(running.port, running.admin_port))
            return
        for path, what in ((ledger, "ledger"), (journal, "journal")):
            if path is not None:
                make_directory(path, what)
        with shipped(ledger, loaded.ledger):
            code = Supervisor(settings, announce).run()
    if code:
        raise typer.Exit(code)


def _named(host: str) -> str:
    """An address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _announce(fleet: Fleet, settings: WorkerSettings, json: Path | None, port: int, admin_port: int | None) -> None:
    scheme = "http" if fleet.tls is None else "https"
    admin_scheme = "http" if is_loopback(settings.admin_host) else scheme
    url = f"{scheme}://{_named(settings.host)}:{port}/v1"
    page_url = f"{admin_scheme}://{_named(settings.admin_host)}:{admin_port}/"
    admin_url = f"{page_url}admin/state"
    backends = {backend.name: backend.url for backend in fleet.backends}
    shown = msgspec.structs.asdict(settings)
    files = {key: shown[key] for key in ("ledger", "journal", "workers")}
    write_result(
        json, {"schema": 1, "command": "serve", "url": url, "admin_url": admin_url, "backends": backends, **files}
    )
    tell(url, logging.INFO)
    tell(f"{admin_url}   dashboard: {page_url}", logging.INFO)
