"""From offers and contracts to the problem's candidates: what can be had, when, how much of it, at which price.

A commitment to spend is a choice among steps, so an API under one is a candidate for each step, at that step's price,
and one at list price; the steps are contracts of one group, of which at most one is signed.

Capacity counts in a stage if it is there at the stage's start: what comes later counts from the next one on, though it
is paid from its first day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor

from headrace.cost import HourlyCost, capacity_years, hourly_cost, live_w, meter_w, unit_of
from headrace.errors import ModelRangeError
from headrace.fleet.scenario import Offer, Scenario
from headrace.fleet.terms import (
    ByToken,
    CapacityContract,
    Committed,
    Contract,
    Owned,
    PricedBy,
    Rented,
    SpendContract,
    Term,
)
from headrace.plan import problem
from headrace.plan.stages import Stage
from headrace.units import HOURS_PER_YEAR, SECONDS_PER_MINUTE, WATTS_PER_MW

LIST_PRICE = "list"
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Supply:
    """An offer as one candidate of the problem.

    Attributes:
        contract: the problem's contract that it needs; None: none.
        discount: part of the list price that this contract takes off.
        price: factor on what the market asks; contracts for capacity have their price.
    """

    name: str
    offer: Offer
    contract: str | None = None
    discount: float = 0.0
    price: float = 1.0

    @property
    def factor(self) -> float:
        """On every price of the offer."""
        return (1.0 - self.discount) * (1.0 if isinstance(self.offer.terms, Committed) else self.price)


def supplies(scenario: Scenario, price: float = 1.0) -> tuple[Supply, ...]:
    """Every candidate of the problem, in the order of the scenario."""
    return tuple(one for offer in scenario.offers for one in _of_offer(offer, scenario.contracts, price))


def _of_offer(offer: Offer, contracts: Mapping[str, Contract], price: float) -> Iterator[Supply]:
    if isinstance(offer.terms, Committed):
        yield Supply(offer.name, offer, offer.terms.contract)
        return
    name = offer.terms.contract if isinstance(offer.terms, ByToken) else None
    contract = None if name is None else contracts[name]
    if not isinstance(contract, SpendContract):
        yield Supply(offer.name, offer, price=price)
        return
    yield Supply(offer.name, offer, f"{name}@{LIST_PRICE}", price=price)
    for step in contract.steps:
        label = f"{step.min_usd_per_year:g}"
        yield Supply(f"{offer.name}@{label}", offer, f"{name}@{label}", step.discount, price)


def capacity_contract(offer: Offer, contracts: Mapping[str, Contract]) -> CapacityContract | None:
    """The contract that an offer's capacity comes from."""
    found = contracts.get(offer.terms.contract) if isinstance(offer.terms, Committed) else None
    return found if isinstance(found, CapacityContract) else None


def hourly_cost_of(offer: Offer, contracts: Mapping[str, Contract]) -> HourlyCost:
    """What a held hour of its unit costs, before discounts and price factors."""
    return hourly_cost(offer.terms, unit_of(offer.deployment), capacity_contract(offer, contracts))


def candidate(
    supply: Supply, uses: dict[int, problem.Use], scenario: Scenario, stages: tuple[Stage, ...]
) -> problem.Candidate:
    """The problem's candidate, with what each cell takes of it."""
    offer, terms = supply.offer, supply.offer.terms
    common = (supply.name, offer.vendor, offer.silicon, offer.site, uses)
    if isinstance(terms, ByToken):
        rates = [None if one is None else one / SECONDS_PER_MINUTE for one in _limits(terms)]
        return problem.Candidate(*common, requests_per_s=rates[0], tokens_per_s=rates[1], contract=supply.contract)
    contract = capacity_contract(offer, scenario.contracts)
    rented = terms if isinstance(terms, Rented) else None
    return problem.Candidate(
        *common,
        usd_per_unit_hour=(hourly_cost_of(offer, scenario.contracts).held * supply.factor,) * len(stages),
        unit_w=meter_w(terms, unit_of(offer.deployment), contract),
        elastic=rented is not None and rented.term in (Term.ON_DEMAND, Term.SPOT),
        keeps=_keeps(terms, scenario),
        max_units=tuple(_max_units(offer, contract, stage) for stage in stages),
        min_units=tuple(_min_units(offer, stage) for stage in stages),
        utilization=offer.utilization,
        availability=1.0 if rented is None else rented.availability,
        contract=supply.contract,
    )


