"""`headrace chaos [FLEET]`: break the backends of a fleet, one way after the other, and judge what clients see."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from headrace.cli.options import FleetFile
from headrace.cli.output import JsonPath, say, write_result
from headrace.config import load_fleet
from headrace.errors import ConfigError, Fault
from headrace.study.chaos import SCENARIOS, Scenario, Verdict, run_scenarios
from headrace.wire import ApiName

APIS: tuple[ApiName, ...] = ("chat", "completions", "responses", "messages")


def chaos(
    fleet: FleetFile = None,
    api: Annotated[str, typer.Option(help="APIs to ask by, with commas between.")] = "chat,responses,messages",
    only: Annotated[str, typer.Option(help="Only scenarios whose name holds this.")] = "",
    json: JsonPath = None,
) -> None:
    """Break an emulation of the fleet in every way that is known, and judge what clients of the gateway see."""
    loaded = load_fleet(fleet)
    apis, scenarios = _apis(api), _scenarios(only)
    console = Console(stderr=True)
    with console.status("") as status:

        def tell(verdict: Verdict) -> None:
            status.update(f"{verdict.api}: {verdict.scenario}")
            if verdict.faults:
                say(f"{verdict.api}: {verdict.scenario}: {'; '.join(verdict.faults)}")

        verdicts = uvloop.run(run_scenarios(loaded, scenarios, apis, tell))
    right = sum(not verdict.faults for verdict in verdicts)
    write_result(json, {"schema": 1, "command": "chaos", "right": right, "verdicts": [asdict(v) for v in verdicts]})
    Console().print(_table(verdicts))
    say(f"{right} of {len(verdicts)} as a correct system shows it")
    if right < len(verdicts):
        raise typer.Exit(1)


def _apis(text: str) -> tuple[ApiName, ...]:
    named = [name.strip() for name in text.split(",")]
    unknown = [name for name in named if name not in APIS]
    if unknown:
        raise ConfigError("--api", [Fault(name, f"is no API; there are: {', '.join(APIS)}") for name in unknown])
    return tuple(name for name in APIS if name in named)


def _scenarios(part: str) -> list[Scenario]:
    found = [each for each in SCENARIOS if part.lower() in each.name.lower()]
    if not found:
        names = ", ".join(each.name for each in SCENARIOS)
        raise ConfigError("--only", [Fault(part, f"no scenario's name holds it; there are: {names}")])
    return found


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(title="chaos", title_justify="left")
    for column in ("what breaks", "API", "the client sees", "attempts", "seconds", ""):
        table.add_column(column, justify="right" if column in ("attempts", "seconds") else "left")
    for each in verdicts:
        said = "[green]right[/]" if not each.faults else f"[red]wrong[/]: {'; '.join(each.faults[:2])}"
        table.add_row(each.scenario, each.api, each.ends, str(each.attempts), f"{each.seconds:.2f}", said)
    return table
