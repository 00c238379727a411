"""Money recomputed from quantities: what is held, what goes where, what is signed. The solver is not asked."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from headrace.plan.problem import Contract, Problem
from headrace.plan.solution import Floats, Money
from headrace.plan.tables import missing_usd_per_hour
from headrace.units import SECONDS_PER_HOUR


def money(problem: Problem, units: Floats, flow: Floats, signed: Set[str]) -> Money:
    """USD over the horizon of a plan's quantities.

    Args:
        units: held, by (candidates, periods).
        flow: requests/s, by (cells, candidates, periods).
        signed: names of the contracts that are signed.
    """
    held = _units_usd(problem, units)
    requests, waiting = _requests_usd(problem, flow)
    shortfalls = np.zeros((len(problem.contracts), len(problem.stages)))
    fees = np.zeros(len(problem.contracts))
    for number, contract in enumerate(problem.contracts):
        if contract.name in signed:
            fees[number] = contract.fee_usd
            shortfalls[number] = _charged_usd(problem, contract, units, held + requests)
    return Money(held, requests, shortfalls, fees, waiting)


def _units_usd(problem: Problem, units: Floats) -> Floats:
    usd = np.zeros((len(problem.candidates), len(problem.stages)))
    for number, candidate in enumerate(problem.candidates):
        for index, period in enumerate(problem.periods):
            if not candidate.by_token:
                hour_usd = candidate.usd_per_unit_hour[period.stage]
                usd[number, period.stage] += units[number, index] * period.hours * hour_usd
    return usd


def _requests_usd(problem: Problem, flow: Floats) -> tuple[Floats, float]:
    """Money for requests by (candidates, stages), and the value of the time that users wait."""
    seconds = np.array([period.hours * SECONDS_PER_HOUR for period in problem.periods])
    stage = np.array([period.stage for period in problem.periods])
    usd, waiting = np.zeros((len(problem.candidates), len(problem.stages))), 0.0
    for number, candidate in enumerate(problem.candidates):
        for cell, use in candidate.uses.items():
            requests = flow[cell, number] * seconds
            np.add.at(usd[number], stage, use.usd * requests)
            waiting += problem.cells[cell].value_of_time_usd_per_s * use.e2e_s * float(requests.sum())
    return usd, waiting


def _charged_usd(problem: Problem, contract: Contract, units: Floats, spent: Floats) -> Floats:
    """What a signed contract charges in each stage for what was promised and not used."""
    covered = [n for n, candidate in enumerate(problem.candidates) if candidate.contract == contract.name]
    missing = np.zeros(len(problem.stages))
    for index, period in enumerate(problem.periods):
        promised = contract.min_units[period.stage] if contract.min_units else 0.0
        short = max(0.0, promised - float(units[covered, index].sum()))
        missing[period.stage] += short * period.hours * missing_usd_per_hour(problem, contract.name, period.stage)
    least = np.array(contract.min_usd) if contract.min_usd else np.zeros(len(problem.stages))
    charged: Floats = missing + np.maximum(0.0, least - spent[covered].sum(axis=0) - missing)
    return charged
