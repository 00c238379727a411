"""`headrace epp FLEET`: the policy engine as the endpoint picker of Envoy (docs/envoy.md)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from headrace.cli.options import LEDGER, AdminPort, FleetFile, JournalPath, LedgerFile, PolicyName
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.running import ports_explained
from headrace.cli.worker import WorkerSettings, read_fleet, run_worker
from headrace.errors import ConfigError, Fault
from headrace.gateway import LOOPBACK, RunningGateway, is_loopback

if TYPE_CHECKING:
    from headrace.epp import Places
    from headrace.fleet import Fleet

EXPOSED = "who asks there is told the backends' keys: see to it that only Envoy can, and add --only-envoy"
MISSING = "pip install 'headrace[envoy]'"
CA_FILE = "/etc/ssl/certs/ca-certificates.crt"


def epp(
    fleet: FleetFile = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port that Envoy asks (gRPC); 0: any free one.")] = 9002,
    host: Annotated[
        str, typer.Option(help="Address for Envoy; another than loopback must be reached by it alone.")
    ] = LOOPBACK,
    only_envoy: Annotated[
        bool, typer.Option("--only-envoy", help="Nobody but Envoy can reach --host: it is told the backends' keys.")
    ] = False,
    admin_port: AdminPort = 8081,
    ledger: LedgerFile = LEDGER,
    journal: JournalPath = None,
    policy: PolicyName = None,
    seed: Annotated[int, typer.Option(help="Root seed of the policy's chance.")] = 0,
    json: JsonPath = None,
    write_envoy_config: Annotated[
        bool, typer.Option("--write-envoy-config", help="Print a configuration for Envoy, and end.")
    ] = False,
    listen: Annotated[str, typer.Option(help="In it: where Envoy listens for clients.")] = "127.0.0.1:8080",
    envoy_admin: Annotated[str, typer.Option(help="In it: Envoy's own admin page.")] = "127.0.0.1:9901",
    picker: Annotated[
        list[str] | None,
        typer.Option(help="In it: host:port of a headrace epp, repeatable; default: --host and --port."),
    ] = None,
    ca_file: Annotated[str, typer.Option(help="In it: certificates by which backends are checked.")] = CA_FILE,
) -> None:
    """Pick endpoints for Envoy (ext_proc) over the fleet until Ctrl-C, which drains."""
    settings = WorkerSettings(
        fleet=None if fleet is None else str(fleet),
        port=port,
        admin_port=admin_port,
        ledger=str(ledger),
        journal=None if journal is None else str(journal),
        policy=policy,
        seed=seed,
    )
    try:
        from headrace.epp import Places
        from headrace.epp import picker as front
    except ImportError as error:
        raise ConfigError("headrace epp", [Fault("extra envoy", f"{error}; {MISSING}")]) from error
    text, loaded = read_fleet(settings)
    if not is_loopback(host) and not only_envoy:
        raise ConfigError("command line", [Fault(f"--host {host}", EXPOSED)])
    if write_envoy_config:
        _print_config(loaded, Places(listen, envoy_admin, tuple(picker or [f"{host}:{port}"]), ca_file))
        return

    def announce(running: RunningGateway) -> None:
        asked, admin = f"{host}:{running.port}", f"http://127.0.0.1:{running.admin_port}/admin/state"
        result = {"schema": 1, "command": "epp", "address": asked, "admin_url": admin, "ledger": settings.ledger}
        write_result(json, result)
        say(asked)
        say(admin)

    with ports_explained(f"ports {port} and {admin_port}", "--port 0 --admin-port 0 takes free ones"):
        run_worker(settings, text, loaded, announce, front(host))


def _print_config(fleet: Fleet, places: Places) -> None:
    from headrace.epp import bootstrap

    try:
        made = bootstrap(fleet, places)
    except ValueError as error:
        raise ConfigError("command line", [Fault("--listen, --envoy-admin, --picker", str(error))]) from error
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n")
