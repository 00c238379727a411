"""The price of a budget: what a dollar costs that is short.

While spending is ahead of its pace (`pace.py`) a request pays lambda * spend on top, on every candidate where it spends
the budget, so what gains least from a dear pool goes to a cheaper one first. `scale` is what it has saved so far to
spend a dollar: score of the thriftiest candidate less that of the cheapest, per dollar of difference.

A price cannot refuse. A *hard* budget does: a candidate drops out whose expected spend does not fit into what is left,
in flight included; a request that has no other is turned away until the period ends. What was spent can then exceed
the budget only by what those in flight at its end turned out to cost beyond what was expected of them.
"""

from __future__ import annotations

from headrace.fleet import Budget
from headrace.metrics import WorkRate
from headrace.policy.limit import Best
from headrace.policy.pace import Pace, PacedPrice
from headrace.policy.pricing import BackendState
from headrace.policy.state import RequestState

HIGHEST = 20.0  # of its scale: a budget that cannot be kept leaves no price that takes long to fall
MEMORY = 0.995  # of a choice's weight in the scale, at the next one


class BudgetPrice(PacedPrice):
    """Holds the spending of one budget back.

    Attributes:
        hard: whether it refuses, too.
    """

    def __init__(self, budget: Budget, rates: tuple[WorkRate | None, ...], steers: bool) -> None:
        """
        Args:
            steers: prices choose; else it only refuses.
        """
        pace, start = Pace(budget.usd, budget.per.seconds), budget.starting_price_usd if steers else 0.0
        super().__init__(f"budgets.{budget.name}", "usd", pace, rates, start)
        self.hard = budget.hard
        self._classes = frozenset(budget.classes)
        self._start = start
        self._saved_usd = 0.0
        self._spent_usd = 0.0

    def covers(self, request: RequestState) -> bool:
        """Whether it is for the request's class."""
        return not self._classes or request.workload_class.name in self._classes

    def bounds(self) -> tuple[float, float]:
        """From none to a multiple of its scale."""
        return 0.0, max(HIGHEST * self.scale_usd_per_unit, self._start)

    def refuses(self, request: RequestState, backend: BackendState) -> bool:
        """Whether the request's expected spend there does not fit into what is left of a hard budget."""
        use = self.use(request, backend)
        return use > 0.0 and self.pace.used + use > self.pace.amount

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add the price, and learn what a dollar saves."""
        if not self.covers(request):
            return bests
        uses = [self.use(request, best[3]) for best in bests]
        self._learn(bests, uses)
        price = self.lambda_usd_per_unit
        if not price:
            return bests
        return [(best[0] + price * use, *best[1:]) for best, use in zip(bests, uses, strict=True)]

    def _learn(self, bests: list[Best], uses: list[float]) -> None:
        numbers = range(len(bests))
        cheapest = min(numbers, key=lambda k: bests[k][:2])
        thriftiest = min(numbers, key=lambda k: (uses[k], bests[k][:2]))
        if uses[thriftiest] < uses[cheapest]:
            self._saved_usd = MEMORY * self._saved_usd + bests[thriftiest][0] - bests[cheapest][0]
            self._spent_usd = MEMORY * self._spent_usd + uses[cheapest] - uses[thriftiest]
            self.scale_usd_per_unit = self._saved_usd / self._spent_usd
