"""Calendar arithmetic of horizons and contracts: whole months and years count as such, whatever their days."""

from __future__ import annotations

from calendar import monthrange
from datetime import date

from headrace.units import SECONDS_PER_DAY

MONTHS_PER_YEAR = 12
DAYS_PER_YEAR = 365.0
EPOCH = date(1970, 1, 1)


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or that month's last day."""
    year, month = divmod(day.year * MONTHS_PER_YEAR + day.month - 1 + months, MONTHS_PER_YEAR)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def years_between(start: date, end: date) -> float:
    """Years from `start` to `end`, 0 if it is not later; what is left of whole years in 365ths."""
    if end <= start:
        return 0.0
    whole = end.year - start.year
    if add_months(start, whole * MONTHS_PER_YEAR) > end:
        whole -= 1
    return whole + (end - add_months(start, whole * MONTHS_PER_YEAR)).days / DAYS_PER_YEAR


def unix_s(day: date) -> float:
    """The first second (UTC) of a day."""
    return (day - EPOCH).days * SECONDS_PER_DAY


def day_of(second: float) -> date:
    """The day (UTC) on which a Unix second is."""
    return date.fromordinal(EPOCH.toordinal() + int(second // SECONDS_PER_DAY))
