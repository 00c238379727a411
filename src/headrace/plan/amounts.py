"""What limits count, as linear expressions: money, work, watt hours, units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headrace.plan.problem import ShareUnit
from headrace.plan.rows import NOTHING, Rows, each, total
from headrace.plan.tables import Floats, Ints, missing_usd_per_hour, request_work
from headrace.plan.variables import Model, counted


def units_in_period(model: Model, candidate: int) -> Rows:
    """Units of a candidate that come in units, one row a period."""
    return each(model.units_of(candidate))


def spend(model: Model, candidates: Iterable[int], stages: Iterable[int], *, promises: bool = True) -> Rows:
    """Money of some candidates in some stages: units held, requests and, if asked, what their contracts charge besides.

    A contract counts where all that it covers counts; its fee is paid in the first stage.
    """
    own, when, tables = sorted(candidates), sorted(stages), model.tables
    slots = np.isin(tables.slot_candidate, own) & np.isin(tables.slot_stage, when)
    held = total(model.units[slots], tables.slot_usd[slots] / model.money_usd)
    spent = held + total(model.request_usd[np.ix_(own, when)])
    for number, contract in enumerate(model.problem.contracts) if promises else ():
        if set(model.covered(contract.name)) <= set(own):
            spent = spent + _promises(model, number, when)
    return spent


def paid_for_missing(model: Model, contract: int, stages: Iterable[int]) -> Rows:
    """Money for units that a contract charges for in some stages although they are not held."""
    promised, paid = model.problem.contracts[contract], NOTHING
    for stage in stages if promised.min_units else ():
        periods = np.flatnonzero(model.tables.stage == stage)
        hours = np.array([model.problem.periods[p].hours for p in periods])
        hour_usd = missing_usd_per_hour(model.problem, promised.name, stage) / model.money_usd
        paid = paid + total(model.missing[contract, periods], hours * hour_usd)
    return paid


def work(
    model: Model, of: ShareUnit, candidates: Iterable[int], stages: Iterable[int]
) -> tuple[Rows, Rows | float, float]:
    """Work of some candidates, all work, and how many of its units one of the model's is (0: there is no work)."""
    everything, own, when = range(len(model.problem.candidates)), list(candidates), list(stages)
    if of is ShareUnit.SPEND:
        return spend(model, own, when), spend(model, everything, when), model.money_usd
    if of is ShareUnit.POWER:
        return watt_hours(model, own, when), watt_hours(model, everything, when), 1.0
    per_request = np.array([request_work(cell, of) for cell in model.problem.cells])[:, None]
    asked: Floats = per_request * model.tables.requests * np.isin(model.tables.stage, when)
    whole = float(asked.sum())
    if whole == 0.0:
        return NOTHING, 0.0, 0.0
    routes = model.routes_to(own)
    return total(model.part[routes], asked[model.tables.route_cell[routes]] / whole), 1.0, whole


def watt_hours(model: Model, candidates: Iterable[int], stages: Iterable[int]) -> Rows:
    """Watts of the units held by some candidates, times the hours of some stages."""
    tables = model.tables
    unit_w = np.array([candidate.unit_w for candidate in model.problem.candidates])[tables.slot_candidate]
    counted = np.isin(tables.slot_candidate, list(candidates)) & np.isin(tables.slot_stage, list(stages))
    return total(model.units[counted], (unit_w * tables.slot_hours)[counted])


def distinct_periods(model: Model, candidates: Iterable[int]) -> Ints:
    """Periods that stand for all: every one if a candidate is elastic, else the first of each stage."""
    if any(model.problem.candidates[n].elastic for n in candidates):
        return np.arange(len(model.problem.periods))
    return np.unique(model.tables.stage, return_index=True)[1]


def most_units(model: Model, number: int) -> float:
    """More units of a candidate than any demand, survival or promise could use."""
    problem, candidate = model.problem, model.problem.candidates[number]
    seconds = [max(use.unit_s, use.degraded_unit_s or 0.0) for use in candidate.uses.values()]
    busy = sum(s * max(problem.cells[j].rate_per_s) for s, j in zip(seconds, candidate.uses, strict=True))
    tightest = min([candidate.utilization, *(survival.utilization for survival in problem.survivals)])
    promised = sum(max(contract.min_units, default=0.0) for contract in problem.contracts)
    needed = busy / (tightest * candidate.availability) + promised + max(candidate.min_units, default=0.0)
    idle = 10.0 if ShareUnit.POWER in counted(problem) else 1.0  # a share of power may be met by units that do nothing
    return float(np.ceil(needed + 1.0)) * idle


def most_held(model: Model, number: int) -> float:
    """The most units of a candidate that any stage may have."""
    offered = model.problem.candidates[number].max_units or (None,)
    return max(most_units(model, number) if most is None else most for most in offered)


def most_spent(model: Model, candidates: Iterable[int]) -> float:
    """More money than can be spent on some candidates over the horizon, what they are promised included."""
    tables, own = model.tables, list(candidates)
    routes = model.routes_to(own)
    requests = float((tables.usd[routes, None] * tables.route_requests()[routes]).sum())
    promised = sum(max(contract.min_units, default=0.0) for contract in model.problem.contracts)
    slots = np.isin(tables.slot_candidate, own)
    held = np.array([most_held(model, n) + promised for n in tables.slot_candidate[slots].tolist()])
    return (requests + float(held @ tables.slot_usd[slots])) / model.money_usd


def _promises(model: Model, number: int, stages: list[int]) -> Rows:
    """Fee, shortfall and missing units of a contract in some stages."""
    paid = paid_for_missing(model, number, stages) + total(model.shortfall[number, stages])
    if 0 in stages:
        paid = paid + total(model.signed[[number]], model.problem.contracts[number].fee_usd / model.money_usd)
    return paid
