"""From a scenario's rules to the constraints of the problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from headrace.fleet.scenario import (
    BudgetRule,
    ConcentrationRule,
    Loss,
    Offer,
    PowerRule,
    Rule,
    ShareRule,
    SurvivalRule,
)
from headrace.fleet.terms import CapacityContract
from headrace.plan.problem import Budget, Concentration, PowerLimit, ShareBound, Survival
from headrace.plan.stages import Stage

Offers = Mapping[str, Offer]  # by name of the problem's candidate


def share_bounds(rules: Iterable[Rule], offers: Offers) -> tuple[ShareBound, ...]:
    """What the selected candidates do, of all that is done."""
    return tuple(
        ShareBound(
            rule.name,
            rule.of,
            frozenset(name for name, offer in offers.items() if rule.selection.holds(offer)),
            rule.at_least,
            rule.at_most,
            stage=rule.year,
            reason=rule.reason,
        )
        for rule in rules
        if isinstance(rule, ShareRule)
    )


def power_limits(
    rules: Iterable[Rule], capacity: Mapping[str, tuple[CapacityContract, tuple[float, ...]]], stages: tuple[Stage, ...]
) -> tuple[PowerLimit, ...]:
    """Of sites, and of what contracts for capacity bring.

    Args:
        capacity: contracts by name, each with the watts that are live in each stage.
    """
    stated = [
        PowerLimit(
            rule.name,
            rule.site,
            tuple(rule.max_w[stage.year if len(rule.max_w) > 1 else 0] for stage in stages),
            rule.reason,
        )
        for rule in rules
        if isinstance(rule, PowerRule)
    ]
    brought = [
        PowerLimit(f"capacity of {name}", contract.site, live_w, f"what contract {name!r} brings")
        for name, (contract, live_w) in capacity.items()
    ]
    return (*stated, *brought)


def concentrations(rules: Iterable[Rule]) -> tuple[Concentration, ...]:
    """No vendor above a part of power or spend."""
    return tuple(
        Concentration(rule.name, rule.of, rule.at_most, rule.vendor, rule.reason)
        for rule in rules
        if isinstance(rule, ConcentrationRule)
    )


def survivals(rules: Iterable[Rule], offers: Offers) -> tuple[Survival, ...]:
    """One for each vendor or site whose loss a rule means."""
    return tuple(
        Survival(
            rule.name if rule.who is not None else f"{rule.name}: {who}",
            frozenset(name for name, offer in offers.items() if getattr(offer, kind) == who),
            dict(rule.level),
            rule.utilization,
            rule.reason,
        )
        for rule in rules
        if isinstance(rule, SurvivalRule)
        for kind, who in _lost(rule, offers)
    )


def _lost(rule: SurvivalRule, offers: Offers) -> Iterator[tuple[str, str]]:
    kind = "vendor" if rule.lose in (Loss.VENDOR, Loss.ANY_VENDOR) else "site"
    if rule.who is not None:
        yield kind, rule.who
        return
    for who in dict.fromkeys(getattr(offer, kind) for offer in offers.values()):
        yield kind, who


def budgets(rules: Iterable[Rule]) -> tuple[Budget, ...]:
    """Most money in a year, or over the horizon."""
    return tuple(
        Budget(rule.name, rule.max_usd, rule.year, rule.reason) for rule in rules if isinstance(rule, BudgetRule)
    )
