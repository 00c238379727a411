"""The command line: one file per command. Results go to stdout, diagnostics to stderr; bad input exits with 2.

A command's module is imported when the command is called: most need only a part of headrace, and start the sooner.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace import __version__
from headrace.cli.build import build_of
from headrace.cli.output import explained

COMMANDS = (
    *("calibrate", "catalog", "chaos", "check", "dialects", "doctor", "emulate", "epp", "init", "journal", "keys"),
    *("perf", "plan", "probe", "replay", "serve", "simulate", "study", "top", "up", "usage", "validate"),
)


class _Commands(TyperGroup):
    """Every command is the attribute of its own name in the module of its own name."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"headrace.cli.{cmd_name}"), cmd_name)
        if isinstance(found, typer.Typer):
            found.info.name = cmd_name
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)


app = typer.Typer(cls=_Commands, no_args_is_help=True)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"headrace {__version__} ({build_of()})")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and which build runs."),
]


@app.callback()
def headrace(version: Version = False) -> None:
    """Headrace: plan, prove and run LLM traffic over mixed silicon."""


def main() -> None:
    """Run the command line; an error of the user's, or of a file's, is printed and not traced."""
    with explained():
        try:
            app()
        except BrokenPipeError:  # whoever read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


__all__ = ["app", "main"]
