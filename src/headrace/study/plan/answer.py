"""The answer as other tools read it: schema 1, typed, in the order of the JSON. Undefined is null, never 0.

Money is USD over the horizon unless a name says otherwise. Wall times are not in it: the same scenario, commit and
seed give the same bytes, unless a solve was ended by its time limit (`solve.ending`).
"""

from __future__ import annotations

import msgspec

from headrace.study.plan.findings import Proof

SCHEMA = 1


class Solve(msgspec.Struct, frozen=True):
    """How the solver ended: (cost - proven bound) / cost is the gap; cost and bound include the value of time."""

    ending: str
    objective_usd: float
    bound_usd: float
    gap: float


class Cost(msgspec.Struct, frozen=True):
    """What the plan costs. `waiting_usd` is the value of its users' time, and no money.

    Attributes:
        spent_usd: total cost of ownership; the four parts after it add up to it.
        present_usd: of each year's spending, discounted to the start at the scenario's rate.
        by_stage, by_terms, by_silicon, by_vendor: `spent_usd`, shared out; fees and shortfalls count as `contracts`.
    """

    spent_usd: float
    units_usd: float
    requests_usd: float
    shortfalls_usd: float
    fees_usd: float
    waiting_usd: float
    present_usd: float
    by_stage: dict[str, float]
    by_terms: dict[str, float]
    by_silicon: dict[str, float]
    by_vendor: dict[str, float]


class OfferAnswer(msgspec.Struct, frozen=True):
    """One candidate.

    Attributes:
        units: most that are held in each stage; `accelerators` and `power_w` are of the last stage.
        busy, busiest: part of what may be used of it that is used, over the horizon and in its fullest period; None by
            the token.
        requests, output_tokens: part of all.
    """

    name: str
    vendor: str
    silicon: str
    site: str
    model: str
    terms: str
    units: list[float]
    accelerators: float
    power_w: float
    busy: float | None
    busiest: float | None
    requests: float
    output_tokens: float
    usd: float


class ContractAnswer(msgspec.Struct, frozen=True):
    """A contract that was on offer; what is paid for nothing is its shortfall."""

    name: str
    signed: bool
    min_usd: float
    shortfall_usd: float
    fee_usd: float


class ShareAnswer(msgspec.Struct, frozen=True):
    """A share and what became of it; `in_units`: the same offers' part of everything else that a share can be of."""

    name: str
    reason: str
    of: str
    at_least: float | None
    at_most: float | None
    realized: float
    in_units: dict[str, float]


