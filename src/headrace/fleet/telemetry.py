"""How a gateway tells what it does: bounds of its metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is told, and how.

    Attributes:
        max_series: of class, pool and tenant that are told apart in metrics; beyond it new tenants are `other`.
    """

    max_series: int = 200
