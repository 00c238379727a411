"""The least cost of a tiny problem by trying every whole number of units and every choice of contracts.

Written out a second time, without the model: the flows of each try are a linear program over variables of its own,
with the flows of every loss as columns beside them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.optimize as optimize

from headrace.plan.problem import Candidate, Contract, Problem, ShareBound, ShareUnit, Survival
from headrace.plan.tables import missing_usd_per_hour, request_work


def least_usd(problem: Problem) -> float:
    """The least objective; infinite: there is no plan."""
    tries = [_Try(problem, *choice, up) for choice in _choices(problem) for up in _used_up(problem, choice[1])]
    least = math.inf
    for each in sorted(tries, key=lambda one: one.fixed_usd):
        if each.fixed_usd >= least:  # and so in all that follow: what is added is never negative
            break
        least = min(least, each.usd())
    return least


def _used_up(problem: Problem, signed: frozenset[str]) -> Iterator[frozenset[tuple[int, int]]]:
    """Every choice of the minima (contract, stage) that are used up; the others are paid for exactly."""
    minima = [
        (k, s) for k, contract in enumerate(problem.contracts) if contract.name in signed for s in _stages(contract)
    ]
    for number in range(len(minima) + 1):
        yield from map(frozenset, itertools.combinations(minima, number))


def _stages(contract: Contract) -> range:
    return range(len(contract.min_usd))


def _choices(problem: Problem) -> Iterator[tuple[np.ndarray, frozenset[str]]]:
    for number in range(len(problem.contracts) + 1):
        for signed in itertools.combinations(problem.contracts, number):
            groups = [contract.group for contract in signed if contract.group]
            if len(groups) == len(set(groups)) and all(k in signed for k in problem.contracts if k.must_sign):
                names = frozenset(contract.name for contract in signed)
                for units in itertools.product(*(_units(problem, c, names) for c in problem.candidates)):
                    yield np.array(units), names


def _units(problem: Problem, candidate: Candidate, signed: frozenset[str]) -> list[tuple[float, ...]]:
    """All whole numbers of units that a candidate may have, by period."""
    stage = [period.stage for period in problem.periods]
    if candidate.by_token or (candidate.contract is not None and candidate.contract not in signed):
        return [(0.0,) * len(stage)]
    span = [range(int(candidate.min_units[s]), int(candidate.max_units[s]) + 1) for s in stage]
    every = [tuple(map(float, some)) for some in itertools.product(*span)]
    if candidate.elastic:
        return every
    every = [u for u in every if all(u[p] == u[q] for p in range(len(u)) for q in range(p) if stage[p] == stage[q])]
    return (
        [u for u in every if all(u[q] <= u[p] for p in range(len(u)) for q in range(p))] if candidate.keeps else every
    )


class _Try:
    """One choice of units and contracts. Variables: flow (j, c, p), then shortfalls (k, s), then flows of losses."""

    def __init__(
        self, problem: Problem, units: np.ndarray, signed: frozenset[str], used_up: frozenset[tuple[int, int]]
    ) -> None:
        self.problem, self.units, self.signed, self.used_up = problem, units, signed, used_up
        self.shape = (len(problem.cells), len(problem.candidates), len(problem.periods))
        self.flows = int(np.prod(self.shape))
        self.shorts = len(problem.contracts) * len(problem.stages)
        self.size = self.flows + self.shorts + self.flows * len(problem.survivals)
        self.rows: list[np.ndarray] = []
        self.most: list[float] = []
        self.upper = np.full(self.size, math.inf)

    @property
    def fixed_usd(self) -> float:
        return self.spend(range(len(self.problem.candidates)), range(len(self.problem.stages)))[1]

    def usd(self) -> float:
        everything = range(len(self.problem.candidates))
        cost, fixed = self.spend(everything, range(len(self.problem.stages)))
        for j, c, p in np.ndindex(*self.shape):
            use = self.problem.candidates[c].uses.get(j)
            if use is not None:
                value = self.problem.cells[j].value_of_time_usd_per_s
                cost[self.at(j, c, p)] += value * use.e2e_s * self.problem.periods[p].hours * 3600.0
        self.limit_units()
        self.limit_flows(0, None)
        for number, survival in enumerate(self.problem.survivals):
            self.limit_flows(self.flows * (1 + number) + self.shorts, survival)
        self.limit_money()
        self.limit_shares()
        found = optimize.linprog(cost, np.array(self.rows), np.array(self.most), bounds=[(0.0, u) for u in self.upper])
        return float(found.fun) + fixed if found.status == 0 else math.inf

    def at(self, j: int, c: int, p: int) -> int:
        return int(np.ravel_multi_index((j, c, p), self.shape))

    def add(self, row: np.ndarray, most: float) -> None:
        self.rows.append(row)
        self.most.append(most)

    def limit_units(self) -> None:
        for limit in self.problem.power:
            for p, period in enumerate(self.problem.periods):
                drawn = sum(
                    c.unit_w * self.units[n, p]
                    for n, c in enumerate(self.problem.candidates)
                    if limit.site in (None, c.site)
                )
                self.add(np.zeros(self.size), limit.max_w[period.stage] - drawn)

    def limit_flows(self, first: int, survival: Survival | None) -> None:
        problem = self.problem
        for p in range(self.shape[2]):
            for j, cell in enumerate(problem.cells):
                row = np.zeros(self.size)
                row[[first + self.at(j, c, p) for c in range(self.shape[1])]] = 1.0
                level = 1.0 if survival is None else survival.level.get(cell.workload_class, 0.0)
                self.add(-row, -level * cell.rate_per_s[p])
                self.add(row, level * cell.rate_per_s[p])
            for c, candidate in enumerate(problem.candidates):
                self.limit_candidate(first, survival, c, p)
                lost = survival is not None and candidate.name in survival.lost
                away = candidate.contract is not None and candidate.contract not in self.signed
                for j in range(self.shape[0]):
                    use = candidate.uses.get(j)
                    if lost or away or use is None or (survival is not None and use.degraded_unit_s is None):
                        self.upper[first + self.at(j, c, p)] = 0.0

    def limit_candidate(self, first: int, survival: Survival | None, c: int, p: int) -> None:
        candidate = self.problem.candidates[c]
        utilization = candidate.utilization if survival is None else survival.utilization
        seconds, requests, tokens = np.zeros(self.size), np.zeros(self.size), np.zeros(self.size)
        for j, use in candidate.uses.items():
            at = first + self.at(j, c, p)
            seconds[at] = use.unit_s if survival is None else use.degraded_unit_s or 0.0
            requests[at] = 1.0
            tokens[at] = self.problem.cells[j].input_tokens + self.problem.cells[j].output_tokens
        if not candidate.by_token:
            self.add(seconds, utilization * candidate.availability * self.units[c, p])
        if candidate.requests_per_s is not None:
            self.add(requests, candidate.requests_per_s)
        if candidate.tokens_per_s is not None:
            self.add(tokens, candidate.tokens_per_s)

    def missing_usd(self, k: int, s: int) -> float:
        contract, usd = self.problem.contracts[k], 0.0
        if contract.name in self.signed and contract.min_units:
            covered = [n for n, c in enumerate(self.problem.candidates) if c.contract == contract.name]
            for p, period in enumerate(self.problem.periods):
                if period.stage == s:
                    short = max(0.0, contract.min_units[s] - self.units[covered, p].sum())
                    usd += short * period.hours * missing_usd_per_hour(self.problem, contract.name, s)
        return usd

    def spend(
        self, candidates: Sequence[int], stages: Sequence[int], promises: bool = True
    ) -> tuple[np.ndarray, float]:
        """Coefficients and constant."""
        row, fixed = np.zeros(self.size), 0.0
        for p, period in enumerate(self.problem.periods):
            for c in candidates if period.stage in stages else ():
                candidate = self.problem.candidates[c]
                fixed += (
                    0.0
                    if candidate.by_token
                    else candidate.usd_per_unit_hour[period.stage] * self.units[c, p] * period.hours
                )
                for j, use in candidate.uses.items():
                    row[self.at(j, c, p)] += use.usd * period.hours * 3600.0
        for k, contract in enumerate(self.problem.contracts) if promises else ():
            covered = {n for n, c in enumerate(self.problem.candidates) if c.contract == contract.name}
            if covered <= set(candidates) and contract.name in self.signed:
                fixed += contract.fee_usd if 0 in stages else 0.0
                for s in stages:
                    fixed += self.missing_usd(k, s)
                    row[self.flows + k * len(self.problem.stages) + s] += 1.0
        return row, fixed

    def limit_money(self) -> None:
        stages = range(len(self.problem.stages))
        for k, contract in enumerate(self.problem.contracts):
            if contract.name not in self.signed or not contract.min_usd:
                first = self.flows + k * len(self.problem.stages)
                self.upper[first : first + len(self.problem.stages)] = 0.0
            for s in stages if contract.name in self.signed and contract.min_usd else ():
                covered = [n for n, c in enumerate(self.problem.candidates) if c.contract == contract.name]
                row, fixed = self.spend(covered, [s], promises=False)
                short = self.flows + k * len(self.problem.stages) + s
                row[short] += 1.0
                used = fixed + self.missing_usd(k, s)
                self.add(-row, used - contract.min_usd[s])
                if (k, s) in self.used_up:
                    self.upper[short] = 0.0
                else:
                    self.add(row, contract.min_usd[s] - used)
        for limit in self.problem.budgets:
            row, fixed = self.spend(range(self.shape[1]), [s for s in stages if limit.stage in (None, s)])
            self.add(row, limit.max_usd - fixed)

    def limit_shares(self) -> None:
        for share in self.problem.shares:
            own = [n for n, c in enumerate(self.problem.candidates) if c.name in share.candidates]
            self.limit_share(share, own)
        for limit in self.problem.concentrations:
            for vendor in {c.vendor for c in self.problem.candidates}:
                own = [n for n, c in enumerate(self.problem.candidates) if c.vendor == vendor]
                self.limit_share(ShareBound(limit.name, limit.of, frozenset(), at_most=limit.at_most), own)

    def limit_share(self, share: ShareBound, own: list[int]) -> None:
        part, part_fixed = self.amount(share, own)
        whole, whole_fixed = self.amount(share, list(range(self.shape[1])))
        if share.at_least is not None:
            self.add(share.at_least * whole - part, part_fixed - share.at_least * whole_fixed)
        if share.at_most is not None:
            self.add(part - share.at_most * whole, share.at_most * whole_fixed - part_fixed)

    def amount(self, share: ShareBound, own: list[int]) -> tuple[np.ndarray, float]:
        stages = [s for s in range(len(self.problem.stages)) if share.stage in (None, s)]
        if share.of is ShareUnit.SPEND:
            return self.spend(own, stages)
        row, fixed = np.zeros(self.size), 0.0
        for p, period in enumerate(self.problem.periods):
            for c in own if period.stage in stages else ():
                if share.of is ShareUnit.POWER:
                    fixed += self.problem.candidates[c].unit_w * self.units[c, p] * period.hours
                else:
                    for j, cell in enumerate(self.problem.cells):
                        row[self.at(j, c, p)] += request_work(cell, share.of) * period.hours * 3600.0
        return row, fixed
