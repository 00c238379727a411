"""`headrace journal verify FILE`: does a recorded day run again to identical actions?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace import __version__, rng
from headrace.cli.output import JsonPath, say, write_result
from headrace.config import load_policy, parse_fleet
from headrace.ledger.journal import read_journal
from headrace.policy import Generations, PolicyEngine
from headrace.policy.journal import first_difference

journal = typer.Typer(help="Recorded events and actions of a policy engine.", no_args_is_help=True)


@journal.callback()
def _group() -> None:
    """Keeps `verify` a command of its own."""


@journal.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A journal that `serve --journal` recorded.")], json: JsonPath = None
) -> None:
    """Run a journal through a fresh engine; exit 1 at the first action that differs."""
    header, entries = read_journal(file)
    fleet, policy = parse_fleet(header.fleet, str(file)), load_policy(header.policy, str(file))
    engine = Generations(
        PolicyEngine(fleet, rng.stream(header.seed, "policy"), policy),
        lambda event: (parse_fleet(event.fleet, str(file)), load_policy(event.policy, str(file))),
    )
    count, difference = first_difference(engine, entries)
    result = {"schema": 1, "command": "journal verify", "events": count, "identical": difference is None}
    write_result(json, result | {"difference": difference})
    if difference is None:
        say(f"{file}: {count:,} events, identical actions")
        return
    say(f"{file}:{difference.index + 2}: {difference.entry.event}\n  recorded {difference.entry.actions}")
    say(f"  now      {difference.actions}")
    if header.version != __version__:
        say(f"recorded by version {header.version}; this is {__version__}")
    raise typer.Exit(1)
