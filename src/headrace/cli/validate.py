"""`headrace validate`: how far the speed model is from public measurements, section by section."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from headrace.cli.output import JsonPath, say, write_result
from headrace.errors import ConfigError, Fault

if TYPE_CHECKING:
    from headrace.bench.validation import Section

WIDE = 120  # characters, where the output is no terminal
DATA = Path("../shared/data")
Sections = Annotated[list[str] | None, typer.Option("--only", help="One section, repeatable; default: all.")]
DataFolder = Annotated[
    Path, typer.Option("--data", envvar="HEADRACE_DATA", help="Folder that holds measured/ with the public tables.")
]
COLUMNS = ("judged", "group", "n", "median", "p90", "max", "bias", "<= 25 %", "inside")


def validate(
    data: DataFolder = DATA,
    only: Sections = None,
    rows: Annotated[bool, typer.Option("--rows", help="Print every prediction, not the scores alone.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Write a page with every point, predicted against measured.")
    ] = None,
    json: JsonPath = None,
) -> None:
    """Compare the speed model with public measurements: errors on rows that the fit has, and has not, seen."""
    from headrace.bench import validation  # numpy and scipy: not before the command is called

    sections = []
    for name in _chosen(only, tuple(validation.SECTIONS)):
        with Status(f"fitting {name}", console=Console(stderr=True)):
            sections.append(validation.validate(name, data))
    write_result(json, {"schema": 1, "command": "validate", "sections": sections})
    if plot is not None:
        from headrace.study.scatter import write_scatter  # plotly: not before it is asked for

        say(f"{write_scatter(plot, sections):,} points in {plot}")
    if json is None or str(json) != "-":
        for section in sections:
            _show(section, rows)


def _chosen(only: list[str] | None, known: tuple[str, ...]) -> list[str]:
    unknown = [name for name in only or [] if name not in known]
    if unknown:
        raise ConfigError("command line", [Fault(f"--only {unknown[0]}", f"no such section; {', '.join(known)}")])
    return [name for name in known if only is None or name in only]


def _show(section: Section, rows: bool) -> None:
    fitted = f"fitted: {section.parameters} parameters, {section.points} points"
    table = Table(title=f"{section.name}: {section.about}; {fitted}", title_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right", no_wrap=index < 2)
    for score in section.scores:
        inside = "-" if score.inside is None else f"{score.inside:.0%}"
        errors = (f"{error:.1%}" for error in (score.median_error, score.p90_error, score.max_error))
        table.add_row(
            score.judged, score.group, str(score.n), *errors, f"{score.bias:+.1%}", f"{score.within_25:.0%}", inside
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table)
    for note in section.notes:
        console.print(note, highlight=False, markup=False)
    if rows:
        console.print(_row_table(section))


def _row_table(section: Section) -> Table:
    table = Table(title=f"{section.name}: every prediction", title_justify="left")
    for column in ("judged", "group", "what", "measured", "predicted", "error"):
        table.add_column(column)
    for row in section.rows:
        figures = f"{row.measured:.4g}", f"{row.predicted:.4g}", f"{row.error:+.1%}"
        table.add_row(row.judged, row.group, row.label, *figures)
    return table
