"""The report that simulate, replay and up write: schema 1, as typed structs in the order of the JSON.

Other tools read it, so its names and its order are fixed, and the same run gives the same bytes. What is undefined is
null, never 0: no quantile without a sample, no share of nothing, no power without a figure for it.
"""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Requests(msgspec.Struct, frozen=True):
    """How the requests ended; `arrived` is their sum."""

    arrived: int
    completed: int
    rejected: int
    failed: int
    cancelled: int


class Windows(msgspec.Struct, frozen=True):
    """Five-minute windows: judged, feasible among them, and how many were infeasible for which reason."""

    judged: int
    feasible: int
    reasons: dict[str, int]


class ShareReport(msgspec.Struct, frozen=True):
    """One share: what of, its target, what became of it.

    Attributes:
        worst_5min_error_pp: largest deviation of a judged feasible window, in percentage points.
    """

    of: str
    target: float
    realized: float | None
    worst_5min_error_pp: float | None
    windows: Windows


class Quantiles(msgspec.Struct, frozen=True):
    """Quantiles of a latency in seconds, within 0.5 %."""

    p50: float | None
    p90: float | None
    p99: float | None


class TaskReport(msgspec.Struct, frozen=True):
    """Tasks (sessions, with the sub-agents they started) that came to their end in the run.

    Attributes:
        completed: those whose requests all completed; quantiles are over them.
        e2e_s: from a task's first request to its last answer, tools, users and children included.
        waited_s: mean per task of what the class's requests waited for answers: the sum of their E2E, side by side or
            not, an unfinished one at the class's timeout.
    """

    count: int
    completed: int
    e2e_s: Quantiles
    waited_s: float


class ClassReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One workload class.

    Attributes:
        count: requests that arrived. Quantiles are over the completed ones.
        slo_attainment: met every threshold / arrived, client cancellations left out of both.
        value_of_time_usd: value of time * sum of E2E; what did not complete counts at the class's timeout.
        tasks: of its sessions; absent where the traffic has none.
    """

    count: int
    ttft_s: Quantiles
    tpot_s: Quantiles
    e2e_s: Quantiles
    slo_attainment: float | None
    value_of_time_usd: float
    tasks: TaskReport | None = None


class PoolShare(msgspec.Struct, frozen=True):
    """A pool's fraction of the whole fleet's total, unit by unit."""

    requests: float | None
    output_tokens: float | None
    compute: float | None
    spend: float | None
    power: float | None


class PoolReport(msgspec.Struct, frozen=True):
    """One pool: its attempts, what they used, what it cost."""

    accelerator: str | None
    memory: str | None
    requests: int
    output_tokens: int
    share: PoolShare
    utilization: float | None
    cost_usd: float | None


class CostReport(msgspec.Struct, frozen=True):
    """Cost of all pools, and per million output tokens of completed requests."""

    total_usd: float | None
    usd_per_mtok_output: float | None


class PeriodReport(msgspec.Struct, frozen=True):
    """What was used of a commitment or a budget, by the time of dispatch.

    Attributes:
        amount: of `unit`, per period; `used`: in each period of the run, the last one as far as it went.
        pace: all that was used, over what evenly used amounts come to in the same time; None: no time passed.
    """

    unit: str
    amount: float
    per: str
    used: list[float]
    pace: float | None


class PolicyReport(msgspec.Struct, frozen=True):
    """What chose, and its value captured against the hindsight optimum.

    Null: the name where nobody knows it (a replay from outside), values where no share is steered or nothing was
    compared.
    """

    name: str | None = None
    value_captured_usd: float | None = None
    hindsight_value_usd: float | None = None
    regret: float | None = None


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one run; commitments and budgets are absent where the fleet has none."""

    schema: int
    command: str
    seed: int | None
    requests: Requests
    shares: dict[str, ShareReport]
    classes: dict[str, ClassReport]
    pools: dict[str, PoolReport]
    cost: CostReport
    policy: PolicyReport
    commitments: dict[str, PeriodReport] = {}
    budgets: dict[str, PeriodReport] = {}


def encode_report(report: Report) -> bytes:
    """The report as indented JSON with a final newline; the same report gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