class Latency(msgspec.Struct, frozen=True):
    """Means that a plan expects, in seconds."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


class ClassAnswer(msgspec.Struct, frozen=True):
    """One class: what was promised, what it gets, where it goes (part of its requests), what one more request costs.

    Attributes:
        before: latencies of the best plan without the share's offers (of a scenario without a share: without what is
            bought by the token); None: there is no such plan, or it was not asked for.
    """

    name: str
    requests_per_day: float
    slo_ttft_s: float | None
    slo_tpot_s: float | None
    slo_e2e_s: float | None
    attainment: float
    after: Latency | None
    usd_per_request: float
    next_request_usd: float | None
    places: dict[str, float]
    before: Latency | None = None


class PriceAnswer(msgspec.Struct, frozen=True):
    """What one more unit of a limit is worth at this plan, with its integers fixed; negative: it saves.

    Attributes:
        usd: per unit; of a limit that holds in each period, of one unit in all of them.
        binds: in how many of its `rows` it holds with equality.
    """

    kind: str
    name: str
    reason: str
    unit: str
    usd: float
    rows: int
    binds: int


class RuleCost(msgspec.Struct, frozen=True):
    """What a rule of the scenario costs: the plan's cost less that of the best plan without it.

    Attributes:
        step: by how much it was relaxed, in words; `step_usd`: what that saves by a full solve; `price_usd`: what the
            plan's price says of the same step. None: there is no such step, no such price, or no time was left.
    """

    name: str
    kind: str
    reason: str
    cost_usd: float | None
    step: str | None = None
    step_usd: float | None = None
    price_usd: float | None = None


class CurvePoint(msgspec.Struct, frozen=True):
    """The best plan at one share; None where there is none."""

    share: float
    spent_usd: float | None
    waiting_usd: float | None


class Curve(msgspec.Struct, frozen=True):
    """Cost over the share.

    Attributes:
        name, of, what: the share, its unit, and the offers it is of.
        points: by case: `expected`, and the ends of the scenario's intervals.
        best: the share of least cost by case; `pays_until`: the largest that costs no more than none at all.
    """

    name: str
    of: str
    what: list[str]
    points: dict[str, list[CurvePoint]]
    best: dict[str, float]
    pays_until: dict[str, float]


class BreakEven(msgspec.Struct, frozen=True):
    """The price, as a factor on what the offer asks, below which the best plan uses it.

    Attributes:
        factor: by case, as in a curve; None: it is used at no price tried (or, with `always`, at every one).
    """

    offer: str
    used: bool
    factor: dict[str, float | None]
    always: dict[str, bool]


class Swing(msgspec.Struct, frozen=True):
    """One thing at a time: cost of the best plan with it low and high; None where there is no plan."""

    what: str
    low: str
    high: str
    low_usd: float | None
    high_usd: float | None


class FuturesAnswer(msgspec.Struct, frozen=True):
    """Sampled futures.

    Attributes:
        miss_chance: allowed; `missed`: part of the futures in which some class misses its SLO with this plan.
        covered: whether the plan was solved again with the peaks of futures that it would have missed, and then costs
            `covered_usd` as expected; None: there was no need.
        usd: of this plan in each future; `hindsight_usd`: of the best plan for that future alone.
        waiting_usd: of waiting with everything lasting for the first stage; None: not asked.
        value_of_waiting_usd: mean cost of signing now - mean cost of waiting; `perfect_usd`: of knowing the future.
        noise: part of the cost that a solve may be off by: differences below it mean nothing.
    """

    count: int
    miss_chance: float
    missed: float
    demand: list[float]
    growth: list[float]
    price: list[float]
    speed: list[float]
    usd: list[float]
    hindsight_usd: list[float | None]
    waiting_usd: list[float | None]
    value_of_waiting_usd: float | None
    perfect_usd: float | None
    waited_months: int
    noise: float
    covered: bool = False
    covered_usd: float | None = None
    covered_missed: float | None = None


class Studies(msgspec.Struct, frozen=True):
    """What follows from solving again; None where it was not asked for, `left_out` where time ran out."""

    rules: list[RuleCost] | None = None
    curve: Curve | None = None
    break_even: list[BreakEven] | None = None
    swings: list[Swing] | None = None
    futures: FuturesAnswer | None = None
    left_out: list[str] = []


class Assumption(msgspec.Struct, frozen=True):
    """A figure that the answer rests on, and where it comes from."""

    what: str
    value: str
    source: str


class PlanAnswer(msgspec.Struct, frozen=True):
    """A plan, everything that is said of it, and its proof."""

    schema: int
    command: str
    scenario: str
    start: str
    years: int
    requests_per_day: float
    solve: Solve
    cost: Cost
    offers: list[OfferAnswer]
    contracts: list[ContractAnswer]
    shares: list[ShareAnswer]
    classes: list[ClassAnswer]
    prices: list[PriceAnswer]
    proof: Proof
    studies: Studies
    assumptions: list[Assumption]


def encode_answer(answer: PlanAnswer) -> bytes:
    """As indented JSON with a final newline; the same answer gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def decode_answer(content: bytes) -> PlanAnswer:
    """An answer from its JSON. Raises msgspec.ValidationError: it is none of this schema."""
    return msgspec.json.decode(content, type=PlanAnswer)
