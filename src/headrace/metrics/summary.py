"""A run, summed up while it goes: every ended request and attempt is counted once and forgotten.

Memory does not grow with the run: latencies go into sketches, shares into windows, everything else into sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.errors import InvariantError
from headrace.fleet import Fleet, Pool, Share
from headrace.metrics import report
from headrace.metrics.period import PeriodMeter, period_meters
from headrace.metrics.record import AttemptRecord, RequestRecord
from headrace.metrics.share import ShareMeter
from headrace.metrics.sketch import QuantileSketch
from headrace.metrics.work import PoolRates, Rates, WorkRate
from headrace.sums import float_sum
from headrace.units import TOKENS_PER_MTOK
from headrace.workload import EndedTask, WorkloadClass

OUTCOMES: Final = ("completed", "rejected", "failed", "cancelled")

CapacityWork = float | Callable[[float, float], float | None] | None


@dataclass(slots=True)
class TaskTotals:
    """What is kept of one class's tasks: sessions with all that hangs on them."""

    count: int = 0
    completed: int = 0
    e2e: QuantileSketch = field(default_factory=QuantileSketch)


@dataclass(slots=True)
class ClassTotals:
    """What is kept of one workload class."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    met: int = 0
    output_tokens: int = 0
    e2e_sum_s: float = 0.0
    cost_usd: float = 0.0
    ttft: QuantileSketch = field(default_factory=QuantileSketch)
    tpot: QuantileSketch = field(default_factory=QuantileSketch)
    e2e: QuantileSketch = field(default_factory=QuantileSketch)
    tasks: TaskTotals | None = None

    @property
    def arrived(self) -> int:
        """Requests of this class, however they ended."""
        return sum(self.outcomes.values())


@dataclass(slots=True)
class PoolTotals:
    """What is kept of one pool.

    Attributes:
        requests: attempts that it was given; `rescues`, `hedges`: of those, how many were made for that reason.
    """

    requests: int = 0
    rescues: int = 0
    hedges: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    compute: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What records do not hold, given when the run is over.

    Attributes:
        end_s: when the run ended: only windows inside [0, end_s] are judged.
        seed: the run's root seed, where it has one.
        utilization: busy fraction of each pool; absent: unknown.
        pool_cost_usd: what a pool cost over the run, capacity included; absent: the sum of its attempts' costs.
        pool_energy_j: energy of each pool over the run. Shares of power need every pool's.
    """

    command: str
    end_s: float
    seed: int | None = None
    utilization: Mapping[str, float | None] = field(default_factory=dict)
    pool_cost_usd: Mapping[str, float | None] = field(default_factory=dict)
    pool_energy_j: Mapping[str, float | None] = field(default_factory=dict)
    policy: report.PolicyReport = field(default_factory=report.PolicyReport)


# TPOT is summed up over answers at least this long: in shorter ones one late byte is all.
TPOT_MIN_OUTPUT_TOKENS: Final = 8


