"""Why there is no plan: the smallest set of the scenario's constraints that cannot hold together.

Every named limit can be dropped: a class's demand, an offer, a share, power, a survival, a budget. A set of limits
*conflicts* if no plan keeps it, and a set that every conflict meets is a *hitting set*. The search goes both ways:

    take a smallest set H that meets every correction found so far
    if H conflicts, it is the answer: no smaller set can conflict
    else grow H to a largest set that does not conflict; what is left out is one more correction; again

Source: smallest minimal unsatisfiable subsets by hitting sets, Ignatiev et al. 2015 (doi:10.1007/978-3-319-23219-5_13).
Conflicts are looked for among divisible units first; where those leave a plan, with whole units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse

from headrace.errors import Conflicting, InfeasiblePlan, InvariantError
from headrace.plan.linear import Linear
from headrace.plan.program import Point, Program
from headrace.plan.survival import Row
from headrace.plan.tables import Floats, Ints

KEPT = 1e-9  # missed by less is kept
SEARCH_S = 60.0  # for one question whether whole units allow a plan
STRUCTURE = ("capacity", "commitment", "contract units")  # what holds by itself, or by paying
REMEDIES = {
    "demand": "let a part of it go unserved, or loosen its SLO, or offer more that serves it",
    "offer": "allow more units, or an earlier date",
    "minimum": "lower the least number of units",
    "rate limit": "raise the limit, or offer something beside it",
    "share": "move the bound",
    "power": "allow more power",
    "concentration": "allow the vendor a larger part, or offer another vendor",
    "survival": "accept a lower level, or offer more that is not lost",
    "budget": "allow more money",
    "contract": "do not sign it",
    "group": "allow more than one of the group",
}
AMOUNTS = {
    "demand": "at most {rest:.1%} of it fits in every period and bucket",
    "offer": "{amount:,.4g} more units would do",
    "minimum": "{amount:,.4g} units less would do",
    "rate limit": "{amount:,.4g} {unit}s per second more would do",
    "share": "moved by {percent:.3g} percentage points it would do",
    "power": "{amount:,.4g} W more would do",
    "budget": "{amount:,.4g} USD more would do",
}


@dataclass(frozen=True, slots=True)
class Droppable:
    """A limit of the scenario's that can be left out: its rows, and in which unit."""

    kind: str
    name: str
    reason: str
    rows: tuple[str, ...]
    unit: str = ""
    per_row: float = 1.0


def infeasible(linear: Linear) -> InfeasiblePlan:
    """The error that names the smallest conflict of a problem without a plan."""
    question = Question(linear)
    members = _smallest(question)
    return InfeasiblePlan([question.described(member) for member in members])


def _smallest(question: Question) -> list[int]:
    """Numbers of the limits of the smallest conflict."""
    everything = frozenset(range(len(question.limits)))
    corrections: list[frozenset[int]] = []
    while True:
        hitting = _hitting_set(corrections)
        if not question.feasible(hitting):
            return sorted(hitting)
        kept = set(question.grown(hitting))
        if not question.feasible(frozenset(kept)):  # what is missed is little: within a tolerance, and yet no plan
            kept = set(hitting)
        for number in sorted(everything - kept):
            if question.feasible(frozenset(kept | {number})):
                kept.add(number)
        if len(kept) == len(everything):
            raise InvariantError("no plan was found, and yet no set of constraints conflicts")
        corrections.append(everything - kept)


