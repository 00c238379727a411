"""The constraints, one function each: `p` periods, `s` stages, `j` cells, `c` candidates, `r` routes, `k` contracts.

Each function adds its rows to the model and says which limits of the scenario they are; `all_limits` adds them all.
What must hold when a vendor or a site is lost needs flows of its own in every period: `plan.survival` writes those rows
without the flows, in the units held.

Source: the loads are those of Mélange (arXiv 2404.14527): a request takes a part of a unit, and parts add up.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from headrace.plan.amounts import (
    distinct_periods,
    most_held,
    most_spent,
    most_units,
    paid_for_missing,
    spend,
    units_in_period,
    work,
)
from headrace.plan.limit import Limit
from headrace.plan.problem import Candidate, Problem, ShareBound, ShareUnit
from headrace.plan.rows import Rows, each, grouped, total
from headrace.plan.tables import Floats, Ints
from headrace.plan.variables import Model

WORK_UNITS = {
    ShareUnit.REQUESTS: "request",
    ShareUnit.OUTPUT_TOKENS: "output token",
    ShareUnit.COMPUTE: "reference second",
    ShareUnit.SPEND: "USD",
    ShareUnit.POWER: "W h",
}


def all_limits(model: Model) -> list[Limit]:
    """Add every constraint; the limits in the order of the problem."""
    made: tuple[Callable[[Model], list[Limit]], ...] = (
        *(serve_demand, within_capacity, within_rate_limits, within_offer, kept_units, needs_contract),
        *(counted_money, contract_units, take_or_pay, one_of_group, must_sign),
        *(share_bounds, power, concentration, budget),
    )
    return [limit for function in made for limit in function(model)]


def serve_demand(model: Model) -> list[Limit]:
    """sum over routes r of cell j of part[r, p] = 1, for every cell and period with demand."""
    tables, limits = model.tables, []
    for workload_class in dict.fromkeys(cell.workload_class for cell in model.problem.cells):
        own = np.array([cell.workload_class == workload_class for cell in model.problem.cells])
        asked = (tables.rate > 0.0) & own[:, None]
        row_of = np.where(asked, np.cumsum(asked).reshape(asked.shape) - 1, -1)
        routes = np.flatnonzero(own[tables.route_cell])
        group = row_of[tables.route_cell[routes]]
        served = grouped(model.part[routes][group >= 0], 1.0, group[group >= 0], int(asked.sum()))
        limits.append(
            Limit("demand", workload_class, model.add(f"demand|{workload_class}", served, "=", 1.0), "request")
        )
    return limits


def within_capacity(model: Model) -> list[Limit]:
    """sum over r to c of rate[j, p] * unit_s[r] * part[r, p] <= utilization * availability * units[c, p]."""
    limits, load = [], model.tables.route_load()
    for number in model.tables.holders.tolist():
        name, routes = model.problem.candidates[number].name, model.routes_to([number])
        used = _by_period(model, routes, load[routes])
        spare = used - model.tables.usable[number] * units_in_period(model, number)
        rows = model.add(f"capacity|{name}", spare, "<=", 0.0)
        limits.append(Limit("capacity", name, rows, "unit second", where=_periods(model), lasting=True))
    return limits


def within_rate_limits(model: Model) -> list[Limit]:
    """sum over r to c of rate[j, p] * w[j] * part[r, p] <= limit[c], with w one request, or its tokens."""
    cells = model.problem.cells
    tokens = np.array([cell.input_tokens + cell.output_tokens for cell in cells])
    limits = []
    for number, candidate in enumerate(model.problem.candidates):
        limits += _rate_limit(model, number, "requests", candidate.requests_per_s, np.ones(len(cells)))
        limits += _rate_limit(model, number, "tokens", candidate.tokens_per_s, tokens)
    return limits


def within_offer(model: Model) -> list[Limit]:
    """min_units[c, s] <= units[c, p] <= max_units[c, s], for what needs no contract."""
    limits = []
    for number in model.tables.holders.tolist():
        candidate = model.problem.candidates[number]
        slots, most, least = _asked(model, number)
        if candidate.contract is None and least.any():
            limits.append(_offer(model, "minimum", candidate, slots, each(model.units[slots]), ">=", least))
        known = np.isfinite(most)
        if candidate.contract is None and known.any():
            held = each(model.units[slots[known]])
            limits.append(_offer(model, "offer", candidate, slots[known], held, "<=", most[known]))
    return limits


def kept_units(model: Model) -> list[Limit]:
    """units[c, s] >= units[c, s - 1] where what is held stays to the end."""
    for number in model.tables.holders.tolist():
        candidate, slots = model.problem.candidates[number], _slots(model, number)
        if candidate.keeps and not candidate.elastic and len(slots) > 1:
            growth = each(model.units[slots[1:]]) - each(model.units[slots[:-1]])
            model.add(f"kept|{candidate.name}", growth, ">=", 0.0)
    return []


def needs_contract(model: Model) -> list[Limit]:
    """min_units * signed <= units <= max_units * signed; by the token: sum over r of part <= (routes + 1) * signed.

    Where no most is given, it is what all demand and every promise could use. Once signed, no row of these binds by
    the token: it would take a part of demand's price.
    """
    limits = []
    names = [contract.name for contract in model.problem.contracts]
    for number, candidate in enumerate(model.problem.candidates):
        if candidate.contract is not None and candidate.by_token:
            _unlocked_tokens(model, number, names.index(candidate.contract))
        elif candidate.contract is not None:
            limits += _unlocked_units(model, number, names.index(candidate.contract))
    return limits


def counted_money(model: Model) -> list[Limit]:
    """request_usd[c, s] = sum over r to c and p in s of requests[j, p] * usd[r] * part[r, p]."""
    tables = model.tables
    usd = tables.usd[:, None] * tables.route_requests() / model.money_usd
    for number, stage in np.ndindex(*model.request_usd.shape):
        routes, periods = model.routes_to([number]), np.flatnonzero(tables.stage == stage)
        some = np.ix_(routes, periods)
        counted = total(model.request_usd[[number], [stage]]) - total(model.part[some], usd[some])
        model.add(f"counted|{model.problem.candidates[number].name}, {model.problem.stages[stage]}", counted, "=", 0.0)
    return []


def contract_units(model: Model) -> list[Limit]:
    """missing[k, p] + sum over covered c of units[c, p] >= min_units[k, s] * signed[k].

    With equality or none missing, where a share of spend could gain from paying for more (`_exactly`).
    """
    limits = []
    for number, contract in enumerate(model.problem.contracts):
        if contract.min_units:
            least = np.array(contract.min_units)[model.tables.stage]
            missing, over = model.missing[number], each(np.full(len(least), model.signed[number]), -least)
            covered = [n for n in model.covered(contract.name) if not model.problem.candidates[n].by_token]
            for candidate in covered:
                over = over + units_in_period(model, candidate)
            rows = model.add(f"contract units|{contract.name}", each(missing) + over, ">=", 0.0)
            most = sum(most_held(model, n) for n in covered)
            held_up = model.held_up[number]
            _exactly(model, rows, number, missed=missing, over=over, none_missed=held_up, least=least, most=most)
            limit = Limit("contract units", contract.name, rows, "unit second", where=_periods(model), lasting=True)
            limits.append(replace(limit, contract=contract.name))
    return limits


def take_or_pay(model: Model) -> list[Limit]:
    """shortfall[k, s] + spend on what k covers in s >= min_usd[k, s] * signed[k].

    With equality or no shortfall, where a share of spend could gain from paying more (`_exactly`).
    """
    limits = []
    for number, contract in enumerate(model.problem.contracts):
        for stage, least_usd in enumerate(contract.min_usd):
            used = spend(model, model.covered(contract.name), [stage], promises=False)
            least, shortfall = least_usd / model.money_usd, model.shortfall[[number], [stage]]
            over = used + paid_for_missing(model, number, [stage]) - total(model.signed[[number]], least)
            name = f"{contract.name}, {model.problem.stages[stage]}"
            rows = model.add(f"commitment|{name}", each(shortfall) + over, ">=", 0.0)
            most, used_up = most_spent(model, model.covered(contract.name)), model.used_up[[number], [stage]]
            owed = np.array([least])
            _exactly(model, rows, number, missed=shortfall, over=over, none_missed=used_up, least=owed, most=most)
            limits.append(Limit("commitment", name, rows, "USD", model.money_usd, contract=contract.name))
    return limits


def one_of_group(model: Model) -> list[Limit]:
    """sum over k in a group of signed[k] <= 1."""
    limits = []
    for group in dict.fromkeys(contract.group for contract in model.problem.contracts if contract.group):
        members = [n for n, contract in enumerate(model.problem.contracts) if contract.group == group]
        rows = model.add(f"group|{group}", total(model.signed[members]), "<=", 1.0)
        limits.append(Limit("group", group, rows, "contract"))
    return limits


def must_sign(model: Model) -> list[Limit]:
    """signed[k] >= 1 where the scenario says that it is signed."""
    limits = []
    for number, contract in enumerate(model.problem.contracts):
        if contract.must_sign:
            rows = model.add(f"contract|{contract.name}", total(model.signed[[number]]), ">=", 1.0)
            limits.append(Limit("contract", contract.name, rows, "contract"))
    return limits


def share_bounds(model: Model) -> list[Limit]:
    """at_least * all work <= work of the named candidates <= at_most * all work, over the horizon or a stage.

    Of requests, output tokens and compute, all work is known: the demand's. Of spend and power it is the plan's own.
    """
    limits = []
    for share in model.problem.shares:
        stages = _stages(model.problem, share.stage)
        part, whole, per_row = work(model, share.of, model.numbers(share.candidates), stages)
        for bound, sign in ((share.at_least, ">="), (share.at_most, "<=")):
            if bound is not None and per_row > 0.0:
                limits.append(_share(model, share, sign, part - whole * bound, per_row))
    return limits


def power(model: Model) -> list[Limit]:
    """sum over c at the site of unit_w[c] * units[c, p] <= max_w[s]; one row a stage where nothing there is elastic."""
    limits, problem = [], model.problem
    for limit in problem.power:
        there = [n for n in model.tables.holders.tolist() if limit.site in (None, problem.candidates[n].site)]
        if there:
            periods = distinct_periods(model, there)
            drawn = functools.reduce(Rows.__add__, (_drawn(model, n, periods) for n in there))
            most = np.array(limit.max_w)[model.tables.stage[periods]]
            where = _periods(model) if len(periods) == len(problem.periods) else problem.stages
            rows = model.add(f"power|{limit.name}", drawn, "<=", most)
            limits.append(Limit("power", limit.name, rows, "W", where=where, reason=limit.reason))
    return limits


def concentration(model: Model) -> list[Limit]:
    """work of the vendor's candidates <= at_most * all work, over the horizon, for the vendor or for each."""
    limits, candidates = [], model.problem.candidates
    stages = range(len(model.problem.stages))
    for limit in model.problem.concentrations:
        for vendor in dict.fromkeys(candidate.vendor for candidate in candidates):
            own = [n for n, candidate in enumerate(candidates) if candidate.vendor == vendor]
            part, whole, per_row = work(model, limit.of, own, stages)
            if limit.vendor in (None, vendor) and per_row > 0.0:
                name, unit = f"{limit.name}, {vendor}", WORK_UNITS[limit.of]
                rows = model.add(f"concentration|{name}", part - whole * limit.at_most, "<=", 0.0)
                limits.append(Limit("concentration", name, rows, unit, per_row, reason=limit.reason))
    return limits


