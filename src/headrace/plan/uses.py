"""What a request of each cell takes of one candidate, or why it cannot be served there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from headrace.cost import HourlyCost, request_cost_usd, token_cost
from headrace.fleet.scenario import Offer, PlannedClass, ResidencyRule, Scenario
from headrace.fleet.terms import ByToken
from headrace.perf import SpeedCurve
from headrace.plan.operating import Ask, OperatingPoint, Station, conserves, operating_points, station_of
from headrace.plan.problem import Cell, Use
from headrace.plan.queueing import Array
from headrace.plan.speeds import planned_curve
from headrace.plan.supply import Supply, hourly_cost_of
from headrace.units import SECONDS_PER_HOUR

Classes = tuple[PlannedClass, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a candidate makes of a cell: a use, or why not. `point`: where a unit is run for it, if it has units."""

    use: Use | None = None
    point: OperatingPoint | None = None
    why_not: str = ""


def answers(
    supply: Supply, cells: tuple[Cell, ...], classes: Classes, scenario: Scenario, outlook: float
) -> list[Answer]:
    """One answer for each cell.

    Args:
        classes: of each cell.
        outlook: of speed, as in `speeds`.
    """
    offer = supply.offer
    curve = planned_curve(offer.deployment, outlook)
    refused = [_refusal(offer, cell, planned, scenario) for cell, planned in zip(cells, classes, strict=True)]
    asked = [index for index, why in enumerate(refused) if why is None]
    found = [Answer(why_not=why or "") for why in refused]
    if asked:
        own_cells, own_classes = tuple(cells[k] for k in asked), tuple(classes[k] for k in asked)
        make = _by_token if isinstance(offer.terms, ByToken) else _in_units
        for index, answer in zip(asked, make(supply, curve, own_cells, own_classes, scenario), strict=True):
            found[index] = answer
    return found


def cached_fraction(offer: Offer, planned: PlannedClass) -> float:
    """Part of the class's input that a cache finds there: where a prefix cache is declared, priced or observed."""
    caches = offer.deployment.finds_prefixes
    caches |= isinstance(offer.terms, ByToken) and offer.terms.price.cached_input_usd_per_mtok is not None
    return planned.cached_input_fraction if caches else 0.0


def _refusal(offer: Offer, cell: Cell, planned: PlannedClass, scenario: Scenario) -> str | None:
    model = offer.deployment.model
    if model.name not in planned.models:
        return f"serves {model.name}, which the class does not take"
    if cell.input_tokens + cell.output_tokens > model.context_tokens:
        return f"{model.name} holds {model.context_tokens:,} tokens"
    for rule in scenario.rules:
        if isinstance(rule, ResidencyRule) and planned.name in rule.classes and offer.site not in rule.sites:
            return f"stands at {offer.site}, and {rule.name} does not allow that"
    return None


def _in_units(
    supply: Supply, curve: SpeedCurve, cells: tuple[Cell, ...], classes: Classes, scenario: Scenario
) -> list[Answer]:
    offer, station = supply.offer, station_of(supply.offer.deployment, curve)
    usual, degraded = (_ask(offer, cells, classes, lost) for lost in (False, True))
    cost = hourly_cost_of(offer, scenario.contracts)
    points = _checked(offer, station, usual, cost.held * supply.factor / SECONDS_PER_HOUR)
    fallback = _checked(offer, station, degraded, 0.0)
    return [
        _unit_answer(supply, cost, point, worse, planned)
        for point, worse, planned in zip(points, fallback, classes, strict=True)
    ]


def _checked(offer: Offer, station: Station, ask: Ask, unit_usd_per_s: float) -> list[OperatingPoint | None]:
    points = operating_points(station, ask, unit_usd_per_s, offer.pooled_units)
    conserves(offer.deployment, ask, points, station.curve.tokens_per_pass)
    return points


def _unit_answer(
    supply: Supply, cost: HourlyCost, point: OperatingPoint | None, worse: OperatingPoint | None, planned: PlannedClass
) -> Answer:
    if point is None:
        slo = planned.workload_class.slo
        return Answer(why_not=f"misses {_thresholds(slo.ttft_s, slo.tpot_s, planned)} at any load")
    usd = point.busy_s / SECONDS_PER_HOUR * cost.busy * supply.factor
    degraded = None if worse is None else worse.unit_s
    return Answer(Use(point.unit_s, usd, point.ttft_s, point.tpot_s, point.e2e_s, degraded), point)


def _by_token(
    supply: Supply, curve: SpeedCurve, cells: tuple[Cell, ...], classes: Classes, scenario: Scenario
) -> list[Answer]:
    return [_token_answer(supply, curve, cell, planned) for cell, planned in zip(cells, classes, strict=True)]


