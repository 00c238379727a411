"""Explaining: the score of every candidate for one request, taken apart into what it consists of.

    total = cost + time + risk + shares + limits        USD, as `pricing` and `choice` add them up

where time is the value of the seconds that the answer is expected to take, and risk what failures cost on average.
Of a policy that goes by something else than prices it is a commentary, not its reason.
"""

from __future__ import annotations

import msgspec

from headrace.policy.choice import Chooser
from headrace.policy.state import RequestState


class Explained(msgspec.Struct, frozen=True):
    """One candidate, priced for one request.

    Attributes:
        free: it may be picked now; `fit`: it can give what the request asks for.
        time_usd: value of the expected seconds; `risk_usd`: of a failure's, and its cost, times its chance.
        shares_usd, limits_usd: what shares and limits add, negative where they draw requests in.
    """

    backend: str
    pool: str
    free: bool
    fit: bool
    ttft_s: float
    tpot_s: float
    output_tokens: float
    cost_usd: float
    time_usd: float
    risk_usd: float
    shares_usd: float
    limits_usd: float
    total_usd: float


def explained(now_s: float, request: RequestState, chooser: Chooser) -> list[Explained]:
    """Every candidate, the cheapest first."""
    value = request.workload_class.value_of_time_usd_per_s
    i, o = float(request.input_tokens), request.expected_output_tokens
    rows: list[Explained] = []
    for backend in request.candidates.backends:
        free = backend.free(now_s)
        cost_usd = backend.cost_usd(i, o)
        ttft_s, tpot_s = backend.latency(i, o)
        time_usd = value * (ttft_s + (o - 1.0) * tpot_s)
        score_usd = backend.score_usd(i, o, value)
        shares_usd, limits_usd = chooser.surcharges_usd(request, backend)
        rows.append(
            Explained(
                backend.name,
                backend.pool,
                free,
                not request.unfit >> backend.index & 1,
                ttft_s,
                tpot_s,
                o,
                cost_usd,
                time_usd,
                score_usd - cost_usd - time_usd,
                shares_usd,
                limits_usd,
                score_usd + shares_usd + limits_usd,
            )
        )
    return sorted(rows, key=lambda row: (not row.fit, row.total_usd))
