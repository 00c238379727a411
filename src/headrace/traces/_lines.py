"""Lines of a trace: parsed, checked, and the broken ones kept to be reported.

The first broken line ends the reading, unless some are tolerated. What is checked of every line, whatever the format:
token counts are whole, positive and of a size that a model could take; times are finite, do not go back, and do not
leap as they do where milliseconds stand beside seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import TypeVar

import msgspec

from headrace.errors import TraceError
from headrace.traces.source import Member

MAX_TOKENS = 10_000_000
"""More than any context that is offered today (10 M tokens: Llama 4 Scout, its model card): a slip, not a request."""

MAX_GAP_S = 30 * 86400.0  # silence longer than this inside one trace is a slip of the clock
MIXED_UNITS = 100.0  # seconds then milliseconds: time leaps to hundreds of times what had passed
_HOUR_S = 3600.0
_EARLY_S = 10.0  # too short a past to judge a leap by

Row = TypeVar("Row")


class BadLines:
    """Broken lines of one run, over all of its trace files.

    Args:
        limit: how many are tolerated.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.errors: list[TraceError] = []

    def note(self, error: TraceError) -> None:
        """Tolerate one more broken line, or raise it when there have been too many."""
        if len(self.errors) >= self.limit:
            if not self.limit:
                raise error
            message = f"{error.message} (and {self.limit} broken lines before it were tolerated)"
            raise TraceError(error.path, error.line, message)
        self.errors.append(error)


class Clock:
    """The times of one file, in seconds from any zero.

    Args:
        sort_by: the column to sort by when times go back.
        calendar: times are calendar stamps, so a unit cannot be mistaken and a long silence is only that.
    """

    __slots__ = ("_calendar", "_first_s", "_latest_s", "_sort_by")

    def __init__(self, sort_by: str, *, calendar: bool = False) -> None:
        self._sort_by = sort_by
        self._calendar = calendar
        self._first_s: float | None = None
        self._latest_s = 0.0

    def tick(self, at_s: float) -> float:
        """Check the next time and return it. Raises ValueError: not finite, goes back, or leaps."""
        if not isfinite(at_s) or at_s < 0:
            raise ValueError(f"{self._sort_by} must be a time, got {at_s}")
        if self._first_s is None:
            self._first_s = self._latest_s = at_s
        gap_s, past_s = at_s - self._latest_s, self._latest_s - self._first_s
        if gap_s < 0:
            raise ValueError(f"time goes back; sort the file by {self._sort_by}, and look for stamps in another unit")
        mixed = not self._calendar and past_s > _EARLY_S and gap_s > max(_HOUR_S, MIXED_UNITS * past_s)
        if gap_s > MAX_GAP_S or mixed:
            raise ValueError(
                f"{self._sort_by} leaps by {gap_s:,.0f} s after {past_s:,.0f} s of trace: are milliseconds mixed with "
                "seconds? Bring all stamps to one unit, or cut the trace here"
            )
        self._latest_s = at_s
        return at_s


def good_rows(member: Member, parse: Callable[[bytes], Row], bad_lines: BadLines, first: int = 1) -> Iterator[Row]:
    """What `parse` makes of each line from number `first` on; a ValueError or a decoding error is a broken line.

    Raises:
        TraceError: a line is broken and not tolerated.
    """
    for number, line in member.lines():
        if number < first or not line.strip():
            continue
        try:
            row = parse(line)
        except (ValueError, msgspec.MsgspecError) as fault:
            cut = "" if line.endswith(b"\n") else "; the file ends inside this line: get it again, or leave it out"
            bad_lines.note(TraceError(member.where, number, f"{fault}{cut}"))
            continue
        yield row


def tokens(name: str, count: int, at_least: int = 1) -> int:
    """A token count that makes sense. Raises ValueError: it does not."""
    if count < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {count}")
    if count > MAX_TOKENS:
        raise ValueError(f"{name} is {count:,}: no model takes more than {MAX_TOKENS:,} tokens; look at its unit")
    return count


def whole(name: str, text: str, at_least: int = 1) -> int:
    """A token count from a text column. Raises ValueError: it is none."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a whole number of tokens, got {text[:40]!r}")
    return tokens(name, int(text), at_least)


def seconds(name: str, text: str, per_s: float = 1.0) -> float:
    """A duration or time from a text column, in seconds. Raises ValueError: not a finite, non-negative number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text[:40]!r}") from None
    if not isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a number of at least 0, got {text[:40]!r}")
    return value / per_s


class Columns:
    """A CSV header: columns by name, whatever their order.

    Raises:
        TraceError: the header lacks one that is needed.
    """

    def __init__(self, where: str, header: bytes, needed: tuple[str, ...]) -> None:
        self.names = column_names(header)
        missing = [name for name in needed if name not in self.names]
        if missing:
            shown = header.decode("utf-8", "replace").strip()[:200]
            raise TraceError(where, 1, f"the header has no column {', '.join(missing)}; it reads {shown!r}")
        self._positions = [self.names.index(name) for name in needed]

    def fields(self, line: bytes) -> list[str]:
        """The needed columns of a line, in the order they were asked for. Raises ValueError: too few or too many."""
        text = line.decode("utf-8", "replace").strip()
        fields = text.split(",")
        if len(fields) != len(self.names):
            raise ValueError(f"expected {len(self.names)} columns, got {len(fields)}: {text[:100]!r}")
        return [fields[position] for position in self._positions]


def column_names(header: bytes) -> list[str]:
    """The names of a CSV header."""
    return [name.strip() for name in header.decode("utf-8", "replace").split(",")]
