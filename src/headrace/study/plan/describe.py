"""From a solution to what is said of it: the mix, the money, the shares, the classes, the prices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from headrace.cost import unit_of
from headrace.fleet.scenario import Offer, ShareUnit
from headrace.fleet.terms import ByToken, Committed, Owned, Rented
from headrace.plan.build import Built
from headrace.plan.solution import LimitPrice, Solution
from headrace.plan.vary import held_in_stage
from headrace.study.plan.answer import (
    ClassAnswer,
    ContractAnswer,
    Cost,
    Latency,
    OfferAnswer,
    PriceAnswer,
    ShareAnswer,
    Solve,
)
from headrace.study.plan.shares import members, realized_share, share_rules
from headrace.study.plan.trial import planned_latency
from headrace.units import SECONDS_PER_DAY, SECONDS_PER_HOUR

CONTRACTS = "contracts"
Key = TypeVar("Key")


def solve_answer(solution: Solution) -> Solve:
    """How the solve ended."""
    return Solve(solution.ending.value, solution.money.objective_usd, solution.bound_usd, solution.gap)


def cost_answer(built: Built, solution: Solution) -> Cost:
    """The money, shared out in every way that somebody asks for."""
    money = solution.money
    offers = money.units + money.requests  # (candidates, stages)
    promised = money.shortfalls.sum(axis=0) if len(money.shortfalls) else np.zeros(offers.shape[1])
    by_stage = offers.sum(axis=0) + promised
    by_stage[0] += money.fees.sum()
    rate, stages = built.scenario.discount_rate, built.stages
    middle = [stage.begun_years + 0.5 * stage.years for stage in stages]
    present = sum(float(usd) / (1.0 + rate) ** at for usd, at in zip(by_stage, middle, strict=True))
    totals = offers.sum(axis=1)
    rest = float(promised.sum() + money.fees.sum())

    def shared(names: Iterable[str]) -> dict[str, float]:
        found = _summed(zip(names, totals.tolist(), strict=True))
        return {name: usd for name, usd in (found | ({CONTRACTS: rest} if rest else {})).items() if usd}

    return Cost(
        money.spent_usd,
        float(money.units.sum()),
        float(money.requests.sum()),
        float(money.shortfalls.sum()),
        float(money.fees.sum()),
        money.waiting,
        present,
        {stage.name: float(usd) for stage, usd in zip(stages, by_stage, strict=True)},
        shared(terms_of(supply.offer) for supply in built.supplies),
        shared(supply.offer.silicon for supply in built.supplies),
        shared(supply.offer.vendor for supply in built.supplies),
    )


def terms_of(offer: Offer) -> str:
    """On which terms, in words."""
    match offer.terms:
        case Owned():
            return "owned"
        case Rented(term=term):
            return f"rented, {term.value.replace('_', ' ')}"
        case Committed():
            return "committed"
        case ByToken():
            return "by the token"


def offer_answers(built: Built, solution: Solution) -> list[OfferAnswer]:
    """Every candidate, used or not."""
    requests, tokens = (_parts(built, solution, of) for of in (ShareUnit.REQUESTS, ShareUnit.OUTPUT_TOKENS))
    usd = (solution.money.units + solution.money.requests).sum(axis=1)
    found = []
    for k, supply in enumerate(built.supplies):
        offer, candidate = supply.offer, built.problem.candidates[k]
        units = [held_in_stage(solution, k, stage) for stage in range(len(built.stages))]
        mean, most = _busy(built, solution, k)
        found.append(
            OfferAnswer(
                supply.name,
                offer.vendor,
                offer.silicon,
                offer.site,
                offer.deployment.model.name,
                terms_of(offer),
                units,
                units[-1] * unit_of(offer.deployment).accelerators,
                units[-1] * candidate.unit_w,
                mean,
                most,
                requests[k],
                tokens[k],
                float(usd[k]),
            )
        )
    return found


def contract_answers(built: Built, solution: Solution) -> list[ContractAnswer]:
    """Every contract that was on offer."""
    money = solution.money
    return [
        ContractAnswer(
            each.name,
            each.name in solution.signed,
            float(sum(each.min_usd)),
            float(money.shortfalls[number].sum()),
            float(money.fees[number]),
        )
        for number, each in enumerate(built.problem.contracts)
    ]


def share_answers(built: Built, solution: Solution) -> list[ShareAnswer]:
    """Every rule that bounds a share."""
    found = []
    for rule in share_rules(built):
        inside = members(built, rule)
        periods = [p for p, period in enumerate(built.problem.periods) if rule.year in (None, period.stage)]
        units = [of for of in ShareUnit if of is not ShareUnit.COMPUTE or _counts_compute(built)]
        parts = {of.value: realized_share(built, solution, of, inside, periods) for of in units}
        found.append(
            ShareAnswer(rule.name, rule.reason, rule.of.value, rule.at_least, rule.at_most, parts[rule.of.value], parts)
        )
    return found


def class_answers(built: Built, solution: Solution, before: Solution | None) -> list[ClassAnswer]:
    """Every class.

    Args:
        before: a plan of the same classes to compare latencies with.
    """
    everywhere = range(len(built.problem.periods))
    hours = np.array([period.hours for period in built.problem.periods])
    next_usd = {each.name: each.usd_per_unit for each in solution.prices if each.kind == "demand"}
    found = []
    for planned in built.scenario.classes:
        own = [j for j, cell in enumerate(built.problem.cells) if cell.workload_class == planned.name]
        flow = solution.flow[own] @ hours  # (cells, candidates)
        total, slo = float(flow.sum()), planned.workload_class.slo
        after = planned_latency(built, solution, everywhere, planned.name)
        earlier = None if before is None else planned_latency(built, before, everywhere, planned.name)
        found.append(
            ClassAnswer(
                planned.name,
                total / float(hours.sum()) * SECONDS_PER_DAY,
                slo.ttft_s,
                slo.tpot_s,
                planned.e2e_s,
                slo.attainment,
                None if after is None else Latency(*after),
                _usd_per_request(built, solution, own),
                next_usd.get(planned.name),
                {built.supplies[k].name: float(part) for k, part in enumerate(flow.sum(axis=0) / total) if part > 1e-9},
                None if earlier is None else Latency(*earlier),
            )
        )
    return found


def price_answers(built: Built, solution: Solution) -> list[PriceAnswer]:
    """Prices that are not 0, those of one limit in all periods as one: of a unit that is there in all of them."""
    hours = {period.name: period.hours for period in built.problem.periods}
    grouped: dict[tuple[str, str], list[tuple[LimitPrice, float]]] = {}
    for price in solution.prices:
        name, _, where = price.name.rpartition(", ")
        lasting = where in hours
        weight = hours[where] * SECONDS_PER_HOUR if lasting and price.unit != "W" else 1.0
        grouped.setdefault((price.kind, name if lasting else price.name), []).append((price, weight))
    found = []
    for (kind, name), rows in grouped.items():
        usd = sum(price.usd_per_unit * weight for price, weight in rows)
        first = rows[0][0]
        unit = first.unit if len(rows) == 1 else first.unit.removesuffix(" second")
        binds = sum(price.binds for price, _ in rows)
        if usd != 0.0:
            found.append(PriceAnswer(kind, name, first.reason, unit, usd, len(rows), binds))
    return found


def _usd_per_request(built: Built, solution: Solution, own: list[int]) -> float:
    """Money of the class's requests: what they add, and their part of what is held, by the seconds that they take."""
    hours = np.array([period.hours for period in built.problem.periods])
    total_usd = 0.0
    for k, candidate in enumerate(built.problem.candidates):
        flow = solution.flow[:, k] @ hours * SECONDS_PER_HOUR
        taken = np.array([candidate.uses[j].unit_s if j in candidate.uses else 0.0 for j in range(len(flow))]) * flow
        total_usd += sum(float(flow[j]) * candidate.uses[j].usd for j in own if j in candidate.uses)
        if taken.sum() > 0.0:
            total_usd += float(solution.money.units[k].sum()) * float(taken[own].sum() / taken.sum())
    requests = float((solution.flow[own].sum(axis=1) @ hours).sum()) * SECONDS_PER_HOUR
    return total_usd / requests if requests > 0.0 else 0.0


def _parts(built: Built, solution: Solution, of: ShareUnit) -> list[float]:
    return [realized_share(built, solution, of, {k}) for k in range(len(built.supplies))]


def _busy(built: Built, solution: Solution, index: int) -> tuple[float | None, float | None]:
    """Unit-seconds used over those that may be: over the horizon, and in the fullest period."""
    candidate = built.problem.candidates[index]
    usable = solution.units[index] * candidate.utilization * candidate.availability
    if candidate.by_token or not usable.any():
        return None, None
    used = sum((solution.flow[j, index] * use.unit_s for j, use in candidate.uses.items()), np.zeros(len(usable)))
    hours = np.array([period.hours for period in built.problem.periods])
    parts = np.divide(used, usable, out=np.zeros(len(usable)), where=usable > 0.0)
    return float(used @ hours / (usable @ hours)), float(parts.max())


def _counts_compute(built: Built) -> bool:
    return all(ShareUnit.COMPUTE in cell.work for cell in built.problem.cells)


def _summed(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for key, usd in pairs:
        found[key] = found.get(key, 0.0) + usd
    return found
