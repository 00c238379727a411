"""A scenario: one full set of a planner's inputs. Who will ask for what, what could serve it, and what must hold.

Nothing here is worked out: speeds are the affair of `perf`, money that of `cost`, and `plan.build` puts the numbers
together. Every constraint carries the reason that its author gave, because that is what a conflict, or a price, is
reported with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from headrace.fleet.dates import MONTHS_PER_YEAR, add_months
from headrace.fleet.deployment import Deployment
from headrace.fleet.fleet import ShareUnit as ShareUnit
from headrace.fleet.terms import Contract, Terms

if TYPE_CHECKING:  # as in `fleet.fleet`
    from headrace.workload import WorkloadClass


@dataclass(frozen=True, slots=True)
class Horizon:
    """What the plan is for.

    Attributes:
        start: first day.
        years: length.
        stage_months: how often what is held may change, a divisor of 12. What comes live within a stage is counted
            from the next one on.
        days_in_cycle: 1: every day is alike; 7: every week is.
        period_hours: hours of the cycle that are planned as one, a divisor of 24.
    """

    start: date
    years: int
    stage_months: int = 12
    days_in_cycle: int = 7
    period_hours: int = 1

    @property
    def end(self) -> date:
        """The first day after it."""
        return add_months(self.start, self.years * MONTHS_PER_YEAR)


@dataclass(frozen=True, slots=True)
class LengthBucket:
    """Requests of about one size; `fraction`: their part of the class's requests."""

    input_tokens: float
    output_tokens: float
    fraction: float


@dataclass(frozen=True, slots=True)
class StatedDemand:
    """Sizes and rates as given.

    Attributes:
        profile: relative rate of each hour of the cycle, from Monday 00:00 on: 1, 24 or 168 numbers.
    """

    buckets: tuple[LengthBucket, ...]
    requests_per_day: float
    profile: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class TraceDemand:
    """Sizes and rates of a trace, cut into `buckets` (of input, of output) of equal weight.

    Attributes:
        path: as `traces.open_trace` takes it.
        requests_per_day: what the trace's mean rate is scaled to; None: as recorded.
    """

    path: str
    buckets: tuple[int, int]
    requests_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class GeneratedDemand:
    """As `TraceDemand`, of a generator's traffic (`workload.GENERATED`) over `duration_s`."""

    generator: str
    buckets: tuple[int, int]
    duration_s: float
    seed: int = 0
    requests_per_day: float | None = None


Demand = StatedDemand | TraceDemand | GeneratedDemand