def _hitting_set(sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """A smallest set that has a member of each."""
    size = 0
    while True:
        found = _hit(sets, frozenset(), size)
        if found is not None:
            return found
        size += 1


def _hit(sets: Sequence[frozenset[int]], chosen: frozenset[int], left: int) -> frozenset[int] | None:
    missed = next((members for members in sets if not members & chosen), None)
    if missed is None:
        return chosen
    tries = (_hit(sets, chosen | {member}, left - 1) for member in sorted(missed)) if left else ()
    return next((found for found in tries if found is not None), None)


class Question:
    """Whether some of the limits allow a plan together. Rows of losses that one question needed serve the next."""

    def __init__(self, linear: Linear) -> None:
        self._linear = linear
        self._program = replace(linear.program, cost=np.zeros(len(linear.program.cost)))
        self.limits = _droppable(linear)
        self._near: Point | None = None  # where the next question starts
        self._whole = False
        self._whole = self.feasible(frozenset(range(len(self.limits))))

    def feasible(self, on: frozenset[int]) -> bool:
        """Whether a plan keeps these limits, whatever becomes of the others."""
        return self._point(lambda program: program, on) is not None

    def grown(self, on: frozenset[int]) -> frozenset[int]:
        """These limits, and others that a plan with the least sum of what it misses keeps too."""
        others = [n for n in range(len(self.limits)) if n not in on]
        program = self._program
        while not self._whole:
            rows = [np.concatenate([self._rows(name) for name in self.limits[n].rows]) for n in others]
            x = self._solved(_elastic(self._program, rows))
            missed = np.zeros(0) if x is None else x[len(program.cost) :]
            kept = on | {n for n, by in zip(others, missed.tolist(), strict=False) if by <= KEPT}
            broken = [] if x is None else self._broken(x, kept)
            if not broken:
                return kept
            self._program = self._linear.with_rows(self._program, broken)
        return on

    def described(self, member: int) -> Conflicting:
        """A limit in the scenario's words, with the least change that would do, if all else stays."""
        limit = self.limits[member]
        remedy, amount = REMEDIES[limit.kind], self._least_change(member)
        if amount is not None and limit.unit not in ("USD", "W h")[: 2 * (limit.kind == "share")]:
            said = AMOUNTS[limit.kind].format(
                amount=amount * limit.per_row, rest=1.0 - amount, percent=100.0 * amount, unit=limit.unit
            )
            remedy = f"{remedy}; {said}"
        return Conflicting(limit.kind, limit.name, limit.reason, remedy)

    def _least_change(self, member: int) -> float | None:
        """By how much the rows of a limit must give way, in units of a row; None: it cannot be said."""
        limit = self.limits[member]
        if limit.kind not in AMOUNTS:
            return None
        rows = np.concatenate([self._rows(name) for name in limit.rows])
        x = self._point(lambda program: _elastic(program, [rows]), frozenset(range(len(self.limits))))
        return None if x is None else float(x[-1])

    def _point(self, change: Callable[[Program], Program], on: frozenset[int]) -> Floats | None:
        """A point that keeps some limits and survives their losses, after a change to the program."""
        while True:
            off = [self._rows(name) for n, limit in enumerate(self.limits) if n not in on for name in limit.rows]
            x = self._solved(change(self._program.without(np.concatenate([*off, np.zeros(0, np.int64)]))))
            broken = [] if x is None else self._broken(x, on)
            if not broken:
                return x
            self._program = self._linear.with_rows(self._program, broken)

    def _broken(self, x: Floats, on: frozenset[int]) -> list[tuple[str, Row]]:
        """Rows of the losses among these limits that a point breaks."""
        names = {self.limits[number].name for number in on if self.limits[number].kind == "survival"}
        return [row for row in self._linear.broken(x[: len(self._program.cost)]) if row[0] in names]

    def _solved(self, program: Program) -> Floats | None:
        if self._whole:
            return program.branched(0.0, SEARCH_S, 1, None, lambda incumbent, bound: None).x
        alike = len(program.cost) == len(self._program.cost)
        point = program.relaxed(near=self._near if alike else None)
        self._near = point if alike and point is not None else self._near
        return None if point is None else point.x

    def _rows(self, name: str) -> Ints:
        return self._program.rows.get(name, np.zeros(0, np.int64))


def _elastic(program: Program, groups: Sequence[Ints]) -> Program:
    """The program with a column more a group, at the end: by how much its rows may be missed; their sum is minimised.

    A row that asks for equality (demand) may be missed from below, and never exceeded: that is a row of its own.
    """
    columns = np.zeros((len(program.row_lower), len(groups)))
    upper = program.row_upper.copy()
    for number, rows in enumerate(groups):
        from_below = np.isfinite(program.row_lower[rows])
        columns[rows, number] = np.where(from_below, 1.0, -1.0) * program.row_scale[rows]
        upper[rows[from_below]] = math.inf
    exceeded = np.flatnonzero(upper != program.row_upper)
    nothing = sparse.csr_array((len(exceeded), len(groups)))
    blocks = [[program.matrix, sparse.csr_array(columns)], [program.matrix[exceeded], nothing]]
    return replace(
        program,
        cost=np.append(np.zeros(len(program.cost)), np.ones(len(groups))),
        lower=np.append(program.lower, np.zeros(len(groups))),
        upper=np.append(program.upper, np.full(len(groups), math.inf)),
        integer=np.append(program.integer, np.zeros(len(groups), dtype=bool)),
        matrix=sparse.csr_array(sparse.block_array(blocks)),
        row_lower=np.append(program.row_lower, np.full(len(exceeded), -math.inf)),
        row_upper=np.append(upper, program.row_upper[exceeded]),
        row_scale=np.append(program.row_scale, program.row_scale[exceeded]),
    )


def _droppable(linear: Linear) -> list[Droppable]:
    """Limits of the scenario's, in its order; those of one kind and name are one."""
    limits = [limit for limit in linear.limits if limit.kind not in STRUCTURE]
    found = [
        Droppable(x.kind, x.name, x.reason, (x.rows,), x.unit, 1.0 if x.kind == "share" else x.per_row) for x in limits
    ]
    served = {limit.name for limit in limits if limit.kind == "demand"}
    classes = dict.fromkeys(cell.workload_class for cell in linear.problem.cells)
    found += [Droppable("demand", name, "", ()) for name in classes if name not in served]
    found = [replace(x, rows=(*x.rows, f"unserved|{x.name}")) if x.kind == "demand" else x for x in found]
    return found + [Droppable("survival", x.name, x.reason, (f"survival|{x.name}",)) for x in linear.problem.survivals]
