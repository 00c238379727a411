"""Rows of a CSV trace: the header says which columns, every other line is parsed by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from headrace.traces._lines import BadLines, Columns, good_rows
from headrace.traces.source import Member

Row = TypeVar("Row")


def csv_rows(
    member: Member, needed: tuple[str, ...], parse: Callable[[list[str]], Row], bad_lines: BadLines
) -> Iterator[Row]:
    """What `parse` makes of the needed columns of each line below the header.

    Raises:
        TraceError: the header lacks a column, or a line is broken and not tolerated.
    """
    header: list[Columns] = []

    def row(line: bytes) -> Row | None:
        if not header:
            header.append(Columns(member.where, line, needed))
            return None
        return parse(header[0].fields(line))

    return (found for found in good_rows(member, row, bad_lines) if found is not None)
