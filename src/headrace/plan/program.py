"""A mixed-integer linear program in arrays, on HiGHS: relaxed, with integers fixed, or branched on.

    minimise cost x   subject to   row_lower <= A x <= row_upper,   lower <= x <= upper,   x[integer] whole

Rows are scaled by powers of two so that their largest coefficient is near one: HiGHS's absolute tolerance (1e-7) then
means the same for watts and for parts. Duals are scaled back.

Source: HiGHS, Huangfu and Hall 2018 (doi:10.1007/s12532-017-0130-5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import highspy
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from headrace.errors import InvariantError
from headrace.plan.tables import Floats, Ints
from headrace.plan.variables import Model


@dataclass(frozen=True, slots=True)
class Point:
    """An answer of a linear program: with the change of the objective by unit of each row's right-hand side."""

    objective: float
    x: Floats
    row_dual: Floats
    basis: highspy.HighsBasis


@dataclass(frozen=True, slots=True)
class Branched:
    """How branch and bound ended: its best point, None if it found none, and the proven bound."""

    x: Floats | None
    objective: float
    bound: float
    finished: bool


@dataclass(frozen=True)
class Program:
    """See the module. `columns` and `rows` give numbers by the name of the variable or constraint."""

    cost: Floats
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]
    matrix: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    columns: dict[str, Ints] = field(default_factory=dict)
    rows: dict[str, Ints] = field(default_factory=dict)
    row_scale: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, model: Model) -> Program:
        """The arrays of a model, rows scaled."""
        columns, bounds = list(model.columns.values()), list(model.bounds.values())
        counts = [len(bound.lower) for bound in bounds]
        first = (np.cumsum(counts) - counts).tolist()
        upper = np.concatenate([block.upper.ravel() for block in columns])
        row = np.concatenate([bound.rows.row + start for bound, start in zip(bounds, first, strict=True)])
        column = np.concatenate([bound.rows.column for bound in bounds])
        value = np.concatenate([bound.rows.value for bound in bounds])
        matrix = sparse.csr_array((value, (row, column)), shape=(sum(counts), len(upper)))
        scale = _scales(matrix)
        numbers = zip(model.bounds, first, counts, strict=True)
        return cls(
            cost=np.bincount(model.cost.column, model.cost.value, minlength=len(upper)).astype(np.float64),
            lower=np.zeros(len(upper)),
            upper=upper,
            integer=np.concatenate([np.full(block.upper.size, block.whole) for block in columns]),
            matrix=sparse.csr_array(sparse.diags_array(scale) @ matrix),
            row_lower=np.concatenate([bound.lower for bound in bounds]) * scale,
            row_upper=np.concatenate([bound.upper for bound in bounds]) * scale,
            columns={name: block.numbers for name, block in model.columns.items()},
            rows={name: start + np.arange(count) for name, start, count in numbers},
            row_scale=scale,
        )

    def with_bounds(self, columns: Ints, lower: Floats, upper: Floats) -> Program:
        """The same with other bounds on some columns."""
        low, high = self.lower.copy(), self.upper.copy()
        low[columns], high[columns] = lower, upper
        return replace(self, lower=low, upper=high)

    def with_rows(self, name: str, matrix: sparse.csr_array, lower: Floats) -> Program:
        """The same with rows `matrix x >= lower` added to those of this name."""
        scale = _scales(matrix)
        numbers = np.concatenate(
            [self.rows.get(name, np.zeros(0, np.int64)), np.arange(len(lower)) + len(self.row_lower)]
        )
        return replace(
            self,
            matrix=sparse.csr_array(sparse.vstack([self.matrix, sparse.diags_array(scale) @ matrix])),
            row_lower=np.concatenate([self.row_lower, lower * scale]),
            row_upper=np.concatenate([self.row_upper, np.full(len(lower), math.inf)]),
            row_scale=np.concatenate([self.row_scale, scale]),
            rows={**self.rows, name: numbers},
        )

    def with_room(self, rows: Ints, columns: Ints) -> Program:
        """The same with some rows tightened by the most that rounding some columns up can add to them."""
        whole = self.matrix[rows][:, columns]
        low, high = self.row_lower.copy(), self.row_upper.copy()
        low[rows] -= whole.minimum(0.0).sum(axis=1)
        high[rows] -= whole.maximum(0.0).sum(axis=1)
        return replace(self, row_lower=low, row_upper=high)

    def without(self, rows: Ints) -> Program:
        """The same with some rows that hold nothing any more."""
        low, high = self.row_lower.copy(), self.row_upper.copy()
        low[rows], high[rows] = -math.inf, math.inf
        return replace(self, row_lower=low, row_upper=high)

    def relaxed(self, limit_s: float = math.inf, near: Point | None = None) -> Point | None:
        """The best point with integers left out, at a vertex; None: there is none, or none in time.

        Args:
            near: the optimum of a program with the same columns and some of these rows: a start that is not far.
        """
        solver = self.solver(limit_s)
        if near is not None:
            solver.setBasis(_grown(near.basis, len(self.row_lower)))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal and not self._is_empty():
            return None
        found = solver.getSolution()
        dual = np.array(found.row_dual) * self.row_scale
        return Point(solver.getInfo().objective_function_value, np.array(found.col_value), dual, solver.getBasis())

    def branched(
        self, gap: float, limit_s: float, threads: int, start: Floats | None, watch: Callable[[float, float], None]
    ) -> Branched:
        """Branch and bound until the gap is proven or the time is over.

        Args:
            start: a point to begin with; None: none is known.
            watch: is told incumbent and bound whenever the solver reports.
        """
        solver = self.solver(limit_s, integers=True)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.resetGlobalScheduler(True)  # the threads of a process are those of its first solve, else
        solver.setOptionValue("threads", threads)
        if start is not None:
            known = highspy.HighsSolution()
            known.col_value = list(start)
            solver.setSolution(known)
        solver.cbMipLogging.subscribe(
            lambda event: watch(event.data_out.mip_primal_bound, event.data_out.mip_dual_bound)
        )
        solver.run()
        info, status = solver.getInfo(), solver.getModelStatus()
        found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        return Branched(
            np.array(solver.getSolution().col_value) if found else None,
            info.objective_function_value if found else math.inf,
            info.mip_dual_bound,
            status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible),
        )

    def _is_empty(self) -> bool:
        """Whether there is nothing to choose, and that keeps every row."""
        return not len(self.cost) and bool((self.row_lower <= 0.0).all() and (self.row_upper >= 0.0).all())

    def solver(self, limit_s: float = math.inf, *, integers: bool = False) -> highspy.Highs:
        """HiGHS with this program in it."""
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.silent()
        if math.isfinite(limit_s):
            solver.setOptionValue("time_limit", max(limit_s, 0.0))
        matrix = sparse.csc_array(self.matrix)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = len(self.cost), len(self.row_lower)
        program.col_cost_, program.col_lower_, program.col_upper_ = self.cost, self.lower, self.upper
        program.row_lower_, program.row_upper_ = self.row_lower, self.row_upper
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_ = matrix.indptr
        program.a_matrix_.index_, program.a_matrix_.value_ = matrix.indices, matrix.data
        if integers:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            program.integrality_ = [kinds[whole] for whole in self.integer.tolist()]
        if solver.passModel(program) == highspy.HighsStatus.kError:
            raise InvariantError("the solver refused the planning model: a coefficient is not a finite number")
        return solver


def _grown(basis: highspy.HighsBasis, rows: int) -> highspy.HighsBasis:
    """The basis with rows added that bind nothing."""
    grown = highspy.HighsBasis()
    grown.valid = True
    grown.col_status = basis.col_status
    known = list(basis.row_status)
    grown.row_status = known + [highspy.HighsBasisStatus.kBasic] * (rows - len(known))
    return grown


def _scales(matrix: sparse.csr_array) -> Floats:
    """Powers of two that bring the largest coefficient of each row near one."""
    largest = np.zeros(matrix.shape[0])
    np.maximum.at(largest, matrix.tocoo().row, np.abs(matrix.data))
    return np.exp2(-np.round(np.log2(np.where(largest > 0.0, largest, 1.0))))
