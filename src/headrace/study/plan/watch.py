"""Watches the requests of a run end: which of them met what the plan promised, when, and at which cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.fleet.scenario import PlannedClass
from headrace.metrics import RequestRecord
from headrace.metrics.report import Quantiles
from headrace.metrics.sketch import QuantileSketch
from headrace.plan.uses import thresholds


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a run that is judged: requests that arrive in [from_s, to_s)."""

    from_s: float
    to_s: float

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.to_s - self.from_s

    def holds(self, at_s: float) -> bool:
        """Whether a request that arrives then is judged."""
        return self.from_s <= at_s < self.to_s


@dataclass(slots=True)
class Sketches:
    """Latencies of what completed in the judged stretch."""

    ttft: QuantileSketch = field(default_factory=QuantileSketch)
    tpot: QuantileSketch = field(default_factory=QuantileSketch)
    e2e: QuantileSketch = field(default_factory=QuantileSketch)


class ClassWatch:
    """One class: requests and how many met the thresholds, slice by slice of the run, and in the judged stretch."""

    def __init__(self, planned: PlannedClass, slices: int) -> None:
        self._usual, self._degraded = thresholds(planned, lost=False), thresholds(planned, lost=True)
        self.arrived = [0] * slices
        self.met = [0] * slices
        self.judged = 0
        self.judged_met = 0
        self.latency = Sketches()

    def count(self, record: RequestRecord, number: int, *, judged: bool, lost: bool) -> None:
        """Count one request, in slice `number`; `lost`: it came after the loss."""
        met = self._meets(record, lost)
        self.arrived[number] += 1
        self.met[number] += met
        if judged:
            self.judged += 1
            self.judged_met += met
            self._add(record)

    def _meets(self, record: RequestRecord, lost: bool) -> bool:
        ttft_s, tpot_s, e2e_s = self._degraded if lost else self._usual
        if record.outcome != "completed" or record.e2e_s is None or record.e2e_s > e2e_s:
            return False
        first_s = record.e2e_s if record.ttft_s is None else record.ttft_s
        return first_s <= ttft_s and (record.tpot_s is None or record.tpot_s <= tpot_s)

    def _add(self, record: RequestRecord) -> None:
        if record.outcome == "completed":
            for sketch, value in (
                (self.latency.ttft, record.ttft_s),
                (self.latency.tpot, record.tpot_s),
                (self.latency.e2e, record.e2e_s),
            ):
                if value is not None:
                    sketch.add(value)


class RunWatch:
    """All classes of a run.

    Attributes:
        start_s: when the run begins; what comes before warms caches and is not counted. All times here count from it.
        cost_usd: marginal cost of the judged requests; `waiting_usd`: the value of the time that they took.
        cut: requests that came before the loss and failed.
    """

    def __init__(
        self,
        classes: tuple[PlannedClass, ...],
        duration_s: float,
        slices: int,
        judged: Stretch,
        lost_at_s: float | None,
        start_s: float = 0.0,
    ) -> None:
        self.start_s = start_s
        self.classes = {one.name: ClassWatch(one, slices) for one in classes}
        self.judged = judged
        self.requests = 0
        self.cost_usd = 0.0
        self.waiting_usd = 0.0
        self._value = {one.name: one.workload_class.value_of_time_usd_per_s for one in classes}
        self.cut = 0
        self._slice_s = duration_s / slices
        self._last = slices - 1
        self._lost_at_s = lost_at_s

    def __call__(self, record: RequestRecord) -> None:
        """A request has ended."""
        arrival_s = record.arrival_s - self.start_s
        if arrival_s < 0.0:
            return
        self.requests += 1
        judged, lost = self.judged.holds(arrival_s), self._lost_at_s is not None and arrival_s >= self._lost_at_s
        number = min(int(arrival_s / self._slice_s), self._last)
        self.classes[record.workload_class].count(record, number, judged=judged, lost=lost)
        if judged:
            self.cost_usd += record.cost_usd
            self.waiting_usd += self._value[record.workload_class] * (record.e2e_s or 0.0)
        if self._lost_at_s is not None and not lost and record.outcome == "failed":
            self.cut += 1


def quantiles(sketch: QuantileSketch) -> Quantiles:
    """As reports show them."""
    return Quantiles(sketch.quantile(0.5), sketch.quantile(0.9), sketch.quantile(0.99))