def budget(model: Model) -> list[Limit]:
    """Spend on everything, promises included, in a stage or over the horizon <= max_usd."""
    limits, everything = [], range(len(model.problem.candidates))
    for limit in model.problem.budgets:
        spent = spend(model, everything, _stages(model.problem, limit.stage))
        rows = model.add(f"budget|{limit.name}", spent, "<=", limit.max_usd / model.money_usd)
        limits.append(Limit("budget", limit.name, rows, "USD", model.money_usd, reason=limit.reason))
    return limits


def _exactly(
    model: Model, rows: str, contract: int, *, missed: Ints, over: Rows, none_missed: Ints, least: Floats, most: float
) -> None:
    """missed = max(0, -over): missed <= least * (signed - none_missed), missed + over <= most * none_missed."""
    if model.exact:
        signed = np.full(len(missed), model.signed[contract])
        model.add(f"{rows}|missed", each(missed) + each(none_missed, least) - each(signed, least), "<=", 0.0)
        model.add(f"{rows}|over", each(missed) + over - each(none_missed, most), "<=", 0.0)


def _by_period(model: Model, routes: Ints, coefficients: Floats) -> Rows:
    """Sums over routes, one row a period."""
    periods = len(model.problem.periods)
    return grouped(model.part[routes], coefficients, np.arange(periods), periods)


