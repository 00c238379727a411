"""The Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, one request a line.

Timestamps have up to seven fractional digits and no zone (2023), or a zone `+00:00` and sometimes no fraction (2024);
lines end in CRLF; the last one may have no end. Times are kept as whole nanoseconds until the end, so nothing is
rounded before it is a difference. Source: github.com/Azure/AzurePublicDataset (CC-BY-4.0; Patel et al., "Splitwise",
ISCA 2024).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from os import PathLike, fspath
from typing import NamedTuple, TextIO

from headrace.errors import TraceError
from headrace.traces._lines import BadLines
from headrace.workload import Request

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)?", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_NS_PER_S = 1_000_000_000


class AzureRow(NamedTuple):
    """One line: when it was (nanoseconds on the trace's own clock), tokens in, tokens out."""

    at_ns: int
    input_tokens: int
    output_tokens: int


class AzureTrace:
    """One file of an Azure trace, read as a stream.

    Args:
        bad_lines: tolerates broken lines, possibly over several files; None: the first one raises.
    """

    def __init__(self, path: str | PathLike[str], bad_lines: BadLines | None = None) -> None:
        self.path = fspath(path)
        self._bad_lines = bad_lines or BadLines()

    def t0_ns(self) -> int | None:
        """Time of the first good row on the trace's own clock; None if there is none. Counts no broken line."""
        probe = AzureTrace(self.path, BadLines(self._bad_lines.limit))
        return next((row.at_ns for row in probe.rows()), None)

    def rows(self) -> Iterator[AzureRow]:
        """The good rows, in the order of the file.

        Raises:
            TraceError: the file cannot be opened, its header lacks a column, or a line is broken and not tolerated.
        """
        latest_ns = 0
        with _open(self.path) as lines:
            columns = _columns(self.path, lines.readline())
            for number, line in enumerate(lines, start=2):
                text = line.strip()
                if not text:
                    continue
                try:
                    row = _parse(text, columns)
                    if row.at_ns < latest_ns:
                        raise ValueError("time goes back; sort the file by TIMESTAMP")
                except ValueError as fault:
                    self._bad_lines.note(TraceError(self.path, number, str(fault)))
                    continue
                latest_ns = row.at_ns
                yield row

    def requests(self, workload_class: str, t0_ns: int | None = None) -> Iterator[Request]:
        """The rows as requests of one class; `arrival_s` counts from `t0_ns`, by default the first good row."""
        for row in self.rows():
            if t0_ns is None:
                t0_ns = row.at_ns
            yield Request((row.at_ns - t0_ns) / _NS_PER_S, workload_class, row.input_tokens, row.output_tokens)


def read_azure(path: str | PathLike[str], workload_class: str, skip_bad_lines: int = 0) -> Iterator[Request]:
    """The requests of one Azure file, as a stream; `arrival_s` counts from its first row.

    Args:
        skip_bad_lines: how many broken lines to leave out before giving up.

    Raises:
        TraceError: the file cannot be opened, or a line is broken; says which and what is wrong.
    """
    return AzureTrace(path, BadLines(skip_bad_lines)).requests(workload_class)


def is_azure_header(line: str) -> bool:
    """Whether a first line names the columns of this format."""
    return set(COLUMNS) <= set(_names(line))


def _open(path: str) -> TextIO:
    try:
        return open(path, encoding="utf-8-sig", errors="replace")
    except OSError as fault:
        raise TraceError(path, 0, f"cannot be opened: {fault.strerror}") from fault


def _names(header: str) -> list[str]:
    return [name.strip() for name in header.split(",")]


def _columns(path: str, header: str) -> tuple[int, int, int, int]:
    """Positions of the three columns, and how many columns a line has."""
    names = _names(header)
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise TraceError(path, 1, f"the header has no column {', '.join(missing)}; it reads {header.strip()[:200]!r}")
    at, context, generated = (names.index(name) for name in COLUMNS)
    return at, context, generated, len(names)


def _parse(text: str, columns: tuple[int, int, int, int]) -> AzureRow:
    fields = text.split(",")
    at, context, generated, width = columns
    if len(fields) != width:
        raise ValueError(f"expected {width} columns, got {len(fields)}: {text[:100]!r}")
    input_tokens = _tokens(COLUMNS[1], fields[context])
    if input_tokens < 1:
        raise ValueError(f"{COLUMNS[1]} must be at least 1, got {input_tokens}")
    return AzureRow(_stamp_ns(fields[at]), input_tokens, _tokens(COLUMNS[2], fields[generated]))


def _tokens(column: str, text: str) -> int:
    if _COUNT.fullmatch(text) is None:
        raise ValueError(f"{column} must be a whole number of tokens, got {text[:40]!r}")
    return int(text)


def _stamp_ns(text: str) -> int:
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{COLUMNS[0]} must look like 2023-11-16 18:17:03.9799600, got {text[:40]!r}")
    day, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 60:
        raise ValueError(f"{COLUMNS[0]} is no time of day: {text[:40]!r}")
    whole_s = _day_s(day) + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole_s * _NS_PER_S + (int(fraction.ljust(9, "0")) if fraction else 0)


@lru_cache(maxsize=64)
def _day_s(day: str) -> int:
    """Seconds from the proleptic epoch to the start of `day`."""
    return date.fromisoformat(day).toordinal() * 86400
