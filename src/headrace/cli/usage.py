"""`headrace usage`: what was used, by whom and for how much, from the usage ledger."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.cli.options import LEDGER
from headrace.cli.output import JsonPath, say, write_bytes, write_result
from headrace.cli.usage_table import csv_bytes, json_result, show_usage
from headrace.errors import ConfigError, Fault
from headrace.ledger.postgres import PostgresFault, PostgresTables, database_url
from headrace.ledger.sqlite import MEMORY, SqliteTables, database_beside
from headrace.ledger.tail import read_on
from headrace.ledger.usage import DIMENSIONS
from headrace.ledger.usage import usage as usage_of

SHOW = "show"

Ledgers = Annotated[
    list[Path] | None, typer.Argument(help=f"Ledgers: files, or directories of files; default: {LEDGER}.")
]


class _ShowsByDefault(TyperGroup):
    """`usage LEDGER...` is `usage show LEDGER...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the command's name first."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [SHOW, *args])


usage = typer.Typer(cls=_ShowsByDefault, help="What was used, from the usage ledger. Without a command: show.")


@usage.command(SHOW)
def show(
    ledgers: Ledgers = None,
    by: Annotated[str, typer.Option(help=f"Comma-separated, of: {', '.join(DIMENSIONS)}.")] = "model,pool",
    since: Annotated[str | None, typer.Option(help="First day or time (ISO 8601, UTC) of dispatch.")] = None,
    until: Annotated[str | None, typer.Option(help="First day or time that is not taken any more.")] = None,
    database: Annotated[
        Path | None, typer.Option(help="SQLite tables to keep; default: beside one ledger, in memory for several.")
    ] = None,
    json: JsonPath = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows here; - means standard output.")] = None,
) -> None:
    """Sums of attempts, tokens and USD; what was cut off has an interval."""
    found = ledgers or [LEDGER]
    tables = SqliteTables(_database(found, database))
    try:
        tables.refresh(found)
        answer = usage_of(tables, _names(by), _unix_s("--since", since), _unix_s("--until", until))
    finally:
        tables.close()
    write_result(json, json_result(answer))
    if csv is not None:
        write_bytes(csv, csv_bytes(answer))
    if "-" not in (str(json), str(csv)):
        show_usage(answer)


@usage.command()
def sync(
    to: Annotated[str, typer.Option(help="PostgreSQL: env:NAME or file:PATH of a URL, or a URL without a password.")],
    ledgers: Ledgers = None,
    every: Annotated[
        float | None, typer.Option(min=0.01, help="Go on, this often in seconds, until Ctrl-C; default: once.")
    ] = None,
) -> None:
    """Bring ledgers into PostgreSQL: what is new of them, each attempt once."""
    url = database_url(to)
    while True:
        try:
            read = _sync(url, ledgers or [LEDGER])
        except PostgresFault as fault:
            if every is None:
                raise
            say(f"{fault}; trying again")
        else:
            if read or every is None:
                say(f"{read:,} bytes of ledger brought in")
        if every is None:
            return
        time.sleep(every)


def _sync(url: str, ledgers: list[Path]) -> int:
    tables = PostgresTables(url)
    try:
        return sum(read_on(tables, ledger) for ledger in ledgers)
    finally:
        tables.close()


def _database(ledgers: list[Path], asked: Path | None) -> str:
    if asked is not None:
        return str(asked)
    if len(ledgers) == 1 and ledgers[0].exists():
        return str(database_beside(ledgers[0]))
    return MEMORY


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _unix_s(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no day and no time; write 2026-11-26 or 2026-11-26T14:30"
        raise ConfigError("command line", [Fault(option, message)]) from error
    return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