def _drawn(model: Model, candidate: int, periods: Ints) -> Rows:
    return each(model.units_of(candidate)[periods], model.problem.candidates[candidate].unit_w)


def _share(model: Model, share: ShareBound, sign: str, missed: Rows, per_row: float) -> Limit:
    name = f"{share.name}, {'at least' if sign == '>=' else 'at most'}"
    rows = model.add(f"share|{name}", missed, sign, 0.0)
    return Limit("share", name, rows, WORK_UNITS[share.of], per_row, reason=share.reason)


def _rate_limit(model: Model, number: int, what: str, limit: float | None, each_takes: Floats) -> list[Limit]:
    routes = model.routes_to([number])
    if limit is None or not len(routes):
        return []
    cells = model.tables.route_cell[routes]
    taken = _by_period(model, routes, model.tables.rate[cells] * each_takes[cells, None])
    name = f"{model.problem.candidates[number].name}, {what} per second"
    rows = model.add(f"rate limit|{name}", taken, "<=", limit)
    return [Limit("rate limit", name, rows, what.removesuffix("s"), where=_periods(model), lasting=True)]


def _offer(
    model: Model, kind: str, candidate: Candidate, slots: Ints, held: Rows, sign: str, bound: Floats | float
) -> Limit:
    tables, problem = model.tables, model.problem
    stages = tuple(problem.stages[tables.slot_stage[slot]] for slot in slots)
    rows = model.add(f"{kind}|{candidate.name}", held, sign, bound)
    where = tuple(_slot_period(model, slot) for slot in slots.tolist()) if candidate.elastic else stages
    return Limit(kind, candidate.name, rows, "unit", where=where)


