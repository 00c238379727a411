"""`headrace journal verify FILE`: does a recorded day run again to identical actions?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace import rng
from headrace.config import parse_fleet
from headrace.ledger.journal import read_journal
from headrace.policy import PolicyEngine, PolicyName
from headrace.policy.journal import first_difference

journal = typer.Typer(help="Recorded events and actions of a policy engine.", no_args_is_help=True)


@journal.callback()
def _group() -> None:
    """Keeps `verify` a command of its own."""


@journal.command()
def verify(file: Annotated[Path, typer.Argument(help="A journal that `serve --journal` recorded.")]) -> None:
    """Run a journal through a fresh engine; exit 1 at the first action that differs."""
    header, entries = read_journal(file)
    fleet = parse_fleet(header.fleet, str(file))
    engine = PolicyEngine(fleet, rng.stream(header.seed, "policy"), PolicyName(header.policy))
    count, difference = first_difference(engine, entries)
    if difference is None:
        print(f"{file}: {count:,} events, identical actions")
        return
    print(f"{file}:{difference.index + 2}: {difference.entry.event}\n  recorded {difference.entry.actions}")
    print(f"  now      {difference.actions}")
    raise typer.Exit(1)
