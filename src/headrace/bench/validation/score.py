"""How far predictions are from what was measured: one score for each group of rows and way of judging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, log
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row is a measurement of, for charts.

    Attributes:
        quantity: `TPOT`, `TTFT` (seconds), or `tokens/s`.
        silicon: the accelerator, or the vendor where a row has no other.
        software: model server or release; empty where it is not known.
        load: lengths and concurrency, for people.
    """

    quantity: str
    silicon: str
    model: str
    software: str
    load: str


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction beside its measurement, in the same unit.

    Attributes:
        group: what scores are kept apart by: a vendor, a chip.
        judged: `in sample`, `left out` or `later`: what the fit had seen.
        low, high: the 80 % interval of the prediction; None where the section has none.
        subject: None for a figure that sums up other rows.
    """

    group: str
    label: str
    judged: str
    predicted: float
    measured: float
    low: float | None = None
    high: float | None = None
    subject: Subject | None = None

    @property
    def error(self) -> float:
        """Relative error, signed: 0.1 is ten percent too high."""
        return self.predicted / self.measured - 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of the rows of one group, judged one way.

    Attributes:
        median_error, p90_error, max_error: of the absolute relative error.
        bias: median of predicted / measured, less 1.
        within_25: share of rows within 25 %.
        inside: share of measurements inside the 80 % interval; None without one.
    """

    group: str
    judged: str
    n: int
    median_error: float
    p90_error: float
    max_error: float
    bias: float
    within_25: float
    inside: float | None


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the validation.

    Attributes:
        parameters, points: free parameters of the fit, and the rows that it saw.
        notes: what to know before the numbers are quoted: drift, exclusions with their reasons.
    """

    name: str
    about: str
    parameters: int
    points: int
    scores: list[Score]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scores(rows: Sequence[Row], overall: str | None = "all") -> list[Score]:
    """A score for each group and way of judging, in order of appearance, after one over all groups."""
    found = []
    for judged in _distinct(rows, lambda row: row.judged):
        chosen = [row for row in rows if row.judged == judged]
        if overall is not None:
            found.append(score_of(overall, judged, chosen))
        for group in _distinct(chosen, lambda row: row.group):
            found.append(score_of(group, judged, [row for row in chosen if row.group == group]))
    return found


def score_of(group: str, judged: str, rows: Sequence[Row]) -> Score:
    """The errors of these rows, under that name."""
    errors = [abs(row.error) for row in rows]
    bounded = [row.low <= row.measured <= row.high for row in rows if row.low is not None and row.high is not None]
    return Score(
        group=group,
        judged=judged,
        n=len(rows),
        median_error=median(errors),
        p90_error=quantiles(errors, n=10, method="inclusive")[-1] if len(errors) > 1 else errors[0],
        max_error=max(errors),
        bias=exp(median(log(row.predicted / row.measured) for row in rows)) - 1.0,
        within_25=sum(error <= 0.25 for error in errors) / len(errors),
        inside=sum(bounded) / len(bounded) if bounded else None,
    )


def _distinct(rows: Iterable[Row], of: Callable[[Row], str]) -> list[str]:
    return list(dict.fromkeys(of(row) for row in rows))
