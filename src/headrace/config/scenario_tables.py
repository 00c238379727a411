"""The scenario file as typed tables: one struct per table, unknown settings refused.

As in `config.document`: these structs mirror the file, and ranges that one value alone decides are stated here. What
they mean stands with the types of `fleet.scenario` and `fleet.terms`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta

from headrace.config.document import Count, MatchTable, NotNegative, PerTokenTable, Positive, Table, Text
from headrace.fleet.scenario import Loss, ShareUnit, Speed
from headrace.fleet.terms import PricedBy, Term

Fraction = Annotated[float, Meta(ge=0, le=1)]
PositiveFraction = Annotated[float, Meta(gt=0, le=1)]
Rate = Annotated[float, Meta(ge=0, lt=1)]


class HorizonTable(Table, frozen=True, kw_only=True):
    """`[horizon]`."""

    start: date
    years: Annotated[int, Meta(ge=1, le=30)]
    stage_months: Annotated[int, Meta(ge=1, le=12)] = 12
    days_in_cycle: int = 7
    period_hours: Annotated[int, Meta(ge=1, le=24)] = 1


class BucketTable(Table, frozen=True, kw_only=True):
    """`buckets` of a stated demand."""

    input_tokens: Annotated[float, Meta(ge=1)]
    output_tokens: Annotated[float, Meta(ge=1)]
    fraction: PositiveFraction


class StatedTable(Table, frozen=True, kw_only=True, tag_field="type", tag="stated"):
    """`type = "stated"`: sizes and rates as given."""

    buckets: list[BucketTable]
    requests_per_day: Positive
    profile: tuple[NotNegative, ...] = (1.0,)
    weekend: NotNegative = 1.0


class LogNormalTable(Table, frozen=True, kw_only=True, tag_field="type", tag="lognormal"):
    """`type = "lognormal"`: independent log-normal lengths, cut into buckets of equal weight."""

    input_median: Annotated[float, Meta(ge=1)]
    input_sigma: Annotated[float, Meta(ge=0, le=5)]
    output_median: Annotated[float, Meta(ge=1)]
    output_sigma: Annotated[float, Meta(ge=0, le=5)]
    buckets: tuple[Count, Count]
    requests_per_day: Positive
    profile: tuple[NotNegative, ...] = (1.0,)
    weekend: NotNegative = 1.0


class TraceTable(Table, frozen=True, kw_only=True, tag_field="type", tag="trace"):
    """`type = "trace"`: a file; without `path`, one that the command line names."""

    buckets: tuple[Count, Count]
    path: Text | None = None
    requests_per_day: Positive | None = None


class GeneratorTable(Table, frozen=True, kw_only=True, tag_field="type", tag="generator"):
    """`type = "generator"`: traffic as `headrace simulate` makes it."""

    generator: Text
    buckets: tuple[Count, Count]
    duration_s: Positive = 3600.0
    seed: int = 0
    requests_per_day: Positive | None = None


class ScenarioSloTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME.slo]`."""

    ttft_s: Positive | None = None
    tpot_s: Positive | None = None
    e2e_s: Positive | None = None
    attainment: Annotated[float, Meta(gt=0, lt=1)] = 0.95


class DegradedTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME.degraded]`: what is accepted while a vendor or site is lost."""

    ttft_s: Positive | None = None
    tpot_s: Positive | None = None


class ScenarioClassTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME]`."""

    models: Annotated[tuple[Text, ...], Meta(min_length=1)]
    demand: StatedTable | LogNormalTable | TraceTable | GeneratorTable
    value_of_time_usd_per_s: NotNegative
    slo: ScenarioSloTable = ScenarioSloTable()
    degraded: DegradedTable = DegradedTable()
    growth_per_year: Annotated[float, Meta(gt=-1, le=100)] = 0.0
    cached_input_fraction: Rate = 0.0
    cache_hold_s: NotNegative = 0.0
    burstiness: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    timeout_s: Positive = 600.0
    match: MatchTable = MatchTable()


class OwnedTable(Table, frozen=True, kw_only=True, tag_field="type", tag="owned"):
    """`[terms.NAME]` with `type = "owned"`: per accelerator."""

    capex_usd: NotNegative
    life_years: Positive
    discount_rate: Rate
    electricity_usd_per_kwh: NotNegative
    pue: Annotated[float, Meta(ge=1)] = 1.0
    idle_fraction: Fraction = 0.0
    hosting_usd_per_kw_month: NotNegative = 0.0
    staff_usd_per_year: NotNegative = 0.0


class RentedTable(Table, frozen=True, kw_only=True, tag_field="type", tag="rented"):
    """`[terms.NAME]` with `type = "rented"`: per accelerator."""

    usd_per_hour: NotNegative
    term: Term
    interruptions_per_hour: NotNegative = 0.0
    recover_s: NotNegative = 0.0


class CommittedTable(Table, frozen=True, kw_only=True, tag_field="type", tag="committed"):
    """`[terms.NAME]` with `type = "committed"`."""

    contract: Text


class ByTokenTable(PerTokenTable, frozen=True, kw_only=True, tag_field="type", tag="per_token"):
    """`[terms.NAME]` with `type = "per_token"`."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    contract: Text | None = None


class TrancheTable(Table, frozen=True, kw_only=True):
    """`tranches` of a contract for capacity: one of the two figures."""

    start: date
    mw: Positive | None = None
    accelerators: Positive | None = None


