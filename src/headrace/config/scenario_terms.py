"""From the tables of terms and contracts to the objects of `fleet.terms`."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from headrace.config.faults import Faults
from headrace.config.scenario_tables import (
    ByTokenTable,
    CapacityTable,
    CommittedTable,
    OwnedTable,
    RentedTable,
    SpendTable,
)
from headrace.fleet import PerToken
from headrace.fleet.terms import (
    ByToken,
    CapacityContract,
    Committed,
    Contract,
    Electricity,
    Owned,
    Rented,
    SpendContract,
    SpendStep,
    Term,
    Terms,
    Tranche,
)
from headrace.units import WATTS_PER_MW


def terms(table: msgspec.Struct | None, path: str, faults: Faults) -> Terms | None:
    """On which terms; None when the table has a fault."""
    match table:
        case OwnedTable():
            power = Electricity(table.electricity_usd_per_kwh, table.pue, table.idle_fraction)
            money = table.capex_usd, table.life_years, table.discount_rate
            return Owned(*money, power, table.hosting_usd_per_kw_month, table.staff_usd_per_year)
        case RentedTable():
            return _rented(table, path, faults)
        case CommittedTable():
            return Committed(table.contract)
        case ByTokenTable():
            price = PerToken(table.input_usd_per_mtok, table.output_usd_per_mtok, table.cached_input_usd_per_mtok)
            return ByToken(price, table.requests_per_minute, table.tokens_per_minute, table.contract)
    return None


def _rented(table: RentedTable, path: str, faults: Faults) -> Rented | None:
    spot = table.term is Term.SPOT
    if spot and not table.interruptions_per_hour:
        faults.add(f"{path}.interruptions_per_hour", "missing; spot capacity is taken away: say how often, e.g. 0.02")
        return None
    if not spot and (table.interruptions_per_hour or table.recover_s):
        faults.add(path, 'interruptions_per_hour and recover_s are of term = "spot" only; remove them')
        return None
    return Rented(table.usd_per_hour, table.term, table.interruptions_per_hour, table.recover_s)


def contract(name: str, table: msgspec.Struct | None, path: str, faults: Faults) -> Contract | None:
    """What is promised; None when the table has a fault."""
    before = len(faults)
    match table:
        case CapacityTable():
            built: Contract = _capacity(name, table, path, faults)
        case SpendTable():
            built = _spend(name, table, path, faults)
        case _:
            return None
    return built if len(faults) == before else None


def _capacity(name: str, table: CapacityTable, path: str, faults: Faults) -> CapacityContract:
    if not table.tranches:
        faults.add(f"{path}.tranches", "is empty; give at least one, e.g. { start = 2026-01-01, mw = 250 }")
    for index, tranche in enumerate(table.tranches):
        where = f"{path}.tranches[{index}]"
        if (tranche.mw is None) == (tranche.accelerators is None):
            faults.add(where, "give either mw or accelerators")
        if tranche.start >= table.end:
            faults.add(f"{where}.start", f"{tranche.start} is not before end = {table.end}")
    if any(one.mw is not None for one in table.tranches) and any(
        one.accelerators is not None for one in table.tranches
    ):
        faults.add(f"{path}.tranches", "some are in mw and some in accelerators; use one of them")
    tranches = [
        Tranche(one.start, None if one.mw is None else one.mw * WATTS_PER_MW, one.accelerators)
        for one in table.tranches
    ]
    return CapacityContract(
        name,
        table.usd,
        table.priced_by,
        tuple(tranches),
        table.end,
        overhead=table.overhead,
        take_or_pay=table.take_or_pay,
        site=table.site or name,
        signed=table.signed,
    )


def _spend(name: str, table: SpendTable, path: str, faults: Faults) -> SpendContract:
    if not table.steps:
        faults.add(f"{path}.steps", "is empty; give at least one, e.g. { min_usd_per_year = 1e6, discount = 0.1 }")
    for index, (low, high) in enumerate(pairwise(table.steps), start=1):
        if high.min_usd_per_year <= low.min_usd_per_year or high.discount <= low.discount:
            faults.add(f"{path}.steps[{index}]", "does not ask for more and give more than the step before it")
    return SpendContract(name, tuple(SpendStep(one.min_usd_per_year, one.discount) for one in table.steps))
