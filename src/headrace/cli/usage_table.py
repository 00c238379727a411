"""An answer about usage, for people, for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from headrace.ledger.usage import Usage, UsageRow

COUNTS = ("attempts", "requests", "open", "uncertain", "input_tokens", "cached_input_tokens")
BOUNDS = ("output_low", "output_high", "usd_low", "usd_high")
HEADS = ("attempts", "requests", "open", "uncertain", "input", "cached", "output", "USD")


def show_usage(answer: Usage) -> None:
    """Print the rows, with all of them together at the bottom."""
    table = Table(title="usage", title_justify="left", show_footer=True)
    total = _cells(answer.total)
    for index, name in enumerate(answer.by):
        table.add_column(name, footer="total" if index == 0 else "", overflow="fold")
    for name, cell in zip(HEADS, total, strict=True):
        table.add_column(name, footer=cell, justify="right")
    for row in answer.rows:
        table.add_row(*row.group, *_cells(row))
    Console().print(table)
    if answer.total.uncertain:
        said = "have no count of their backend's: input is estimated, output between delivered and reserved"
        Console().print(f"{answer.total.uncertain:,} attempts {said}", highlight=False)


def json_result(answer: Usage) -> dict[str, object]:
    """As the command's JSON has it."""
    rows = [_named(answer, row) for row in answer.rows]
    return {"schema": 1, "command": "usage", "by": answer.by, "rows": rows, "total": _named(answer, answer.total)}


def csv_bytes(answer: Usage) -> bytes:
    """A header and the rows; what has no bound is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*answer.by, *COUNTS, *BOUNDS))
    for row in answer.rows:
        writer.writerow((*row.group, *(getattr(row, name) for name in (*COUNTS, *BOUNDS))))
    return text.getvalue().encode()


def _named(answer: Usage, row: UsageRow) -> dict[str, object]:
    numbers = asdict(row)
    del numbers["group"]
    return dict(zip(answer.by, row.group, strict=False)) | numbers


def _cells(row: UsageRow) -> tuple[str, ...]:
    counts = (f"{getattr(row, name):,}" for name in COUNTS)
    return (*counts, _between(row.output_low, row.output_high, ",d"), _between(row.usd_low, row.usd_high, ",.4f"))


def _between(low: float | None, high: float | None, form: str) -> str:
    """One figure where both are the same; a question mark for what is not known."""
    first, last = ("?" if value is None else format(value, form) for value in (low, high))
    return first if first == last else f"{first}–{last}"