class CapacityTable(Table, frozen=True, kw_only=True, tag_field="type", tag="capacity"):
    """`[contracts.NAME]` with `type = "capacity"`."""

    usd: Positive
    priced_by: PricedBy
    tranches: list[TrancheTable]
    end: date
    overhead: Annotated[float, Meta(ge=1)] = 1.0
    take_or_pay: Fraction = 1.0
    site: Text | None = None
    signed: bool = False


class SpendStepTable(Table, frozen=True, kw_only=True):
    """`steps` of a commitment to spend."""

    min_usd_per_year: Positive
    discount: Annotated[float, Meta(gt=0, lt=1)]


class SpendTable(Table, frozen=True, kw_only=True, tag_field="type", tag="spend"):
    """`[contracts.NAME]` with `type = "spend"`."""

    steps: list[SpendStepTable]


class CandidateTable(Table, frozen=True, kw_only=True):
    """`[candidates.NAME]`: a deployment, on each of the terms that are named."""

    deployment: Text
    terms: Annotated[tuple[Text, ...], Meta(min_length=1)]
    vendor: Text | None = None
    site: Text | None = None
    available_from: date | None = None
    lead_time_days: NotNegative | None = None
    max_accelerators: NotNegative | None = None
    min_accelerators: NotNegative = 0.0
    utilization: PositiveFraction = 1.0
    pooled_units: Annotated[int, Meta(ge=1, le=100_000)] = 1


class RuleTable(Table, frozen=True, kw_only=True, tag_field="type"):
    """`[[constraints]]`: the reason is what a conflict, or a price, is reported with."""

    reason: Text
    name: Text | None = None


class SelectionTable(RuleTable, frozen=True, kw_only=True):
    """Whom a share is of: any of these."""

    candidates: tuple[Text, ...] = ()
    vendors: tuple[Text, ...] = ()
    silicon: tuple[Text, ...] = ()
    sites: tuple[Text, ...] = ()


class ShareRuleTable(SelectionTable, frozen=True, kw_only=True, tag="share"):
    """`type = "share"`. `of` has no default: the answers differ by more than 70 times."""

    of: ShareUnit
    at_least: Fraction | None = None
    at_most: Fraction | None = None
    reference: Text | None = None
    year: Annotated[int, Meta(ge=0)] | None = None


class PowerRuleTable(RuleTable, frozen=True, kw_only=True, tag="power"):
    """`type = "power"`."""

    max_mw: NotNegative | tuple[NotNegative, ...]
    site: Text | None = None


class ConcentrationRuleTable(RuleTable, frozen=True, kw_only=True, tag="concentration"):
    """`type = "concentration"`."""

    of: ShareUnit
    at_most: PositiveFraction
    vendor: Text | None = None


class SurvivalRuleTable(RuleTable, frozen=True, kw_only=True, tag="survival"):
    """`type = "survival"`: `level` for all classes, or by class."""

    lose: Loss
    level: Fraction | dict[str, Fraction]
    who: Text | None = None
    utilization: PositiveFraction = 1.0


class ResidencyRuleTable(RuleTable, frozen=True, kw_only=True, tag="residency"):
    """`type = "residency"`."""

    classes: Annotated[tuple[Text, ...], Meta(min_length=1)]
    sites: Annotated[tuple[Text, ...], Meta(min_length=1)]


class BudgetRuleTable(RuleTable, frozen=True, kw_only=True, tag="budget"):
    """`type = "budget"`."""

    max_usd: NotNegative
    year: Annotated[int, Meta(ge=0)] | None = None


class IntervalTable(Table, frozen=True, kw_only=True):
    """Factors: `{ low = 0.8, high = 1.5 }`."""

    low: Positive
    high: Positive


class UncertaintyTable(Table, frozen=True, kw_only=True):
    """`[uncertainty]`."""

    demand: IntervalTable = IntervalTable(low=1.0, high=1.0)
    growth: IntervalTable = IntervalTable(low=1.0, high=1.0)
    price: IntervalTable = IntervalTable(low=1.0, high=1.0)
    speed: Speed = Speed.EXPECTED
    futures: Annotated[int, Meta(ge=0, le=10_000)] = 0
    miss_chance: Fraction = 0.1
    seed: int = 0


class SolverTable(Table, frozen=True, kw_only=True):
    """`[solver]`."""

    gap: Rate = 0.01
    time_limit_s: Positive = 300.0


class ProofTable(Table, frozen=True, kw_only=True):
    """`[proof]`."""

    duration_s: Positive = 600.0
    load: Annotated[float, Meta(gt=0, le=100)] = 1.2
    bad_day: Annotated[float, Meta(gt=0, le=100)] = 1.5
    max_requests: Count = 20_000
    rounds: Annotated[int, Meta(ge=0, le=100)] = 3
    seed: int = 0


RULES: tuple[type[RuleTable], ...] = (
    ShareRuleTable,
    PowerRuleTable,
    ConcentrationRuleTable,
    SurvivalRuleTable,
    ResidencyRuleTable,
    BudgetRuleTable,
)
TERMS = (OwnedTable, RentedTable, CommittedTable, ByTokenTable)
CONTRACTS = (CapacityTable, SpendTable)
SILICON = ("schema", "models", "accelerators", "deployments")
TOP_LEVEL = (
    *SILICON,
    "extends",
    "name",
    "requests_per_day",
    "discount_rate",
    "horizon",
    "classes",
    "terms",
    "contracts",
    "candidates",
    "constraints",
    "uncertainty",
    "solver",
    "proof",
)