def _token_answer(supply: Supply, curve: SpeedCurve, cell: Cell, planned: PlannedClass) -> Answer:
    """A service at its own, uncontended speed: its load is its own affair."""
    offer, slo = supply.offer, planned.workload_class.slo
    assert isinstance(offer.terms, ByToken)
    cached = cached_fraction(offer, planned) * cell.input_tokens
    ttft_s, tpot_s = curve.ttft_s(cell.input_tokens - cached), curve.tpot_s(1, cell.input_tokens)
    e2e_s = ttft_s + max(0.0, cell.output_tokens - 1.0) * tpot_s
    late_ttft_s, late_tpot_s = _scatter(offer, slo.attainment, ttft_s, tpot_s)
    late_e2e_s = late_ttft_s + max(0.0, cell.output_tokens - 1.0) * late_tpot_s
    usd = request_cost_usd(token_cost(offer.terms.price), cell.input_tokens, cell.output_tokens, cached)
    use = Use(0.0, usd * supply.factor, ttft_s, tpot_s, e2e_s, degraded_unit_s=0.0)
    ttft_slo, tpot_slo, e2e_slo = thresholds(planned, lost=False)
    if late_ttft_s > ttft_slo or late_tpot_s > tpot_slo or late_e2e_s > e2e_slo:
        said = f"TTFT {late_ttft_s:.3g} s, TPOT {late_tpot_s:.3g} s miss"
        return Answer(why_not=f"{said} {_thresholds(slo.ttft_s, slo.tpot_s, planned)}")
    return Answer(use)


def _scatter(offer: Offer, level: float, ttft_s: float, tpot_s: float) -> tuple[float, float]:
    """TTFT and TPOT that a part `level` stays under, as they were observed to scatter."""
    point = offer.deployment.observed
    if point is None:
        return ttft_s, tpot_s
    if point.ttft_quantiles is not None:
        ttft_s += point.ttft_quantiles.at(level) - point.ttft_s
    return ttft_s, tpot_s if point.tpot_quantiles is None else point.tpot_quantiles.at(level)


def thresholds(planned: PlannedClass, lost: bool) -> tuple[float, float, float]:
    """TTFT, TPOT and E2E, in seconds; infinite without one. While something is lost, those that are accepted then."""
    slo = planned.workload_class.slo
    ttft_s, tpot_s = slo.ttft_s, slo.tpot_s
    if lost:
        ttft_s, tpot_s = planned.degraded_ttft_s or ttft_s, planned.degraded_tpot_s or tpot_s
    e2e_s = min(planned.e2e_s or inf, planned.workload_class.timeout_s)
    if lost and e2e_s < planned.workload_class.timeout_s and (planned.degraded_ttft_s or planned.degraded_tpot_s):
        e2e_s = planned.workload_class.timeout_s
    return inf if ttft_s is None else ttft_s, inf if tpot_s is None else tpot_s, e2e_s


def _thresholds(ttft_s: float | None, tpot_s: float | None, planned: PlannedClass) -> str:
    named = (("TTFT", ttft_s), ("TPOT", tpot_s), ("E2E", planned.e2e_s))
    return ", ".join(f"{name} {value:g} s" for name, value in named if value is not None) or "the class's timeout"


def _ask(offer: Offer, cells: tuple[Cell, ...], classes: Classes, lost: bool) -> Ask:
    limits = [thresholds(planned, lost) for planned in classes]
    inputs = _array(cell.input_tokens for cell in cells)
    cached = _array(cached_fraction(offer, planned) for planned in classes)
    holds = _array(planned.cache_hold_s for planned in classes)
    return Ask(
        inputs,
        inputs * (1.0 - cached),
        _array(cell.output_tokens for cell in cells),
        _array(ttft_s for ttft_s, _, _ in limits),
        _array(tpot_s for _, tpot_s, _ in limits),
        _array(e2e_s for _, _, e2e_s in limits),
        _array(1.0 - planned.workload_class.slo.attainment for planned in classes),
        _array(planned.burstiness for planned in classes),
        np.where(cached > 0.0, holds, 0.0),
        # while something is lost a replica is filled as far as its promises allow
        _array(0.0 if lost else cell.value_of_time_usd_per_s for cell in cells),
    )


def _array(values: Iterable[float]) -> Array:
    return np.array(list(values), dtype=float)


def fullest_points(supply: Supply, cells: tuple[Cell, ...], classes: Classes) -> list[OperatingPoint | None]:
    """Where a unit is as full as the SLO of each cell allows, whatever its user's waiting costs.

    Raises:
        ModelRangeError: it has no units, or its speed is not known.
    """
    offer = supply.offer
    station = station_of(offer.deployment, planned_curve(offer.deployment))
    ask = replace(_ask(offer, cells, classes, lost=False), usd_per_s=np.zeros(len(cells)))
    return operating_points(station, ask, 0.0, offer.pooled_units)
