"""How many replicas of a deployment stand behind one backend, and when there are more or fewer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replicas:
    """Bounds and pace of scaling; with `min_replicas` = `max_replicas` nothing is scaled.

    Attributes:
        target_in_flight: jobs in flight per replica that scaling aims at; 0 where nothing is scaled.
        start_s: from the decision until a new replica takes jobs.
        interval_s: between two looks at the load.
        scale_down_delay_s: fewer replicas only when that many were enough for so long.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    target_in_flight: float = 0.0
    start_s: float = 0.0
    interval_s: float = 15.0
    scale_down_delay_s: float = 300.0