class RunMetrics:
    """Streaming totals of one run.

    Args:
        rates: work of a request in the unit of each share of the fleet, by share name.
        compute_rate: reference seconds of a request for the pools' share of compute; None: that of the first share
            which measures compute, and undefined without one.
        capacity_work: by share name, see `ShareMeter`.
        period_rates: what a request uses of the fleet's commitments and budgets, by path and pool.
    """

    def __init__(
        self,
        fleet: Fleet,
        rates: Mapping[str, Rates],
        *,
        compute_rate: WorkRate | None = None,
        capacity_work: Mapping[str, CapacityWork] | None = None,
        period_rates: Mapping[str, PoolRates] | None = None,
    ) -> None:
        self.fleet = fleet
        self.classes = {name: ClassTotals() for name in fleet.classes}
        self.pools = {name: PoolTotals() for name in fleet.pools}
        bounds = capacity_work or {}
        self.shares = {
            name: ShareMeter(share.pools, rates[name], share.target, capacity_work=bounds.get(name))
            for name, share in fleet.shares.items()
        }
        self._compute_rate = compute_rate or _first_compute_rate(fleet, rates)
        self.periods = period_meters(fleet, period_rates or {})
        self._meters: tuple[ShareMeter | PeriodMeter, ...] = (*self.shares.values(), *self.periods.values())

    def request(self, record: RequestRecord) -> None:
        """Count one ended request. Raises InvariantError for an unknown class or outcome."""
        totals = self.classes.get(record.workload_class)
        if totals is None or record.outcome not in totals.outcomes:
            raise InvariantError(f"metrics: no such class or outcome: {record}")
        workload_class = self.fleet.classes[record.workload_class]
        totals.outcomes[record.outcome] += 1
        totals.cost_usd += record.cost_usd
        if record.outcome == "completed":
            self._completed(totals, workload_class, record)
        else:
            totals.e2e_sum_s += workload_class.timeout_s

    def attempt(self, record: AttemptRecord) -> None:
        """Count one ended attempt. Raises InvariantError for an unknown pool."""
        totals = self.pools.get(record.pool)
        if totals is None:
            raise InvariantError(f"metrics: no such pool: {record}")
        totals.requests += 1
        totals.rescues += record.reason == "rescue"
        totals.hedges += record.reason == "hedge"
        totals.input_tokens += record.input_tokens
        totals.cached_input_tokens += record.cached_input_tokens
        totals.output_tokens += record.output_tokens
        totals.cost_usd += record.cost_usd
        if self._compute_rate is not None:
            totals.compute += self._compute_rate.work(record.input_tokens, record.output_tokens)
        for meter in self._meters:
            meter.book(record)

    def task(self, ended: EndedTask) -> None:
        """Count one task that is over: one whose requests all completed has an end-to-end time."""
        totals = self.classes[ended.workload_class]
        tasks = totals.tasks = totals.tasks or TaskTotals()
        tasks.count += 1
        if ended.completed:
            tasks.completed += 1
            tasks.e2e.add(ended.end_s - ended.start_s)

    @property
    def j_usd(self) -> float:
        """J = sum over requests of marginal cost + value of time * E2E, in USD: what policies are compared by."""
        spent_usd = float_sum(totals.cost_usd for totals in self.classes.values())
        return spent_usd + float_sum(map(self._value_of_time_usd, self.classes))

    def finish(self, facts: RunFacts) -> report.Report:
        """Judge the windows that are left and write the report."""
        for meter in self.shares.values():
            meter.close(facts.end_s)
        costs = {name: facts.pool_cost_usd.get(name, totals.cost_usd) for name, totals in self.pools.items()}
        return report.Report(
            schema=report.SCHEMA,
            command=facts.command,
            seed=facts.seed,
            requests=self._requests(),
            shares={name: _share_report(self.fleet.shares[name], meter) for name, meter in self.shares.items()},
            classes={name: self._class_report(name) for name in self.classes},
            pools=self._pool_reports(facts, costs),
            cost=self._cost_report(costs),
            policy=facts.policy,
            commitments=self._period_reports("commitments", facts.end_s),
            budgets=self._period_reports("budgets", facts.end_s),
        )

    def _completed(self, totals: ClassTotals, workload_class: WorkloadClass, record: RequestRecord) -> None:
        ttft_s, tpot_s, e2e_s = record.ttft_s, record.tpot_s, record.e2e_s
        if e2e_s is None:
            raise InvariantError(f"metrics: a completed request without E2E: {record}")
        totals.e2e.add(e2e_s)
        if ttft_s is not None:
            totals.ttft.add(ttft_s)
        if tpot_s is not None and record.output_tokens >= TPOT_MIN_OUTPUT_TOKENS:
            totals.tpot.add(tpot_s)
        timeout_s = workload_class.timeout_s
        totals.met += e2e_s <= timeout_s and workload_class.slo.met(e2e_s if ttft_s is None else ttft_s, tpot_s)
        totals.e2e_sum_s += min(e2e_s, timeout_s)
        totals.output_tokens += record.output_tokens

    def _value_of_time_usd(self, class_name: str) -> float:
        return self.fleet.classes[class_name].value_of_time_usd_per_s * self.classes[class_name].e2e_sum_s

    def _requests(self) -> report.Requests:
        ended = {outcome: sum(t.outcomes[outcome] for t in self.classes.values()) for outcome in OUTCOMES}
        return report.Requests(arrived=sum(ended.values()), **ended)

    def _class_report(self, name: str) -> report.ClassReport:
        totals = self.classes[name]
        return report.ClassReport(
            count=totals.arrived,
            ttft_s=_quantiles(totals.ttft),
            tpot_s=_quantiles(totals.tpot),
            e2e_s=_quantiles(totals.e2e),
            slo_attainment=_fraction(totals.met, totals.arrived - totals.outcomes["cancelled"]),
            value_of_time_usd=self._value_of_time_usd(name),
            tasks=None if totals.tasks is None else _task_report(totals.tasks, totals.e2e_sum_s),
        )

    def _pool_reports(self, facts: RunFacts, costs: Mapping[str, float | None]) -> dict[str, report.PoolReport]:
        requests = _fractions({name: totals.requests for name, totals in self.pools.items()})
        tokens = _fractions({name: totals.output_tokens for name, totals in self.pools.items()})
        compute = _fractions({name: totals.compute for name, totals in self.pools.items()})
        spend = _fractions(costs)
        power = _fractions({name: facts.pool_energy_j.get(name) for name in self.pools})
        return {
            name: report.PoolReport(
                *_silicon(self.fleet.pools[name]),
                requests=totals.requests,
                output_tokens=totals.output_tokens,
                share=report.PoolShare(requests[name], tokens[name], compute[name], spend[name], power[name]),
                utilization=facts.utilization.get(name),
                cost_usd=costs[name],
            )
            for name, totals in self.pools.items()
        }

    def _period_reports(self, section: str, end_s: float) -> dict[str, report.PeriodReport]:
        found = ((path.partition("."), meter) for path, meter in self.periods.items())
        return {name: meter.report(end_s) for (kind, _, name), meter in found if kind == section}

    def _cost_report(self, costs: Mapping[str, float | None]) -> report.CostReport:
        known = [cost for cost in costs.values() if cost is not None]
        if len(known) < len(costs):
            return report.CostReport(None, None)
        tokens = sum(totals.output_tokens for totals in self.classes.values())
        total_usd = float_sum(known)
        return report.CostReport(total_usd, total_usd / tokens * TOKENS_PER_MTOK if tokens else None)