def _unlocked_units(model: Model, number: int, contract: int) -> list[Limit]:
    candidate = model.problem.candidates[number]
    slots, most, least = _asked(model, number)
    most = np.where(np.isfinite(most), most, most_units(model, number))
    signed, held = np.full(len(slots), model.signed[contract]), each(model.units[slots])
    limits = [_offer(model, "offer", candidate, slots, held - each(signed, most), "<=", 0.0)]
    if least.any():
        limits.append(_offer(model, "minimum", candidate, slots, held - each(signed, least), ">=", 0.0))
    return limits


def _unlocked_tokens(model: Model, number: int, contract: int) -> None:
    routes = model.routes_to([number])
    taken = _by_period(model, routes, np.ones((len(routes), 1)))
    signed = np.full(len(model.problem.periods), model.signed[contract])
    model.add(f"unlocked|{model.problem.candidates[number].name}", taken - each(signed, len(routes) + 1), "<=", 0.0)


def _asked(model: Model, number: int) -> tuple[Ints, Floats, Floats]:
    """A candidate's slots, with the most (infinite: no limit) and the least whole units of each."""
    candidate, slots = model.problem.candidates[number], _slots(model, number)
    stages = model.tables.slot_stage[slots].tolist()
    limits = [candidate.max_units[s] if candidate.max_units else None for s in stages]
    least = [candidate.min_units[s] if candidate.min_units else 0.0 for s in stages]
    most = [math.inf if limit is None else float(math.floor(limit)) for limit in limits]
    return slots, np.array(most), np.ceil(np.array(least))


def _slots(model: Model, number: int) -> Ints:
    return np.unique(model.tables.slot_of[number])


def _slot_period(model: Model, slot: int) -> str:
    candidate = model.tables.slot_candidate[slot]
    return model.problem.periods[int(np.argmax(model.tables.slot_of[candidate] == slot))].name


def _periods(model: Model) -> tuple[str, ...]:
    return tuple(period.name for period in model.problem.periods)


def _stages(problem: Problem, stage: int | None) -> list[int]:
    return list(range(len(problem.stages))) if stage is None else [stage]
