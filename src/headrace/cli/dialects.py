"""`headrace dialects [NAME]`: in what each provider's API differs, as Markdown, with sources."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.errors import ConfigError, Fault
from headrace.fleet.catalog import close_matches
from headrace.wire.dialects import DIALECTS
from headrace.wire.dialects.page import dialect_lines, dialects_page


def dialects(
    name: Annotated[str | None, typer.Argument(help="One dialect, as the fleet file names it; default: all.")] = None,
) -> None:
    """Print what headrace holds for true of each provider's API, with its source (docs/dialects.md)."""
    if name is None:
        print(dialects_page(DIALECTS.values()), end="")
    elif name in DIALECTS:
        print("\n".join(dialect_lines(DIALECTS[name])))
    else:
        raise ConfigError("command line", [Fault("NAME", f"no dialect {name!r}; {close_matches(name, DIALECTS)}")])
