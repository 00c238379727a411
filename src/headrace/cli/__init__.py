"""The command line: one file per command. Results go to stdout, diagnostics to stderr; bad input exits with 2."""

from __future__ import annotations

import os
import sys

import typer

from headrace.cli.calibrate import calibrate
from headrace.cli.check import check
from headrace.cli.emulate import emulate
from headrace.cli.journal import journal
from headrace.cli.probe import probe
from headrace.cli.replay import replay
from headrace.cli.serve import serve
from headrace.cli.simulate import simulate
from headrace.cli.up import up
from headrace.errors import HeadraceError

app = typer.Typer(
    help="Headrace: plan, prove and run LLM traffic over mixed silicon.", no_args_is_help=True, add_completion=False
)
app.command()(calibrate)
app.command()(check)
app.command()(emulate)
app.command()(probe)
app.command()(replay)
app.command()(serve)
app.command()(simulate)
app.command()(up)
app.add_typer(journal, name="journal")


def main() -> None:
    """Run the command line; an error of the user's, or of a file's, is printed and not traced."""
    try:
        app()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (HeadraceError, OSError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        sys.exit(2)


__all__ = ["app", "main"]
