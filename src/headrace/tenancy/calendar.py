"""Days and months of budgets: the calendar's, in UTC."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import NamedTuple

from headrace.units import SECONDS_PER_DAY


class Periods(NamedTuple):
    """The day and the month of a time: where each begins and ends, in Unix seconds."""

    day_unix_s: float
    day_ends_unix_s: float
    month_unix_s: float
    month_ends_unix_s: float


def periods_of(now_unix_s: float) -> Periods:
    """Those that hold this time."""
    now = datetime.fromtimestamp(now_unix_s, UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    return Periods(day, day + SECONDS_PER_DAY, month, month + monthrange(now.year, now.month)[1] * SECONDS_PER_DAY)
