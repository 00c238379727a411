"""On which terms capacity is had: owned, rented, committed to, or by the token.

A fleet that runs knows two kinds of price (`fleet.contract`): what an hour costs, and what a token costs. Before it
exists there is more to choose from, and what an hour costs is an answer, not an input (`cost.terms`). All figures are
per accelerator, so that the same terms hold for deployments of every size; for wafer-scale parts that is one system.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from headrace.fleet.contract import PerToken


@dataclass(frozen=True, slots=True)
class Electricity:
    """What power costs whoever pays the meter.

    Attributes:
        pue: power at the meter per power of the accelerators; 1.0 where their figure is all-in already.
        idle_fraction: part of a busy accelerator's power that it draws while it only waits.
    """

    usd_per_kwh: float
    pue: float = 1.0
    idle_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Owned:
    """Bought, housed and run by oneself; once bought it stays.

    Attributes:
        capex_usd: price of one accelerator with its part of host, network and installation; 0: paid for already.
        life_years: over which it is written off.
        discount_rate: cost of capital per year, 0.1: ten percent.
        hosting_usd_per_kw_month: space and cooling, per kW of accelerator power.
        staff_usd_per_year: operations, per accelerator.
    """

    capex_usd: float
    life_years: float
    discount_rate: float
    electricity: Electricity
    hosting_usd_per_kw_month: float = 0.0
    staff_usd_per_year: float = 0.0


class Term(StrEnum):
    """For how long capacity is rented."""

    ON_DEMAND = "on_demand"
    ONE_YEAR = "one_year"
    THREE_YEARS = "three_years"
    SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Rented:
    """By the hour, power and housing included.

    Attributes:
        usd_per_hour: of one accelerator.
        term: on demand and spot may change from period to period, a year's term from year to year; three years stay.
        interruptions_per_hour: spot: how often a replica is taken away; `recover_s`: from then until another serves.
    """

    usd_per_hour: float
    term: Term
    interruptions_per_hour: float = 0.0
    recover_s: float = 0.0

    @property
    def availability(self) -> float:
        """Part of the time that a replica is there: 1 / (1 + interruptions per hour * hours to recover)."""
        return 1.0 / (1.0 + self.interruptions_per_hour * self.recover_s / 3600.0)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a contract for capacity gives; its price stands there (`CapacityContract`)."""

    contract: str


@dataclass(frozen=True, slots=True)
class ByToken:
    """An API: tokens at list price, within rate limits over everything that is sent there.

    Attributes:
        contract: a commitment to spend that lowers the price (`SpendContract`); None: none is on offer.
    """

    price: PerToken
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    contract: str | None = None


Terms = Owned | Rented | Committed | ByToken


@dataclass(frozen=True, slots=True)
class Tranche:
    """Capacity that comes live on a date and stays to the end of its contract: one of the two figures is set."""

    start: date
    power_w: float | None = None
    accelerators: float | None = None


class PricedBy(StrEnum):
    """What the price of committed capacity is a price of."""

    TOTAL = "total"  # USD over the whole term
    ACCELERATOR_HOUR = "accelerator_hour"
    MW_YEAR = "mw_year"


@dataclass(frozen=True, slots=True)
class CapacityContract:
    """Dedicated capacity over a term, in tranches, paid whether it is used or not.

    Attributes:
        usd: the price, of what `priced_by` says.
        tranches: what comes live when; all of them end with `end`.
        overhead: power at the meter per power of the accelerators: hosts, network, cooling.
        take_or_pay: part of the capacity that is paid in any case.
        site: where it stands; it holds nothing but this contract's capacity.
        signed: it is no longer a choice.
    """

    name: str
    usd: float
    priced_by: PricedBy
    tranches: tuple[Tranche, ...]
    end: date
    overhead: float = 1.0
    take_or_pay: float = 1.0
    site: str | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class SpendStep:
    """A promise to spend at least so much a year, and the part of the list price that it takes off."""

    min_usd_per_year: float
    discount: float


@dataclass(frozen=True, slots=True)
class SpendContract:
    """Steps of a price list, of which at most one is chosen; without any, the list price holds."""

    name: str
    steps: tuple[SpendStep, ...]


Contract = CapacityContract | SpendContract