def _first_compute_rate(fleet: Fleet, rates: Mapping[str, Rates]) -> WorkRate | None:
    of_compute = (rates[name] for name, share in fleet.shares.items() if share.of == "compute")
    return next((rate for rate in of_compute if isinstance(rate, WorkRate)), None)


def _share_report(share: Share, meter: ShareMeter) -> report.ShareReport:
    reasons = {str(reason): meter.reasons[reason] for reason in sorted(meter.reasons)}
    windows = report.Windows(meter.judged, meter.feasible, reasons)
    return report.ShareReport(str(share.of), share.target, meter.realized, meter.worst_error_pp, windows)


def _silicon(pool: Pool) -> tuple[str | None, str | None]:
    accelerator = pool.deployment.accelerator
    return (None, None) if accelerator is None else (accelerator.name, str(accelerator.memory))


def _quantiles(sketch: QuantileSketch) -> report.Quantiles:
    return report.Quantiles(sketch.quantile(0.5), sketch.quantile(0.9), sketch.quantile(0.99))


def _task_report(tasks: TaskTotals, waited_s: float) -> report.TaskReport:
    return report.TaskReport(tasks.count, tasks.completed, _quantiles(tasks.e2e), waited_s / tasks.count)


def _fraction(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _fractions(parts: Mapping[str, float | None]) -> dict[str, float | None]:
    """Each part over the sum of all; undefined if any part is unknown or there is nothing to share."""
    known = [part for part in parts.values() if part is not None]
    whole = float_sum(known)
    if len(known) < len(parts) or whole <= 0:
        return dict.fromkeys(parts)
    return {name: None if part is None else part / whole for name, part in parts.items()}
