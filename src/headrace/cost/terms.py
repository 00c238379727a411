"""What an hour of capacity costs on its terms, in USD: capital, hosting, people, power, rent.

Owned capacity pays back its price over its life at the cost of capital, in equal parts: the **capital recovery factor**
r (1 + r)^n / ((1 + r)^n - 1) of n years at rate r is the yearly part; without interest it is 1 / n. Space is paid per
kW, people per accelerator. Rent is rent. A commitment over a term is spread over the capacity that it brings: USD
divided by the megawatt-years (or accelerator-hours) of its tranches.

Power is paid by whoever owns: while a unit waits it draws `idle_fraction` of its power, and what a request adds is the
rest for the seconds in which it is served. So a held hour costs the first, and `busy_usd_per_hour` is the second.

Source of the factor: any text on engineering economics; e.g. NREL's simple levelised cost of energy calculator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import expm1, log1p
from typing import NamedTuple

from headrace.fleet import Deployment
from headrace.fleet.dates import MONTHS_PER_YEAR, years_between
from headrace.fleet.terms import ByToken, CapacityContract, Committed, Owned, PricedBy, Rented, Terms
from headrace.units import HOURS_PER_YEAR, SECONDS_PER_HOUR, WATTS_PER_KW, WATTS_PER_MW, energy_usd


@dataclass(frozen=True, slots=True)
class Unit:
    """What is held as one: a replica.

    Attributes:
        accelerators: all of them, those that only prefill too.
        power_w: of them when busy, before PUE and overheads; 0 where the catalog has no figure.
    """

    accelerators: int
    power_w: float


class HourlyCost(NamedTuple):
    """USD of one held hour of a unit, by what it is paid for; `busy` comes on top for an hour of work."""

    capital: float = 0.0
    hosting: float = 0.0
    staff: float = 0.0
    idle_power: float = 0.0
    rent: float = 0.0
    busy: float = 0.0

    @property
    def held(self) -> float:
        """Of holding it, used or not."""
        return self.capital + self.hosting + self.staff + self.idle_power + self.rent


def unit_of(deployment: Deployment) -> Unit:
    """One replica of the deployment; with prefill split off, both its groups."""
    split, chip = deployment.split, deployment.accelerator
    replicas = 1 if split is None else split.prefill_replicas + split.decode_replicas
    accelerators = deployment.count * replicas
    return Unit(accelerators, accelerators * (0.0 if chip is None else chip.power_w or 0.0))


def capital_recovery_factor(rate: float, years: float) -> float:
    """Yearly payment per USD borrowed: r (1 + r)^n / ((1 + r)^n - 1); 1 / n without interest."""
    return 1.0 / years if rate == 0.0 else rate / -expm1(-years * log1p(rate))


def hourly_cost(terms: Terms, unit: Unit, contract: CapacityContract | None = None) -> HourlyCost:
    """What a held hour of `unit` costs on these terms; all 0 by the token.

    Args:
        contract: the one that committed terms name.
    """
    match terms:
        case Owned():
            return _owned(terms, unit)
        case Rented():
            return HourlyCost(rent=terms.usd_per_hour * unit.accelerators)
        case Committed():
            return HourlyCost(rent=0.0 if contract is None else contract_usd_per_hour(contract, unit))
        case ByToken():
            return HourlyCost()


def meter_w(terms: Terms, unit: Unit, contract: CapacityContract | None = None) -> float:
    """Power at the meter of a held unit: times PUE where it is owned, times overhead in a contract."""
    if isinstance(terms, Owned):
        return unit.power_w * terms.electricity.pue
    return unit.power_w * (1.0 if contract is None else contract.overhead)


def _owned(terms: Owned, unit: Unit) -> HourlyCost:
    yearly_usd = terms.capex_usd * capital_recovery_factor(terms.discount_rate, terms.life_years)
    power = terms.electricity
    full_usd = energy_usd(meter_w(terms, unit), SECONDS_PER_HOUR, power.usd_per_kwh)
    monthly_usd = terms.hosting_usd_per_kw_month * unit.power_w / WATTS_PER_KW
    return HourlyCost(
        capital=unit.accelerators * yearly_usd / HOURS_PER_YEAR,
        hosting=monthly_usd * MONTHS_PER_YEAR / HOURS_PER_YEAR,
        staff=unit.accelerators * terms.staff_usd_per_year / HOURS_PER_YEAR,
        idle_power=full_usd * power.idle_fraction,
        busy=full_usd * (1.0 - power.idle_fraction),
    )


def contract_usd_per_hour(contract: CapacityContract, unit: Unit) -> float:
    """USD of an hour of `unit` under a contract for capacity.

    Total: USD / megawatt-years (or accelerator-years) of its tranches / 8,760, times the unit's power (or
    accelerators); per MW-year: times the unit's power; per accelerator-hour: times its accelerators.
    """
    megawatts = unit.power_w * contract.overhead / WATTS_PER_MW
    if contract.priced_by is PricedBy.ACCELERATOR_HOUR:
        return contract.usd * unit.accelerators
    if contract.priced_by is PricedBy.MW_YEAR:
        return contract.usd * megawatts / HOURS_PER_YEAR
    amount = megawatts if contract.tranches[0].power_w is not None else float(unit.accelerators)
    return contract.usd / capacity_years(contract) * amount / HOURS_PER_YEAR


def capacity_years(contract: CapacityContract, start: date | None = None, end: date | None = None) -> float:
    """Megawatt-years of the tranches (or accelerator-years, where they count those), within [start, end).

    Args:
        start, end: None: over the whole term.
    """
    last = min(contract.end, end or contract.end)
    years = [years_between(max(one.start, start or one.start), last) for one in contract.tranches]
    return sum(one * year for one, year in zip(_amounts(contract), years, strict=True))


def _amounts(contract: CapacityContract) -> Sequence[float]:
    return [
        one.power_w / WATTS_PER_MW if one.power_w is not None else one.accelerators or 0.0 for one in contract.tranches
    ]


def live_w(contract: CapacityContract, day: date, watts_per_accelerator: float) -> float:
    """Watts at the meter that are live on `day`; accelerators at `watts_per_accelerator`, before overhead."""
    live = [one for one in contract.tranches if one.start <= day < contract.end]
    each_w = watts_per_accelerator * contract.overhead
    return sum(one.power_w if one.power_w is not None else (one.accelerators or 0.0) * each_w for one in live)
