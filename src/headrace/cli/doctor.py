"""`headrace doctor [FLEET]`: what is wrong with this installation, the most important first."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace import __version__
from headrace.cli import diagnosis
from headrace.cli.build import build_of
from headrace.cli.diagnosis import Finding, Severity
from headrace.cli.diagnosis.finding import important_first
from headrace.cli.endpoints import look
from headrace.cli.options import LEDGER, AdminPort, FleetFile, LedgerFile, Port
from headrace.cli.output import JsonPath, say, write_result
from headrace.config import load_fleet
from headrace.errors import ConfigError
from headrace.fleet import Backend, Fleet
from headrace.fleet.credentials import credential_variables


def doctor(
    fleet: FleetFile = None,
    port: Port = 8080,
    admin_port: AdminPort = 8081,
    ledger: LedgerFile = LEDGER,
    ask: Annotated[bool, typer.Option(help="Ask backends, Redis and PostgreSQL whether they are there.")] = True,
    json: JsonPath = None,
) -> None:
    """Say what is wrong with this installation: what, where, what to do; exit 1 if something does not work.

    It changes nothing. Backends are asked for their catalogue, which costs nothing; emulated ones are not asked.
    """
    facts = {
        "headrace": __version__,
        "build": str(build_of()),
        "python": f"{sys.implementation.name} {platform.python_version()}",
        "platform": platform.platform(),
        "fleet": "sample fleet" if fleet is None else str(fleet),
    }
    findings = important_first(list(_findings(_loaded(fleet), port, admin_port, ledger, ask)))
    shown = [finding._asdict() for finding in findings]
    write_result(json, {"schema": 1, "command": "doctor", "facts": facts, "findings": shown})
    if json is None or str(json) != "-":
        _show(facts, findings)
    if any(finding.severity is not Severity.ADVICE for finding in findings):
        raise typer.Exit(1)


def _loaded(path: Path | None) -> Fleet | ConfigError:
    try:
        return load_fleet(path)
    except ConfigError as error:
        return error


def _findings(found: Fleet | ConfigError, port: int, admin_port: int, ledger: Path, ask: bool) -> Iterator[Finding]:
    yield from diagnosis.installation_findings()
    yield from diagnosis.fleet_findings(found)
    yield from diagnosis.port_findings(port, admin_port)
    if isinstance(found, ConfigError):
        return
    yield from diagnosis.credential_findings(found)
    yield from diagnosis.ledger_findings(found, ledger)
    yield from diagnosis.file_limit_findings(found)
    yield from diagnosis.share_findings(found)
    yield from diagnosis.aged_findings(found)
    seen = look([backend for backend in found.backends if _can_ask(backend)]) if ask else []
    yield from diagnosis.backend_findings(found, seen)
    yield from diagnosis.clock_findings(seen)
    if ask:
        yield from diagnosis.service_findings(found)


def _can_ask(backend: Backend) -> bool:
    """One without its key has been found already."""
    return not backend.emulated and all(name in os.environ for name in credential_variables(backend))


def _show(facts: dict[str, str], findings: list[Finding]) -> None:
    say("; ".join(f"{name} {value}" for name, value in facts.items()))
    table = Table(title=f"{len(findings)} findings" if findings else "nothing is wrong", title_justify="left")
    for column in ("", "where", "what", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.severity, finding.where, finding.what, finding.remedy)
    Console().print(table)
