"""Counters: what requests and attempts add to, as plain numbers.

Latencies and money are kept by class, pool and tenant, each a `Series`. The first two are few; tenants come from
outside, so beyond `most` series those of new tenants are kept together, under the name that the tenants' own cap uses.

What is counted for every request is found with few look-ups: an attempt keeps its `Series` from its dispatch to its
end, and what its backend did is in one `Used`. First dispatches are those whose wait a series has observed.

Counters only grow, in the sum over all workers too: `snapshot` hands them to other processes, and `add` takes theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from headrace.fleet.tenants import OTHER_TENANTS
from headrace.policy import DispatchReason
from headrace.telemetry import Histogram, Labels

TTFT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
TPOT_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
QUEUE_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
HISTOGRAMS = ("ttft", "tpot", "duration", "queue")
COUNTED = ("requests", "later_dispatches")
LABELLED = ("refused", "rejections", "rescues", "value_captured_usd", "value_lost_usd")

FIRST = DispatchReason.FIRST
Key = tuple[str, str, str]  # class, pool, tenant


class Series:
    """Latencies and money of one class, pool and tenant."""

    __slots__ = ("duration", "queue", "spent_usd", "tpot", "ttft")

    def __init__(self) -> None:
        self.ttft = Histogram(TTFT_BUCKETS_S)
        self.tpot = Histogram(TPOT_BUCKETS_S)
        self.duration = Histogram(DURATION_BUCKETS_S)
        self.queue = Histogram(QUEUE_BUCKETS_S)
        self.spent_usd = 0.0

    def settle(self) -> None:
        """Count what was observed."""
        for histogram in (self.ttft, self.tpot, self.duration, self.queue):
            histogram.settle()


class Used(msgspec.Struct, array_like=True):
    """One backend: its attempts that ended, by outcome, and tokens as it counted them (cached ones are input too)."""

    attempts: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0


class SeriesCounts(msgspec.Struct, frozen=True, array_like=True):
    """A `Series` as it is handed to other processes: of each histogram its counts by bucket, and the sum."""

    key: Key
    histograms: tuple[tuple[list[int], float], ...]
    spent_usd: float


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """What `Counters` have counted, as it is handed to other processes."""

    counted: tuple[dict[str, dict[str, int]], ...]
    labelled: tuple[dict[str, float], ...]
    ledger_faults: int
    used: dict[str, Used]
    series: list[SeriesCounts]


class Counters:
    """Everything that only grows.

    Attributes:
        requests: by class and outcome; later_dispatches: by pool and reason, without the first ones.
        used: by backend.
        refused, rejections, rescues: by reason or outcome.
        value_captured_usd, value_lost_usd: by pool.
    """

    __slots__ = (
        *COUNTED,
        *LABELLED,
        "_most",
        "ledger_faults",
        "series",
        "used",
    )

    def __init__(self, most: int) -> None:
        """
        Args:
            most: of series; those of all classes and pools for `OTHER_TENANTS` come on top.
        """
        self._most = most
        self.requests: dict[tuple[str, str], int] = defaultdict(int)
        self.later_dispatches: dict[tuple[str, str], int] = defaultdict(int)
        self.refused: dict[str, float] = defaultdict(int)
        self.rejections: dict[str, float] = defaultdict(int)
        self.rescues: dict[str, float] = defaultdict(int)
        self.value_captured_usd: dict[str, float] = defaultdict(float)
        self.value_lost_usd: dict[str, float] = defaultdict(float)
        self.ledger_faults = 0
        self.used: dict[str, Used] = {}
        self.series: dict[Key, Series] = {}

    def of(self, workload_class: str, pool: str, tenant: str) -> Series:
        """The series of these names."""
        found = self.series.get((workload_class, pool, tenant))
        return found or self._new(workload_class, pool, tenant)

    def _new(self, workload_class: str, pool: str, tenant: str) -> Series:
        if len(self.series) >= self._most:
            tenant = OTHER_TENANTS
        return self.series.setdefault((workload_class, pool, tenant), Series())

    def know_backends(self, names: Iterable[str]) -> None:
        """There are these backends, too."""
        for name in names:
            self.used.setdefault(name, Used())

    @property
    def attempts(self) -> dict[tuple[str, str], int]:
        """Attempts ended, by backend and outcome."""
        return {(name, outcome): n for name, used in self.used.items() for outcome, n in used.attempts.items()}

    @property
    def dispatches(self) -> dict[tuple[str, str], int]:
        """Attempts dispatched, by pool and reason."""
        found = defaultdict(int, self.later_dispatches)
        for (_, pool, _), series in self.series.items():
            first = sum(series.queue.counts)
            if first:
                found[pool, FIRST] += first
        return found

    def snapshot(self) -> Counts:
        """All of it as plain values."""
        return Counts(
            tuple(_nested(getattr(self, name)) for name in COUNTED),
            tuple(dict(getattr(self, name)) for name in LABELLED),
            self.ledger_faults,
            {name: msgspec.structs.replace(used, attempts=dict(used.attempts)) for name, used in self.used.items()},
            [_counts(key, series) for key, series in self.series.items()],
        )

    def add(self, counts: Counts) -> None:
        """Add what another process, or this one's predecessor, has counted."""
        for name, nested in zip(COUNTED, counts.counted, strict=True):
            held = getattr(self, name)
            for first, by_second in nested.items():
                for second, count in by_second.items():
                    held[first, second] += count
        for name, given in zip(LABELLED, counts.labelled, strict=True):
            by_label = getattr(self, name)
            for label, amount in given.items():
                by_label[label] += amount
        self.ledger_faults += counts.ledger_faults
        self.know_backends(counts.used)
        for backend, theirs in counts.used.items():
            ours = self.used[backend]
            for outcome, count in theirs.attempts.items():
                ours.attempts[outcome] += count
            ours.input_tokens += theirs.input_tokens
            ours.cached_input_tokens += theirs.cached_input_tokens
            ours.output_tokens += theirs.output_tokens
        for each in counts.series:
            series = self.of(*each.key)
            series.spent_usd += each.spent_usd
            for name, (buckets, total) in zip(HISTOGRAMS, each.histograms, strict=True):
                getattr(series, name).add(buckets, total)


def series_labels(key: Key) -> Labels:
    """Labels of a series."""
    return ("class", key[0]), ("pool", key[1]), ("tenant", key[2])


def _counts(key: Key, series: Series) -> SeriesCounts:
    held: list[Histogram] = [getattr(series, name) for name in HISTOGRAMS]
    return SeriesCounts(key, tuple((each.counts, each.total) for each in held), series.spent_usd)


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (name, outcome), count in counts.items():  # outcomes may be members of enumerations
        nested.setdefault(name, {})[str(outcome)] = count
    return nested
