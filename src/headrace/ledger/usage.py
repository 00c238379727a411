"""Questions to a ledger's tables: sums of attempts by some of their properties, within some time.

An attempt whose backend did not say what it used has an interval, [delivered, reserved]; so sums have two ends. An end
is None where an attempt in the sum has no bound, or, of USD, no recorded terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.errors import ConfigError, Fault
from headrace.ledger.tables import Row

DIMENSIONS = ("tenant", "model", "pool", "backend", "class", "api", "reason", "day", "status", "run_id")

_SUMS = """
    count(*), count(distinct run_id || '-' || request_id),
    sum(case when status = 'open' then 1 else 0 end), sum(case when usage then 0 else 1 end),
    sum(input), sum(cached), sum(output_low),
    case when count(output_high) = count(*) then sum(output_high) end,
    case when count(usd_low) = count(*) then sum(usd_low) end,
    case when count(usd_high) = count(*) then sum(usd_high) end
from usage"""


class Queried(Protocol):
    """A database with the tables."""

    def query(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a query."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums over the attempts of one group.

    Attributes:
        group: values of the dimensions that were asked for; empty in the totals.
        requests: requests with an attempt in the group; one with attempts in several groups is in each.
        uncertain: attempts whose backend did not say what they used; the input of these is estimated.
        cached_input_tokens: a part of `input_tokens`.
    """

    group: tuple[str, ...]
    attempts: int
    requests: int
    open: int
    uncertain: int
    input_tokens: int
    cached_input_tokens: int
    output_low: int
    output_high: int | None
    usd_low: float | None
    usd_high: float | None


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer to a question: a row for each group, by their names, and all of them together."""

    by: tuple[str, ...]
    rows: tuple[UsageRow, ...]
    total: UsageRow


def usage(
    tables: Queried, by: Sequence[str], since_unix_s: float | None = None, until_unix_s: float | None = None
) -> Usage:
    """Sums over the attempts that were dispatched in a time.

    Args:
        by: some of `DIMENSIONS`.
        since_unix_s, until_unix_s: the first included, the second not; None: no bound.

    Raises:
        ConfigError: something else is asked for.
    """
    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown:
        message = f"nothing is counted by {', '.join(unknown)}; use some of {', '.join(DIMENSIONS)}"
        raise ConfigError("command line", [Fault("--by", message)])
    bounds = [(">=", since_unix_s), ("<", until_unix_s)]
    given = [(sign, value) for sign, value in bounds if value is not None]
    where = " and ".join(f"opened_unix_s {sign} ?" for sign, _ in given) or "1 = 1"
    values = [value for _, value in given]
    names = ", ".join(by)
    rows = (
        tables.query(f"select {names}, {_SUMS} where {where} group by {names} order by {names}", values) if by else []
    )
    total = tables.query(f"select {_SUMS} where {where}", values)
    return Usage(tuple(by), tuple(_row(row, len(by)) for row in rows), _row(total[0], 0))


def _row(row: Row, names: int) -> UsageRow:
    group, (counts, amounts) = row[:names], (row[names:-2], row[-2:])
    if not counts[0]:
        return UsageRow((), *[0] * len(counts), *[0.0] * len(amounts))
    whole = [None if value is None else int(str(value)) for value in counts]
    usd = [None if value is None else float(str(value)) for value in amounts]
    return UsageRow(tuple(map(str, group)), *whole, *usd)  # type: ignore[arg-type]