def _limits(terms: ByToken) -> tuple[float | None, float | None]:
    return terms.requests_per_minute, terms.tokens_per_minute


def _keeps(terms: object, scenario: Scenario) -> bool:
    """Owned, or rented for longer than a stage."""
    if isinstance(terms, Rented):
        a_year = terms.term is Term.ONE_YEAR and scenario.horizon.stage_months < 12
        return terms.term is Term.THREE_YEARS or a_year
    return isinstance(terms, Owned)


def _max_units(offer: Offer, contract: CapacityContract | None, stage: Stage) -> float | None:
    unit = unit_of(offer.deployment)
    if offer.available_from is not None and offer.available_from > stage.start:
        return 0.0
    limits = [] if offer.max_accelerators is None else [offer.max_accelerators / unit.accelerators]
    if contract is not None:
        limits.append(_live_w(contract, offer, stage) / meter_w(offer.terms, unit, contract))
    return floor(min(limits) + ROUNDING) if limits else None


def _min_units(offer: Offer, stage: Stage) -> float:
    there = offer.available_from is None or offer.available_from <= stage.start
    return ceil(offer.min_accelerators / unit_of(offer.deployment).accelerators - ROUNDING) if there else 0.0


def _live_w(contract: CapacityContract, offer: Offer, stage: Stage) -> float:
    """Watts of the contract that are there for the whole stage."""
    if contract.end < stage.end:
        return 0.0
    unit = unit_of(offer.deployment)
    return live_w(contract, stage.start, unit.power_w / unit.accelerators)


def live_capacity(
    scenario: Scenario, stages: tuple[Stage, ...]
) -> dict[str, tuple[CapacityContract, tuple[float, ...]]]:
    """Each contract for capacity with the watts that it brings in each stage."""
    found = {}
    for name, contract in scenario.contracts.items():
        if isinstance(contract, CapacityContract):
            offer = _any_member(name, scenario)
            found[name] = contract, tuple(_live_w(contract, offer, stage) for stage in stages)
    return found


def contracts_of(scenario: Scenario, stages: tuple[Stage, ...]) -> tuple[problem.Contract, ...]:
    """The problem's contracts: one for capacity, or one for each step of a commitment to spend."""
    found: list[problem.Contract] = []
    for name, contract in scenario.contracts.items():
        if isinstance(contract, CapacityContract):
            least = tuple(least_usd(contract, _any_member(name, scenario), stage) for stage in stages)
            found.append(problem.Contract(name, min_usd=least, must_sign=contract.signed))
            continue
        found.append(problem.Contract(f"{name}@{LIST_PRICE}", group=name))
        for step in contract.steps:
            least = tuple(step.min_usd_per_year * stage.years for stage in stages)
            found.append(problem.Contract(f"{name}@{step.min_usd_per_year:g}", min_usd=least, group=name))
    return tuple(found)


def least_usd(contract: CapacityContract, member: Offer, stage: Stage) -> float:
    """What is paid in a stage in any case: the part `take_or_pay` of the price of all that is live in it.

    Args:
        member: an offer under the contract: how many watts an accelerator has.
    """
    years = capacity_years(contract, stage.start, stage.end)
    if contract.priced_by is PricedBy.TOTAL:
        return contract.take_or_pay * contract.usd * years / capacity_years(contract)
    if contract.priced_by is PricedBy.ACCELERATOR_HOUR:
        return contract.take_or_pay * contract.usd * HOURS_PER_YEAR * years * _per_amount(contract, member, False)
    return contract.take_or_pay * contract.usd * years * _per_amount(contract, member, True)


def _per_amount(contract: CapacityContract, member: Offer, in_megawatts: bool) -> float:
    """Megawatts (or accelerators) of one megawatt or accelerator, whichever the tranches count."""
    unit = unit_of(member.deployment)
    megawatts = meter_w(member.terms, unit, contract) / unit.accelerators / WATTS_PER_MW
    counted_in_megawatts = contract.tranches[0].power_w is not None
    if counted_in_megawatts == in_megawatts:
        return 1.0
    return megawatts if in_megawatts else 1.0 / megawatts


def _any_member(name: str, scenario: Scenario) -> Offer:
    for offer in scenario.offers:
        if isinstance(offer.terms, Committed) and offer.terms.contract == name:
            return offer
    raise ModelRangeError(f"contract {name!r}: no candidate is had under it; a scenario that was checked has one")