@dataclass(frozen=True, slots=True)
class PlannedClass:
    """A workload class, its demand, and what may serve it.

    Attributes:
        e2e_s: end-to-end latency, at most; None: no threshold. The SLO's attainment holds for it too.
        models: any of them will do.
        growth_per_year: 0.5: half as much again every year.
        cached_input_fraction: part of the input that a prefix cache finds, where there is one.
        cache_hold_s: how long a prefix must be kept for that between two requests.
        burstiness: variance over mean of the arrivals within a request's stay; 1: Poisson.
        degraded_ttft_s, degraded_tpot_s: what is accepted while a vendor or a site is lost; None: the SLO's own.
    """

    workload_class: WorkloadClass
    demand: Demand
    models: tuple[str, ...]
    e2e_s: float | None = None
    growth_per_year: float = 0.0
    cached_input_fraction: float = 0.0
    cache_hold_s: float = 0.0
    burstiness: float = 1.0
    degraded_ttft_s: float | None = None
    degraded_tpot_s: float | None = None

    @property
    def name(self) -> str:
        """The class's name."""
        return self.workload_class.name


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate: a deployment on terms, at a site.

    Attributes:
        name: `CANDIDATE` or, where a candidate is had on several terms, `CANDIDATE.TERMS`.
        candidate: the name of its table in the scenario.
        vendor: who fails, or raises prices, as one.
        available_from: first day; None: from the start.
        max_accelerators: as many as can be had; None: no limit. `min_accelerators`: so many are there in any case.
        utilization: part of its time that may be planned with, besides the room that queueing needs.
        pooled_units: units behind one queue that waits are worked out for: more of them wait less.
    """

    name: str
    candidate: str
    deployment: Deployment
    terms: Terms
    vendor: str
    site: str
    available_from: date | None = None
    max_accelerators: float | None = None
    min_accelerators: float = 0.0
    utilization: float = 1.0
    pooled_units: int = 1

    @property
    def silicon(self) -> str:
        """What serves: the accelerator's name, or the vendor's where nobody outside knows."""
        chip = self.deployment.accelerator
        return self.vendor if chip is None else chip.name


@dataclass(frozen=True, slots=True)
class Selection:
    """Offers by any of their traits; those that one of them names are in."""

    candidates: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    silicon: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()

    def holds(self, offer: Offer) -> bool:
        """Whether the offer is in."""
        return (
            offer.candidate in self.candidates
            or offer.vendor in self.vendors
            or offer.silicon in self.silicon
            or offer.site in self.sites
        )


@dataclass(frozen=True, slots=True)
class ShareRule:
    """What the selected offers do, of all that is done.

    A plan counts what is held: `spend` is all USD of the horizon, minima of contracts included, and `power` the watts
    of held units, weighted by hours.

    Attributes:
        reference: the deployment whose seconds measure `compute`.
        year: 0 for the first year only, and so on; None: over the horizon.
    """

    name: str
    reason: str
    of: ShareUnit
    selection: Selection
    at_least: float | None = None
    at_most: float | None = None
    reference: Deployment | None = None
    year: int | None = None


@dataclass(frozen=True, slots=True)
class PowerRule:
    """Most watts at the meter of a site (None: of everything that is held); one figure, or one a year."""

    name: str
    reason: str
    max_w: tuple[float, ...]
    site: str | None = None


@dataclass(frozen=True, slots=True)
class ConcentrationRule:
    """No vendor, or this one, above `at_most` of all `of`: power or spend."""

    name: str
    reason: str
    of: ShareUnit
    at_most: float
    vendor: str | None = None


class Loss(StrEnum):
    """What is lost."""

    ANY_VENDOR = "any_vendor"
    ANY_SITE = "any_site"
    VENDOR = "vendor"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class SurvivalRule:
    """What is still served while a vendor or a site is gone.

    Attributes:
        who: the vendor or site; None where any is meant.
        level: by class, part of its requests; a class that is missing may be dropped.
        utilization: part of the time of what is left that may be used then.
    """

    name: str
    reason: str
    lose: Loss
    level: dict[str, float]
    who: str | None = None
    utilization: float = 1.0


@dataclass(frozen=True, slots=True)
class ResidencyRule:
    """These classes are served at these sites only."""

    name: str
    reason: str
    classes: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """Most money, in one year (from 0) or over the horizon."""

    name: str
    reason: str
    max_usd: float
    year: int | None = None


Rule = ShareRule | PowerRule | ConcentrationRule | SurvivalRule | ResidencyRule | BudgetRule


class Speed(StrEnum):
    """Which side of the speed model's interval is planned with."""

    EXPECTED = "expected"
    UNFAVOURABLE = "unfavourable"


@dataclass(frozen=True, slots=True)
class Interval:
    """Factors on a figure: 80 % of futures lie between them."""

    low: float = 1.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What is not known.

    Attributes:
        demand: factor on all rates; `growth`: on the rate per year of growth; `price`: on everything paid.
        speed: the figure that is planned with; futures draw from the model's interval.
        futures: sampled ones; a plan may miss an SLO in `miss_chance` of them.
    """

    demand: Interval = Interval()
    growth: Interval = Interval()
    price: Interval = Interval()
    speed: Speed = Speed.EXPECTED
    futures: int = 0
    miss_chance: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SolverLimits:
    """When the solver may stop: `gap` of the objective, or time."""

    gap: float = 0.01
    time_limit_s: float = 300.0


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """How a plan is proven by simulation.

    Attributes:
        duration_s: simulated seconds of the busiest period.
        load: how far the rising load goes, in planned peaks.
        bad_day: demand of a bad day, in planned peaks.
        max_requests: a run is thinned, fleet and traffic alike, to at most so many.
        rounds: how often a plan that misses is tightened and solved again.
    """

    duration_s: float = 600.0
    load: float = 1.2
    bad_day: float = 1.5
    max_requests: int = 20_000
    rounds: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it. Names are unique within their kind.

    Attributes:
        requests_per_day: what all classes together are scaled to, at the start; None: as each says.
        discount_rate: for the present value of a plan; 0: a dollar is a dollar in every year.
    """

    name: str
    horizon: Horizon
    classes: tuple[PlannedClass, ...]
    offers: tuple[Offer, ...]
    contracts: dict[str, Contract] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    requests_per_day: float | None = None
    discount_rate: float = 0.0
    uncertainty: Uncertainty = Uncertainty()
    solver: SolverLimits = SolverLimits()
    proof: ProofSettings = ProofSettings()
