"""From a problem to a plan: relax, round up, prove the gap; branch only where that does not reach it.

1. The relaxation with divisible units is solved, and rows of `plan.survival` are added until no loss breaks one.
2. Contracts are branched on, since half a commitment says nothing; where they are whole, units are rounded up.
   Rounding up never breaks demand, capacity or a survival; where it breaks something else (power, a budget, a share),
   that limit is first tightened by all that rounding may add. Where this costs more than the gap allows, branch and
   bound over everything goes on from there.
3. Any whole-numbered answer is held against every loss again; broken rows are added and the search goes on.
4. With the integers fixed, the flows are solved once more: from there come the prices.

The bound is that of a relaxation that has some of the rows: adding rows can only raise it, so the gap is proven.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.errors import HeadraceError, InfeasiblePlan, InvariantError, NoPlanInTime
from headrace.plan.conflict import infeasible
from headrace.plan.linear import Linear
from headrace.plan.money import money
from headrace.plan.prices import limit_prices
from headrace.plan.problem import Problem
from headrace.plan.program import Point
from headrace.plan.solution import Ending, Solution
from headrace.plan.tables import Floats, Ints

WHOLE = 1e-6  # nearer than this to a whole number is one
ROUNDINGS = 8  # tries to round a point up before contracts are tried otherwise
SHORT = 0.1  # of the gap: by less, a loss may be short until units are whole


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits on the solve.

    Attributes:
        gap: (cost - proven bound) / cost at which a plan is good enough.
        time_limit_s: of wall time; the best plan found by then is returned, and says so.
        threads: of the solver.
        explain: where there is no plan, look for the smallest conflict: it may take as long as several solves.
    """

    gap: float = 0.001
    time_limit_s: float = 300.0
    threads: int = 2
    explain: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a solve stands. `incumbent_usd` is None until there is a plan."""

    phase: str
    incumbent_usd: float | None
    bound_usd: float
    gap: float
    elapsed_s: float


Watch = Callable[[Progress], None]


def solve(problem: Problem, settings: Settings | None = None, watch: Watch | None = None) -> Solution:
    """The plan of least cost.

    Args:
        watch: is called whenever incumbent or bound move.

    Raises:
        InfeasiblePlan: no plan meets the constraints; its `conflict` says which ones.
        NoPlanInTime: none was found within the time limit.
    """
    return _Search(problem, settings or Settings(), watch or (lambda _: None)).solution()


class _Search:
    """Incumbent and bound of one solve, in the model's money."""

    def __init__(self, problem: Problem, settings: Settings, watch: Watch) -> None:
        self._started_s = time.perf_counter()
        self._settings, self._watch = settings, watch
        self._linear = Linear.of(problem)
        self._program = self._linear.program
        self._whole = np.flatnonzero(self._program.integer)
        self._signed = self._program.columns["signed"]
        self._best: Point | None = None
        self._cost = math.inf
        self._bound = -math.inf

    def solution(self) -> Solution:
        root = self._relaxed(np.zeros(len(self._signed)), np.ones(len(self._signed)))
        if root is None:
            raise self._nothing()
        self._bound = root.objective
        self._branch_on_contracts(root)
        if self._gap() > self._settings.gap:
            self._branch()
        if self._best is None:
            raise self._nothing()
        return self._finished(self._best)

    def _relaxed(
        self, least: Floats, most: Floats, near: Point | None = None, rounded: Ints | None = None
    ) -> Point | None:
        """The best point with divisible units that survives every loss, contracts between two bounds.

        Args:
            rounded: columns that will be rounded up: limits are tightened by what that may add.
        """
        while True:
            program = self._program.with_bounds(self._signed, least, most)
            if rounded is not None:
                program = program.with_room(self._linear.rounded_rows(program), rounded)
            point = program.relaxed(self._left_s(), near)
            rows = [] if point is None else self._linear.broken(point.x, SHORT * self._settings.gap)
            if point is None or not rows:
                return point
            if self._left_s() <= 0.0:
                return None
            near = point
            self._program = self._linear.with_rows(self._program, rows)
            self._report("relaxation")

    def _branch_on_contracts(self, root: Point) -> None:
        """Sign and do not sign, cheapest bound first; where contracts are whole, units are rounded up.

        The bound is the least over what is still open and over what was rounded.
        """
        count = itertools.count()
        opened = [(root.objective, next(count), root, np.zeros(len(self._signed)), np.ones(len(self._signed)))]
        rounded = math.inf
        while opened and self._gap() > self._settings.gap and self._left_s() > 0.0:
            bound, _, point, least, most = heapq.heappop(opened)
            signed = self._linear.signed(point.x)
            split = np.abs(signed - np.round(signed))
            if split.max(initial=0.0) <= WHOLE:
                rounded = min(rounded, bound)
                self._round(point, least, most)
            else:
                at = int(np.argmax(split))
                for low, high in ((1.0, 1.0), (0.0, 0.0)):
                    child = _replaced(least, at, low), _replaced(most, at, high)
                    below = self._relaxed(*child, point)
                    if below is not None:
                        heapq.heappush(opened, (max(bound, below.objective), next(count), below, *child))
            if self._left_s() <= 0.0:
                return  # a child without an answer may only have lacked time: nothing is proven by its absence
            open_bound = opened[0][0] if opened else math.inf
            self._bound = max(self._bound, min(rounded, open_bound, self._cost))
            self._report("contracts")

    def _round(self, point: Point, least: Floats, most: Floats) -> None:
        """Units up; where that breaks a limit, from points that leave room for what was not whole before."""
        nearest: Point | None = point
        rounded = np.zeros(0, dtype=np.int64)
        for _ in range(ROUNDINGS):
            if nearest is None or (self._try(np.ceil(nearest.x[self._whole] - WHOLE), nearest) and self._best):
                return
            rounded = np.union1d(rounded, self._divided(nearest))
            nearest = self._relaxed(least, most, nearest, rounded)

    def _divided(self, point: Point) -> Ints:
        """Columns of a point that should be whole and are not."""
        x = point.x[self._whole]
        divided: Ints = self._whole[np.ceil(x - WHOLE) > x + WHOLE]
        return divided

    def _try(self, whole: Floats, near: Point | None = None) -> bool:
        """Complete whole numbers to a plan and keep it if it is the cheapest so far; False: a loss is short."""
        point = self._program.with_bounds(self._whole, whole, whole).relaxed(self._left_s(), near)
        if point is None:
            return True
        rows = self._linear.broken(point.x)
        self._program = self._linear.with_rows(self._program, rows)
        if not rows and point.objective < self._cost:
            self._best, self._cost = point, point.objective
            self._report("rounding")
        return not rows

    def _branch(self) -> None:
        """Branch and bound, again while its answer breaks a loss's rows."""
        while self._gap() > self._settings.gap and self._left_s() > 0.0:
            settings, start = self._settings, None if self._best is None else self._best.x
            found = self._program.branched(settings.gap, self._left_s(), settings.threads, start, self._seen)
            nothing_better = found.finished and found.x is None
            self._bound = max(self._bound, self._cost if nothing_better else min(found.bound, self._cost))
            if found.x is None or self._try(np.round(found.x[self._whole])):
                return

    def _finished(self, best: Point) -> Solution:
        """The plan, its flows solved once more with the integers fixed, its money recomputed."""
        whole = np.round(best.x[self._whole])
        fixed = self._program.with_bounds(self._whole, whole, whole)
        point = fixed.relaxed(near=best)
        if point is None:
            raise InvariantError("a plan was found, but not again with its integers fixed")
        linear, problem = self._linear, self._linear.problem
        units, flow = linear.units_by_period(point.x), linear.flow(point.x)
        signed = frozenset(k.name for k, on in zip(problem.contracts, linear.signed(point.x), strict=True) if on > 0.5)
        paid = money(problem, units, flow, signed)
        bound_usd = min(self._bound * linear.money_usd, paid.objective_usd)
        gap = (paid.objective_usd - bound_usd) / paid.objective_usd if paid.objective_usd else 0.0
        late = gap > self._settings.gap + WHOLE
        ending = Ending.TIME_LIMIT if late else Ending.OPTIMAL
        return Solution(problem, ending, units, flow, signed, paid, bound_usd, gap, limit_prices(linear, fixed, point))

    def _nothing(self) -> HeadraceError:
        if self._left_s() <= 0.0:
            return NoPlanInTime(f"no plan was found within {self._settings.time_limit_s:g} s: allow more time")
        return infeasible(self._linear) if self._settings.explain else InfeasiblePlan([])

    def _left_s(self) -> float:
        return self._settings.time_limit_s - (time.perf_counter() - self._started_s)

    def _gap(self) -> float:
        """(cost - bound) / cost; infinite without a plan."""
        if not math.isfinite(self._cost):
            return math.inf
        return max(0.0, self._cost - self._bound) / abs(self._cost) if self._cost else 0.0

    def _seen(self, incumbent: float, bound: float) -> None:
        self._report("branch and bound", min(incumbent, self._cost), max(bound, self._bound))

    def _report(self, phase: str, cost: float | None = None, bound: float | None = None) -> None:
        cost, bound = self._cost if cost is None else cost, self._bound if bound is None else bound
        usd = self._linear.money_usd
        known = math.isfinite(cost)
        gap = max(0.0, cost - bound) / cost if known and cost > 0.0 else math.inf
        elapsed_s = time.perf_counter() - self._started_s
        self._watch(Progress(phase, cost * usd if known else None, bound * usd, gap, elapsed_s))


def _replaced(values: Floats, at: int, value: float) -> Floats:
    changed = values.copy()
    changed[at] = value
    return changed
