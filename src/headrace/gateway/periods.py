"""Where the periods of commitments and budgets stand when a gateway starts.

The engine knows no calendar and no past. So before anything else it is told, for each of them, how far its period is
and what was used in it, by the usage ledger of this gateway: a restart neither forgets what was spent nor spends it
twice. An attempt whose backend did not say what it used counts with the most that it may have used of a budget, and
the least of a commitment.
"""

from __future__ import annotations

from os import PathLike

from headrace.cost import period_rates
from headrace.fleet import Budget, Commitment, Fleet
from headrace.ledger import Entry, read_ledger
from headrace.metrics import PoolRates
from headrace.policy import PeriodResumed


class _Period:
    """One of them, and what was found of it."""

    def __init__(self, limit: Commitment | Budget, rates: PoolRates, now_unix_s: float) -> None:
        elapsed_s = now_unix_s - (limit.from_unix_s or 0.0)
        self.elapsed_s = elapsed_s % limit.per.seconds if elapsed_s > 0.0 else elapsed_s
        self.begun_unix_s = now_unix_s - self.elapsed_s
        self.used = 0.0
        self._limit = limit
        self._rates = rates

    def count(self, pool: str, entry: Entry) -> None:
        """Count what an attempt of this period used."""
        limit, rate, output = self._limit, self._rates.get(pool), entry.output_low
        if rate is None:
            return
        if isinstance(limit, Budget):
            if not limit.covers(pool, entry.workload_class):
                return
            output = output if entry.output_high is None else entry.output_high
        self.used += rate.work(entry.input_tokens, output, entry.cached_input_tokens or 0)


def resumed_periods(fleet: Fleet, ledger: str | PathLike[str], now_unix_s: float) -> list[PeriodResumed]:
    """What the engine is to be told of every commitment and budget; the ledger is read only if there is one.

    Args:
        now_unix_s: wall time of the engine's second 0.

    Raises:
        TraceError: the ledger cannot be read.
    """
    limits: dict[str, Commitment | Budget] = {f"commitments.{name}": each for name, each in fleet.commitments.items()}
    limits |= {f"budgets.{name}": each for name, each in fleet.budgets.items()}
    if not limits:
        return []
    rates = period_rates(fleet)
    periods = {path: _Period(limit, rates[path], now_unix_s) for path, limit in limits.items()}
    pools = {backend.name: backend.pool for backend in fleet.backends}
    for entry in read_ledger(ledger):
        pool, dispatched_s = pools.get(entry.backend), (entry.started_unix_s or 0.0) + entry.at_s
        for period in periods.values():
            if pool is not None and period.begun_unix_s <= dispatched_s:
                period.count(pool, entry)
    return [PeriodResumed(path, period.elapsed_s, period.used) for path, period in periods.items()]
