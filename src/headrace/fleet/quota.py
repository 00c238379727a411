"""What a provider allows, and how its speed scatters: what is known of a service from its documents and answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.bucket import Bucket
from headrace.units import SECONDS_PER_DAY, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from headrace.wire.dialects import Reservation

WINDOWS_S = {"minute": SECONDS_PER_MINUTE, "day": SECONDS_PER_DAY}


@dataclass(frozen=True, slots=True)
class Quota:
    """Rate limits of one key at a provider; None: no limit.

    Attributes:
        requests_per_minute, requests_per_day, tokens_per_minute, tokens_per_day: limits.
        assumed_output_tokens: what is reserved for a request that sets no ceiling on its output.
        true_up: what was reserved and not used is given back when the request ends.
        count_cached: input found in the provider's cache counts as well.
        max_in_flight: requests at the same time; beyond it the provider is full (503).
        name: backends with the quota of one name draw from the same limits, whatever deployment they belong to (a
            provider counts by organisation or key); None: each backend has limits of its own.
        reserve_output: the ceiling on output is taken when a request comes, else what was made of it when it ends;
            None: as its dialect says, and taken where that says nothing.
        at_once: a limit is whole again when its minute or day is over; else it refills evenly.
    """

    requests_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_minute: float | None = None
    tokens_per_day: float | None = None
    assumed_output_tokens: int = 0
    true_up: bool = True
    count_cached: bool = True
    max_in_flight: int | None = None
    name: str | None = None
    reserve_output: bool | None = None
    at_once: bool = False

    def buckets(self, of: str) -> dict[str, Bucket]:
        """A full bucket for each limit on `requests` or `tokens`, by its window."""
        return {window: Bucket(limit, WINDOWS_S[window], self.at_once) for window, limit in self._limits(of)}

    def _limits(self, of: str) -> Iterator[tuple[str, float]]:
        minute, day = (
            (self.requests_per_minute, self.requests_per_day)
            if of == "requests"
            else (self.tokens_per_minute, self.tokens_per_day)
        )
        return ((window, limit) for window, limit in zip(WINDOWS_S, (minute, day), strict=True) if limit is not None)

    def admitted_tokens(self, input_tokens: int, ceiling: int | None) -> int:
        """Tokens that are taken when a request comes; `ceiling`: on its output, None without one."""
        if self.reserve_output is False:
            return input_tokens
        return input_tokens + (self.assumed_output_tokens if ceiling is None else ceiling)


def as_debited(quota: Quota, reservation: Reservation | None) -> Quota:
    """The quota, with what its provider is known to take at admission where the fleet file does not say it."""
    if reservation is None:
        return quota
    assumed = quota.assumed_output_tokens or reservation.assumed_output_tokens or 0
    reserves = reservation.output_ceiling if quota.reserve_output is None else quota.reserve_output
    return replace(quota, assumed_output_tokens=assumed, reserve_output=reserves)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution by its quantiles: values that do not fall, at levels in (0, 1) that rise.

    In between it is linear in the level; beyond the outermost ones nothing is known, and nothing lies there.
    """

    levels: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, level: float) -> float:
        """The quantile at `level`."""
        points = list(zip(self.levels, self.values, strict=True))
        (low, value), *rest = points
        if level <= low:
            return value
        for high, above in rest:
            if level <= high:
                return value + (above - value) * (level - low) / (high - low)
            low, value = high, above
        return value
