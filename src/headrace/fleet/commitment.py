"""Amounts per period of time: commitments, which are paid used or not, and budgets, which are not to be exceeded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headrace.units import SECONDS_PER_DAY, SECONDS_PER_HOUR

DAYS_PER_YEAR = 365.25


class Per(StrEnum):
    """How long a period is. A month is a twelfth of a year, 30.4375 days, so that all are equally long."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"

    @property
    def seconds(self) -> float:
        """Its length."""
        days = {Per.DAY: 1.0, Per.MONTH: DAYS_PER_YEAR / 12.0, Per.YEAR: DAYS_PER_YEAR}
        return SECONDS_PER_HOUR if self is Per.HOUR else days[self] * SECONDS_PER_DAY


class CommittedUnit(StrEnum):
    """What is promised to be used."""

    USD = "usd"  # as in a share of spend
    ACCELERATOR_HOURS = "accelerator_hours"  # busy time of replicas, times the accelerators of one
    TOKENS = "tokens"  # input and output


@dataclass(frozen=True, slots=True)
class Commitment:
    """Take-or-pay: `amount` of `unit` on these pools is paid in every period, used or not.

    Attributes:
        from_unix_s: when the first period begins; None: at 0 (UTC), so that hours and days begin on the hour and at
            midnight. A simulated run begins with a period in any case.
        starting_price_usd: the price that the controller starts from, in USD per unit; at most 0.
    """

    name: str
    pools: tuple[str, ...]
    amount: float
    unit: CommittedUnit
    per: Per
    from_unix_s: float | None = None
    starting_price_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `usd` in every period (as in a share of spend), for requests of these classes on these pools.

    Attributes:
        pools, classes: which ones; empty: all.
        hard: what does not fit into what is left is refused; else a price alone holds spending back.
        from_unix_s: as in `Commitment`.
        starting_price_usd: the price that the controller starts from, in USD per USD spent; at least 0.
    """

    name: str
    usd: float
    per: Per
    pools: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    hard: bool = False
    from_unix_s: float | None = None
    starting_price_usd: float = 0.0

    def covers(self, pool: str, workload_class: str) -> bool:
        """Whether a request of this class on this pool spends it."""
        return (not self.pools or pool in self.pools) and (not self.classes or workload_class in self.classes)
