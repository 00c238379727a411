"""Calendar times, as traces write them, in nanoseconds of Unix time: nothing is rounded before it is a difference."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

NS_PER_S = 1_000_000_000

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)?", re.ASCII)
_UNIX_DAY = date(1970, 1, 1).toordinal()


def stamp_ns(name: str, text: str) -> int:
    """A calendar time in UTC. Raises ValueError, which names the column, for anything else."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} must look like 2023-11-16 18:17:03.9799600, got {text[:40]!r}")
    day, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 60:
        raise ValueError(f"{name} is no time of day: {text[:40]!r}")
    whole_s = _day_s(day) + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole_s * NS_PER_S + (int(fraction.ljust(9, "0")) if fraction else 0)


@lru_cache(maxsize=64)
def _day_s(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _UNIX_DAY) * 86400
