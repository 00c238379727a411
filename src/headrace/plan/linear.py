"""A problem as a linear program, with the limits that its rows are made of and the losses that it must survive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from headrace.plan.constraints import all_limits
from headrace.plan.limit import Limit
from headrace.plan.objective import minimise_cost
from headrace.plan.problem import Problem
from headrace.plan.program import Program
from headrace.plan.survival import MISSING, Loss, Row
from headrace.plan.tables import Floats, Ints, Tables
from headrace.plan.variables import Model

ROUNDING_BREAKS = ("power", "budget", "share", "concentration")


@dataclass(frozen=True, slots=True)
class Linear:
    """A problem as a program, its limits, and the losses that it must survive."""

    problem: Problem
    tables: Tables
    program: Program
    limits: list[Limit]
    losses: list[Loss]
    money_usd: float

    @classmethod
    def of(cls, problem: Problem) -> Linear:
        """Build it."""
        model = Model(problem)
        limits = all_limits(model)
        minimise_cost(model)
        losses = [Loss(problem, model.tables, survival) for survival in problem.survivals]
        program = _with_unserved(Program.of(model), problem, model.tables)
        return cls(problem, model.tables, program, limits, losses, model.money_usd)

    def units(self, x: Floats) -> Floats:
        """Units by slot."""
        return x[self.program.columns["units"]]

    def signed(self, x: Floats) -> Floats:
        """By contract."""
        return x[self.program.columns["signed"]]

    def rounded_rows(self, program: Program) -> Ints:
        """Rows that rounding units up may break: limits on money, power and their shares.

        Offers are whole numbers already; what is kept stays in order when both of its sides are rounded.
        """
        kinds = {limit.rows: limit.kind for limit in self.limits}
        named = [rows for name, rows in program.rows.items() if kinds.get(name) in ROUNDING_BREAKS]
        return np.concatenate([*named, np.zeros(0, np.int64)])

    def units_by_period(self, x: Floats) -> Floats:
        """Units held, whole, by (candidates, periods)."""
        held = np.append(np.round(self.units(x)) + 0.0, 0.0)  # no negative zero
        return held[self.tables.slot_of]  # NO_SLOT is the last one: none

    def flow(self, x: Floats) -> Floats:
        """Requests/s by (cells, candidates, periods): parts of a cell made to add up to one."""
        tables = self.tables
        part = np.zeros((len(tables.rate), len(self.problem.candidates), len(tables.seconds)))
        part[tables.route_cell, tables.route_candidate] = np.maximum(x[self.program.columns["part"]], 0.0)
        whole = part.sum(axis=1, keepdims=True)
        return part / np.where(whole > 0.0, whole, 1.0) * tables.rate[:, None, :]

    def broken(self, x: Floats, missing: float = MISSING) -> list[tuple[str, Row]]:
        """Rows of losses that these units break by more than a part `missing`, with the name of the survival."""
        units, signed = self.units(x), self.signed(x)
        return [(loss.survival.name, row) for loss in self.losses for row in loss.broken(units, signed, missing)]

    def with_rows(self, program: Program, rows: list[tuple[str, Row]]) -> Program:
        """The program with rows of losses added."""
        for name in dict.fromkeys(name for name, _ in rows):
            own = [row for owner, row in rows if owner == name]
            matrix = sparse.lil_array((len(own), len(program.cost)))
            for number, row in enumerate(own):
                for slot, each in row.slots.items():
                    matrix[number, program.columns["units"][slot]] = each
                for contract, each in row.contracts.items():
                    matrix[number, program.columns["signed"][contract]] = each
            least = np.array([row.least for row in own])
            program = program.with_rows(f"survival|{name}", sparse.csr_array(matrix), least)
        return program


def _with_unserved(program: Program, problem: Problem, tables: Tables) -> Program:
    """The program with a row that nothing can meet for each class with a cell that no candidate serves."""
    stranded = set(np.flatnonzero(tables.rate.any(axis=1)).tolist()) - set(tables.route_cell.tolist())
    for workload_class in dict.fromkeys(problem.cells[cell].workload_class for cell in sorted(stranded)):
        nothing = sparse.csr_array((1, len(program.cost)))
        program = program.with_rows(f"unserved|{workload_class}", nothing, np.ones(1))
    return program
