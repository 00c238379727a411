"""What backends say of their load, and for how long it is believed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signals:
    """Every backend that headrace knows as a model server publishes its load; a service behind an API does not.

    Attributes:
        interval_s: time between two measurements of a backend.
        delay_s: from a measurement until every gateway worker knows it.
        max_age_s: a measurement of this age, or older, counts for nothing; a younger one the less, the older it is.
    """

    interval_s: float = 1.0
    delay_s: float = 0.0
    max_age_s: float = 5.0
