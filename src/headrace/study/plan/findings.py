"""What a simulation of a plan found, beside what the plan promised: typed, and as it stands in the JSON."""

from __future__ import annotations

from math import sqrt

import msgspec

from headrace.metrics.report import Quantiles

Z = 1.96  # of a normal distribution: 95 % two-sided


class Interval(msgspec.Struct, frozen=True):
    """A part of a sample, and where that part of all lies with 95 % confidence (Wilson 1927)."""

    value: float
    low: float
    high: float


class ClassFinding(msgspec.Struct, frozen=True):
    """One class in the judged stretch of a run.

    Attributes:
        requests: that arrived in it; `attainment`: part of them that met every threshold; None where none arrived.
        promised: attainment that the plan was made for; None: nothing was promised.
        kept: False where even the upper end of the interval lies below what was promised.
        planned_ttft_s, planned_tpot_s, planned_e2e_s: means that the plan expects; None where it serves none.
    """

    workload_class: str
    requests: int
    attainment: Interval | None
    promised: float | None
    kept: bool
    ttft_s: Quantiles
    tpot_s: Quantiles
    e2e_s: Quantiles
    planned_ttft_s: float | None = None
    planned_tpot_s: float | None = None
    planned_e2e_s: float | None = None


class LoadStep(msgspec.Struct, frozen=True):
    """A slice of a run: its mean load in planned peaks, and each class's attainment in it (None: nobody came)."""

    load: float
    attainment: dict[str, float | None]


class ShareFinding(msgspec.Struct, frozen=True):
    """A steered share: what the plan came to, and what the run did."""

    name: str
    of: str
    planned: float
    realized: float | None


class RunFinding(msgspec.Struct, frozen=True):
    """One simulation of a plan.

    Attributes:
        kind: `peak`, `loss` or `bad_day`.
        lost: what is gone from `lost_at_s` on.
        load: of the judged stretch, in planned peaks.
        fraction: part of fleet and traffic that was simulated; `notes` say what had to be rounded.
        cut: requests that broke when the loss happened.
        planned_usd_per_h, usd_per_h: of the whole fleet at that load; None where they do not compare.
        planned_waiting_usd_per_h, waiting_usd_per_h: likewise, the value of its users' time.
    """

    kind: str
    name: str
    load: float
    duration_s: float
    fraction: float
    requests: int
    classes: list[ClassFinding]
    steps: list[LoadStep]
    shares: list[ShareFinding]
    lost: list[str] = []
    lost_at_s: float | None = None
    cut: int = 0
    planned_usd_per_h: float | None = None
    usd_per_h: float | None = None
    planned_waiting_usd_per_h: float | None = None
    waiting_usd_per_h: float | None = None
    notes: list[str] = []

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(each.kept for each in self.classes)

    @property
    def missed(self) -> tuple[str, ...]:
        """Classes whose promise was not."""
        return tuple(each.workload_class for each in self.classes if not each.kept)


class Round(msgspec.Struct, frozen=True):
    """One plan on the way: what it costs, which promises its simulation missed, and what was tightened for the next.

    Attributes:
        missed: `RUN: CLASS`, by name.
        tightened: what may be used of an offer, or after a loss, from the next round on.
    """

    spent_usd: float
    missed: list[str]
    tightened: dict[str, float] = {}


class Proof(msgspec.Struct, frozen=True):
    """How the plan that is shown did in simulation, and the plans before it.

    Attributes:
        verdict: `kept`, `missed` (what it promises, it does not keep) or `not proven`.
    """

    verdict: str
    rounds: list[Round] = []
    runs: list[RunFinding] = []
    period: str = ""
    note: str = ""


def wilson(met: int, arrived: int) -> Interval | None:
    """The part `met / arrived` with its 95 % interval; None of nothing."""
    if not arrived:
        return None
    part, square = met / arrived, Z * Z / arrived
    centre = (part + square / 2.0) / (1.0 + square)
    half = Z * sqrt(part * (1.0 - part) / arrived + square / (4.0 * arrived)) / (1.0 + square)
    return Interval(part, min(part, max(0.0, centre - half)), max(part, min(1.0, centre + half)))
