"""What a provider allows, and how its speed scatters: what is known of a service from its documents and answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """Rate limits of one key at a provider; None: no limit.

    Attributes:
        requests_per_minute, requests_per_day, tokens_per_minute, tokens_per_day: limits.
        assumed_output_tokens: what is reserved for a request that sets no ceiling on its output.
        true_up: what was reserved and not used is given back when the request ends.
        count_cached: input found in the provider's cache counts as well.
        max_in_flight: requests at the same time; beyond it the provider is full (503).
    """

    requests_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_minute: float | None = None
    tokens_per_day: float | None = None
    assumed_output_tokens: int = 0
    true_up: bool = True
    count_cached: bool = True
    max_in_flight: int | None = None


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
