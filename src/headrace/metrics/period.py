"""What attempts used of an amount per period: of a commitment, or of a budget.

An ended attempt is booked in the period of its dispatch. Periods are counted from the beginning of the run.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.fleet import Budget, Commitment, Fleet
from headrace.metrics.record import AttemptRecord
from headrace.metrics.report import PeriodReport
from headrace.metrics.work import PoolRates


class PeriodMeter:
    """Measures one of them.

    Attributes:
        used: by number of the period.
    """

    def __init__(self, limit: Commitment | Budget, rates: PoolRates) -> None:
        """
        Args:
            rates: what a request uses of it, on each pool that it covers.
        """
        self._limit = limit
        self._rates = rates
        self._classes = frozenset(limit.classes) if isinstance(limit, Budget) else frozenset[str]()
        self.used: dict[int, float] = {}

    def book(self, attempt: AttemptRecord) -> None:
        """Book what an ended attempt used, in the period in which it was dispatched."""
        rate = self._rates.get(attempt.pool)
        if rate is None or (self._classes and attempt.workload_class not in self._classes):
            return
        period = int(attempt.dispatch_s // self._limit.per.seconds)
        work = rate.work(attempt.input_tokens, attempt.output_tokens, attempt.cached_input_tokens)
        self.used[period] = self.used.get(period, 0.0) + work

    def report(self, end_s: float) -> PeriodReport:
        """What was used until the end of the run."""
        limit = self._limit
        last = max([int(end_s // limit.per.seconds), *self.used])
        used = [self.used.get(period, 0.0) for period in range(last + 1)]
        unit, amount = ("usd", limit.usd) if isinstance(limit, Budget) else (str(limit.unit), limit.amount)
        even = amount * end_s / limit.per.seconds
        return PeriodReport(unit, amount, str(limit.per), used, sum(used) / even if even > 0.0 else None)


def period_meters(fleet: Fleet, rates: Mapping[str, PoolRates]) -> dict[str, PeriodMeter]:
    """A meter for every commitment and budget of the fleet that has rates, by the path of its table."""
    limits: dict[str, Commitment | Budget] = {f"commitments.{name}": each for name, each in fleet.commitments.items()}
    limits |= {f"budgets.{name}": each for name, each in fleet.budgets.items()}
    return {path: PeriodMeter(limit, rates[path]) for path, limit in limits.items() if path in rates}
