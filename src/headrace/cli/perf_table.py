"""Predictions as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from headrace.perf import Estimate

if TYPE_CHECKING:
    from headrace.cli.perf import Row

COLUMNS = ("on", "clients", "TTFT, s", "TPOT, ms", "tok/s user", "tok/s chip", "USD", "bound by")
CAPTION = (
    "Bound by: the largest part of a token's time. USD: per million output tokens if it ran like this all the time, at "
    "the catalog's price of the accelerator; bases differ (headrace catalog accelerators NAME)."
)
WIDE = 200  # characters, where the output is no terminal


def show_rows(title: str, rows: Sequence[Row]) -> None:
    """Print one line for each deployment and concurrency."""
    console = Console()
    wide = console if console.is_terminal else Console(width=WIDE)
    wide.print(_table(title, rows))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left", box=SIMPLE)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index in (0, 7) else "right", no_wrap=0 < index < 7, overflow="fold")
    for row in rows:
        usd = "-" if row.usd_per_mtok_output is None else f"{row.usd_per_mtok_output:.3g}"
        ttft, tpot = _between(row.ttft_s, 1.0), _between(row.tpot_s, 1000.0)
        speeds = f"{row.tokens_per_s_user:,.0f}", f"{row.tokens_per_s_chip:,.0f}"
        table.add_row(row.on, str(row.concurrency), ttft, tpot, *speeds, usd, row.tpot_s.why)
    return table


def _between(estimate: Estimate, scale: float) -> str:
    value, low, high = (f"{part * scale:.3g}" for part in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}-{high})"
