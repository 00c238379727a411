"""Spare accelerators, and how long it takes to get over a lost one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spares:
    """What stands by for one replica.

    Attributes:
        count: spare accelerators (chips, or wafers) that can take the place of a lost one.
        recover_s: from the loss until the replica serves again with a spare: detection, loading of the weights.
        repair_s: from the loss until the lost one is repaired and stands by.
    """

    count: int = 0
    recover_s: float = 0.0
    repair_s: float = 0.0
