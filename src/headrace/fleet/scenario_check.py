"""What a scenario must satisfy beyond types: the checks that need no file and no speed model.

An absurd scenario is refused before anything is solved: what no plan could meet on sight (lower bounds of shares that
add up to more than everything, a class that nothing may serve), and what its author cannot have meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from headrace.errors import Fault
from headrace.fleet.catalog import close_matches
from headrace.fleet.dates import MONTHS_PER_YEAR
from headrace.fleet.scenario import (
    BudgetRule,
    ConcentrationRule,
    Horizon,
    Loss,
    Offer,
    PlannedClass,
    PowerRule,
    ResidencyRule,
    Rule,
    Scenario,
    Selection,
    ShareRule,
    StatedDemand,
    SurvivalRule,
)
from headrace.fleet.terms import ByToken, CapacityContract, Committed, Owned, PricedBy, SpendContract

DIVISORS_OF_DAY, DIVISORS_OF_YEAR, CYCLES = (1, 2, 3, 4, 6, 8, 12, 24), (1, 2, 3, 4, 6, 12), (1, 7)
HOURS_PER_DAY = 24
ROUNDING = 1e-9


class Broken(NamedTuple):
    """Names of what could not be built and is reported already: what may only follow from that is not."""

    candidates: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    contracts: tuple[str, ...] = ()


NOTHING = Broken()


class NamedRule(NamedTuple):
    """A rule and the path of its table."""

    path: str
    rule: Rule


def check_scenario(scenario: Scenario, rules: Sequence[NamedRule], broken: Broken = NOTHING) -> tuple[Fault, ...]:
    """Every fault of the scenario; empty when it can be built."""
    found = [*_horizon(scenario.horizon)]
    for one in scenario.classes:
        found += _class(one, scenario, broken)
    for offer in scenario.offers:
        found += _offer(offer, scenario, broken)
    found += _contracts(scenario, broken)
    found += _names(rules)
    for path, rule in rules:
        found += _rule(path, rule, scenario, broken)
    found += _shares_together(rules, scenario)
    return tuple(found)


def _horizon(horizon: Horizon) -> Iterator[Fault]:
    for name, value, allowed in (
        ("period_hours", horizon.period_hours, DIVISORS_OF_DAY),
        ("stage_months", horizon.stage_months, DIVISORS_OF_YEAR),
        ("days_in_cycle", horizon.days_in_cycle, CYCLES),
    ):
        if value not in allowed:
            yield Fault(
                f"horizon.{name}", f"{value} does not divide evenly; write one of {', '.join(map(str, allowed))}"
            )


def _class(planned: PlannedClass, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    path = f"classes.{planned.name}"
    fitting = [offer for offer in scenario.offers if offer.deployment.model.name in planned.models]
    known = dict.fromkeys(offer.deployment.model.name for offer in scenario.offers)
    for index, model in enumerate(planned.models):
        if model not in known and not broken.candidates:
            yield Fault(f"{path}.models[{index}]", f"no candidate serves {model!r}; {close_matches(model, known)}")
    if isinstance(planned.demand, StatedDemand):
        yield from _stated(f"{path}.demand", planned.demand, scenario.horizon, fitting)
    for name, slo_s, degraded_s in (
        ("ttft_s", planned.workload_class.slo.ttft_s, planned.degraded_ttft_s),
        ("tpot_s", planned.workload_class.slo.tpot_s, planned.degraded_tpot_s),
    ):
        if degraded_s is not None and slo_s is None:
            yield Fault(f"{path}.degraded.{name}", f"slo.{name} sets no threshold that it could relax; remove it")
        elif degraded_s is not None and slo_s is not None and degraded_s < slo_s:
            yield Fault(f"{path}.degraded.{name}", f"{degraded_s:g} is stricter than slo.{name} = {slo_s:g}")


def _stated(path: str, demand: StatedDemand, horizon: Horizon, fitting: Sequence[Offer]) -> Iterator[Fault]:
    if len(demand.profile) > horizon.days_in_cycle * HOURS_PER_DAY:
        yield Fault(f"{path}.profile", "tells the days of a week apart, but horizon.days_in_cycle = 1; set it to 7")
    longest = max((offer.deployment.model.context_tokens for offer in fitting), default=None)
    for index, bucket in enumerate(demand.buckets):
        tokens = bucket.input_tokens + bucket.output_tokens
        if longest is not None and tokens > longest:
            said = f"{tokens:,.0f} tokens exceed the longest context among its models, {longest:,}"
            yield Fault(f"{path}.buckets[{index}]", f"{said}; shorten it, or offer a model that holds it")


def _offer(offer: Offer, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    path = f"candidates.{offer.candidate}"
    end = scenario.horizon.end
    if offer.available_from is not None and offer.available_from >= end:
        yield Fault(f"{path}.available_from", f"{offer.available_from} is not before the horizon ends, {end}")
    if isinstance(offer.terms, ByToken):
        yield from _by_token(path, offer, scenario, broken)
        return
    if offer.deployment.accelerator is None:
        yield Fault(f"{path}.terms", "capacity is counted in accelerators, and a service has none that are known")
    count = offer.deployment.count
    if offer.max_accelerators is not None and offer.max_accelerators < count:
        yield Fault(f"{path}.max_accelerators", f"{offer.max_accelerators:g} do not hold one replica of {count}")
    if offer.max_accelerators is not None and offer.max_accelerators < offer.min_accelerators:
        yield Fault(f"{path}.min_accelerators", f"exceeds max_accelerators = {offer.max_accelerators:g}")
    chip = offer.deployment.accelerator
    metered = isinstance(offer.terms, Owned | Committed)
    if metered and chip is not None and chip.power_w is None:
        said = f"the power of {chip.name!r} is not known: declare [accelerators.NAME] like it, with all_in_w"
        yield Fault(f"{path}.deployment", said)
    if isinstance(offer.terms, Committed):
        contract = scenario.contracts.get(offer.terms.contract)
        if isinstance(contract, SpendContract):
            yield Fault(f"{path}.terms", f"contract {contract.name!r} is for spend; capacity needs one for capacity")


def _by_token(path: str, offer: Offer, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    assert isinstance(offer.terms, ByToken)
    if offer.max_accelerators is not None or offer.min_accelerators:
        yield Fault(path, "is bought by the token: max_accelerators and min_accelerators mean nothing; remove them")
    name = offer.terms.contract
    if name in (None, *broken.contracts):
        return
    if name is not None and not isinstance(scenario.contracts.get(name), SpendContract):
        known = [one for one, contract in scenario.contracts.items() if isinstance(contract, SpendContract)]
        yield Fault(f"{path}.terms", f"no contract for spend {name!r}; {close_matches(name, known)}")


def _contracts(scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    used = {getattr(offer.terms, "contract", None) for offer in scenario.offers}
    for name, contract in scenario.contracts.items():
        if name not in used and not broken.candidates:
            yield Fault(f"contracts.{name}", "no candidate's terms refer to it; use it, or remove it")
        if isinstance(contract, CapacityContract):
            yield from _capacity(contract, scenario)


def _capacity(contract: CapacityContract, scenario: Scenario) -> Iterator[Fault]:
    path, horizon = f"contracts.{contract.name}", scenario.horizon
    if not any(one.start < horizon.end for one in contract.tranches) or contract.end <= horizon.start:
        yield Fault(f"{path}.tranches", f"nothing comes live within the horizon, {horizon.start} to {horizon.end}")
    members = [offer for offer in scenario.offers if getattr(offer.terms, "contract", None) == contract.name]
    chips = dict.fromkeys(offer.silicon for offer in members)
    counted = contract.priced_by is PricedBy.ACCELERATOR_HOUR or contract.tranches[0].accelerators is not None
    if counted and len(chips) > 1:
        said = f"counts accelerators, and holds several kinds ({', '.join(chips)}); count in MW"
        yield Fault(path, said)
    for offer in scenario.offers:
        if offer.site == contract.site and offer not in members:
            where = f"candidates.{offer.candidate}.site"
            yield Fault(where, f"{offer.site!r} holds the capacity of contract {contract.name!r} only; name another")


def _names(rules: Sequence[NamedRule]) -> Iterator[Fault]:
    for index, (path, rule) in enumerate(rules):
        if any(rule.name == other.name for _, other in rules[:index]):
            yield Fault(f"{path}.name", f"{rule.name!r} is taken already; messages and prices need one of its own")


def _rule(path: str, rule: Rule, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    year = getattr(rule, "year", None)
    if year is not None and year >= scenario.horizon.years:
        yield Fault(f"{path}.year", f"{year} lies outside 0 to {scenario.horizon.years - 1}")
    if year is not None and scenario.horizon.stage_months != MONTHS_PER_YEAR:
        yield Fault(f"{path}.year", "needs horizon.stage_months = 12, so that a stage is a year")
    match rule:
        case ShareRule():
            yield from _share(path, rule, scenario, broken)
        case PowerRule():
            yield from _power(path, rule, scenario, broken)
        case ConcentrationRule():
            if rule.vendor is not None:
                yield from _known(f"{path}.vendor", "vendor", rule.vendor, scenario, broken)
        case SurvivalRule():
            yield from _survival(path, rule, scenario, broken)
        case ResidencyRule():
            yield from _residency(path, rule, scenario, broken)
        case BudgetRule():
            pass


def _traits(kind: str, scenario: Scenario) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(offer, kind) for offer in scenario.offers))


def _known(path: str, kind: str, name: str, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    known = _traits(kind, scenario)
    hidden = name in broken.candidates if kind == "candidate" else bool(broken.candidates)
    if name not in known and not hidden:
        yield Fault(path, f"no candidate has {kind} {name!r}; {close_matches(name, known)}")


def _share(path: str, rule: ShareRule, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    chosen = rule.selection
    for setting, kind in (
        ("candidates", "candidate"),
        ("vendors", "vendor"),
        ("silicon", "silicon"),
        ("sites", "site"),
    ):
        for index, name in enumerate(getattr(chosen, setting)):
            yield from _known(f"{path}.{setting}[{index}]", kind, name, scenario, broken)
    if chosen == Selection():
        yield Fault(path, "says nothing of whom it is a share; name candidates, vendors, silicon or sites")
    elif not broken.candidates and all(chosen.holds(offer) for offer in scenario.offers):
        yield Fault(path, "holds every candidate; a share needs something outside it")


def _power(path: str, rule: PowerRule, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    if len(rule.max_w) not in (1, scenario.horizon.years):
        yield Fault(f"{path}.max_mw", f"has {len(rule.max_w)} figures; give one, or one for each year")
    if rule.site is not None:
        yield from _known(f"{path}.site", "site", rule.site, scenario, broken)


def _survival(path: str, rule: SurvivalRule, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    single = rule.lose in (Loss.VENDOR, Loss.SITE)
    kind = "vendor" if rule.lose in (Loss.VENDOR, Loss.ANY_VENDOR) else "site"
    if single != (rule.who is not None):
        said = f"missing; name the {kind}" if single else f'only meant for lose = "{kind}"; remove it'
        yield Fault(f"{path}.who", said)
    elif rule.who is not None:
        yield from _known(f"{path}.who", kind, rule.who, scenario, broken)
    if not broken.candidates and len(_traits(kind, scenario)) < 2 and any(rule.level.values()):
        yield Fault(f"{path}.lose", f"there is one {kind} only, and nothing is left without it; offer another")
    names = [*(one.name for one in scenario.classes), *broken.classes]
    for name in rule.level:
        if name not in names:
            yield Fault(f"{path}.level.{name}", f"no class {name!r}; {close_matches(name, names)}")


def _residency(path: str, rule: ResidencyRule, scenario: Scenario, broken: Broken) -> Iterator[Fault]:
    names = [*(one.name for one in scenario.classes), *broken.classes]
    for index, name in enumerate(rule.classes):
        if name not in names:
            yield Fault(f"{path}.classes[{index}]", f"no class {name!r}; {close_matches(name, names)}")
    for index, site in enumerate(rule.sites):
        yield from _known(f"{path}.sites[{index}]", "site", site, scenario, broken)
    for planned in scenario.classes:
        offers = [offer for offer in scenario.offers if offer.deployment.model.name in planned.models]
        if (
            not broken
            and planned.name in rule.classes
            and offers
            and not any(offer.site in rule.sites for offer in offers)
        ):
            yield Fault(f"{path}.sites", f"no candidate for class {planned.name!r} stands at any of them")


def _shares_together(rules: Sequence[NamedRule], scenario: Scenario) -> Iterator[Fault]:
    """Lower bounds of shares that have nothing in common, of one unit, cannot add up to more than all of it."""
    lower = [(path, rule) for path, rule in rules if isinstance(rule, ShareRule) and rule.at_least is not None]
    for (_, first), (path, second) in combinations(lower, 2):
        both = (first.at_least or 0.0) + (second.at_least or 0.0)
        apart = not any(first.selection.holds(o) and second.selection.holds(o) for o in scenario.offers)
        if first.of is second.of and first.year == second.year and apart and both > 1.0 + ROUNDING:
            said = f"with {first.name!r} it asks for {both:g} of all {second.of.value}; more than 1 there is not"
            yield Fault(f"{path}.at_least", said)
