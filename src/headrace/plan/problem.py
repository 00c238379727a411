"""The planning problem, in numbers: what demand there is, what could serve it, on which terms, and what must hold.

Everything here is already worked out (speeds from `perf`, money from `cost`), so that the optimisation model reads like
its mathematics and can be tested against brute force on tiny instances. `plan.build` makes it from a scenario.

    cells       demand of one workload class and one bucket of lengths; requests/s in each period
    periods     stretches of the horizon with steady demand (an hour of the week), each standing for `hours` of a stage
    stages      years, or the times between dates on which capacity comes live; units may change from stage to stage
    candidates  a deployment on terms: what can be had in whole units (replicas), or by the token
    contracts   signed or not: minima of units or of spend over the candidates that they cover (take-or-pay)

The objective is money over the whole horizon: the hours of units, tokens, energy, what contracts ask for if less is
used, and, where a class sets a value of time, the seconds that its users wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.fleet.scenario import ShareUnit as ShareUnit


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of the horizon in which demand is steady: `hours` of it, in stage number `stage`."""

    name: str
    stage: int
    hours: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Demand of one class and one bucket of lengths.

    Attributes:
        rate_per_s: requests per second, one figure a period.
        work: what one request counts in each unit that a share can be of; `compute` in reference seconds.
        value_of_time_usd_per_s: what a second of waiting costs its user; 0: money only.
    """

    workload_class: str
    bucket: str
    input_tokens: float
    output_tokens: float
    rate_per_s: tuple[float, ...]
    work: dict[ShareUnit, float] = field(default_factory=dict)
    value_of_time_usd_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Use:
    """What one request of a cell takes of a candidate, at the fastest-filled state that still meets the cell's SLO.

    Attributes:
        unit_s: seconds of a whole unit that the request occupies; 0 for what is bought by the token.
        usd: what the request itself adds: tokens at their price, energy of its unit-seconds.
        e2e_s: predicted end-to-end latency; ttft_s and tpot_s likewise.
        degraded_unit_s: as `unit_s`, at the service level that is accepted while a vendor or site is lost; None: it
            cannot serve this cell even then.
    """

    unit_s: float
    usd: float
    ttft_s: float
    tpot_s: float
    e2e_s: float
    degraded_unit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment on terms.

    Attributes:
        uses: by cell index; a cell that is missing cannot be served here within its SLO (or may not, by residency).
        usd_per_unit_hour: of holding a unit for an hour, in each stage, used or not; 0 by the token.
        unit_w: power at the meter of one unit that is held (all-in, PUE included); 0: somebody else's.
        elastic: the number of units may change from period to period (on demand, spot); else from stage to stage.
        keeps: once held, a unit stays to the end (owned, committed): units never fall from stage to stage.
        max_units: most units that can be had, in each stage (lead times, tranches, the market); None: no limit.
        min_units: least units, in each stage.
        utilization: part of its unit-seconds that may be planned with: the rest is room for bursts and queues.
        availability: part of the time that a unit is there (spot: 1 - interruptions).
        requests_per_s, tokens_per_s: rate limits of an API over all cells, in each period; None: none.
        contract: the candidate can be had only if this contract is signed; None: it needs none.
    """

    name: str
    vendor: str
    silicon: str
    site: str
    uses: dict[int, Use]
    usd_per_unit_hour: tuple[float, ...] = ()
    unit_w: float = 0.0
    elastic: bool = False
    keeps: bool = False
    max_units: tuple[float | None, ...] = ()
    min_units: tuple[float, ...] = ()
    utilization: float = 1.0
    availability: float = 1.0
    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    contract: str | None = None

    @property
    def by_token(self) -> bool:
        """Whether it is bought by the token: no units, nothing to pay when idle."""
        return not self.usd_per_unit_hour


@dataclass(frozen=True, slots=True)
class Contract:
    """What is promised once it is signed.

    Attributes:
        min_usd: spend on the covered candidates that is paid in any case, in each stage (take-or-pay).
        min_units: units of the covered candidates that are paid in any case, in each stage.
        fee_usd: paid once, if signed.
        group: of contracts in one group at most one is signed (the steps of a price list); None: on its own.
        must_sign: the scenario says that it is signed already.
    """

    name: str
    min_usd: tuple[float, ...] = ()
    min_units: tuple[float, ...] = ()
    fee_usd: float = 0.0
    group: str | None = None
    must_sign: bool = False


@dataclass(frozen=True, slots=True)
class ShareBound:
    """A part of all work that the named candidates do at least or at most, over the whole horizon or one stage.

    Attributes:
        reason: why the scenario asks for it, in its own words; so in every constraint here.
    """

    name: str
    of: ShareUnit
    candidates: frozenset[str]
    at_least: float | None = None
    at_most: float | None = None
    stage: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PowerLimit:
    """Most watts at a site (None: everywhere), in each stage."""

    name: str
    site: str | None
    max_w: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Concentration:
    """No vendor (None) or one vendor above `at_most` of all `of`: watts held (`power`) or money (`spend`)."""

    name: str
    of: ShareUnit
    at_most: float
    vendor: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Survival:
    """When all of `lost` is gone, at least `level` of every class's requests are still served, in every period.

    Attributes:
        lost: names of the candidates that go together: a vendor's, or a site's.
        level: by workload class; a class that is missing may be dropped.
        utilization: part of the unit-seconds of the others that may be used then.
    """

    name: str
    lost: frozenset[str]
    level: dict[str, float]
    utilization: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """Most money in a stage (None: over the whole horizon)."""

    name: str
    max_usd: float
    stage: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """All of it. Names of candidates and contracts are unique; every tuple by stage or period has their length."""

    periods: tuple[Period, ...]
    stages: tuple[str, ...]
    cells: tuple[Cell, ...]
    candidates: tuple[Candidate, ...]
    contracts: tuple[Contract, ...] = ()
    shares: tuple[ShareBound, ...] = ()
    power: tuple[PowerLimit, ...] = ()
    concentrations: tuple[Concentration, ...] = ()
    survivals: tuple[Survival, ...] = ()
    budgets: tuple[Budget, ...] = ()
