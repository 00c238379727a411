"""Explaining: the score of every candidate for one request, taken apart into what it consists of.

    total = cost + time + risk + delay + shares + limits        USD, as `pricing` and `choice` add them up

where time is the value of the seconds that the answer is expected to take, risk what failures cost on average, and
delay the value of the time that others on that backend lose by it. A cached beginning lowers all of them. Of a policy
that goes by something else than prices it is a commentary, not its reason.
"""

from __future__ import annotations

import msgspec

from headrace.policy.choice import Chooser
from headrace.policy.state import RequestState


class Explained(msgspec.Struct, frozen=True):
    """One candidate, priced for one request.

    Attributes:
        free: it may be picked now; `fit`: it can give what the request asks for.
        cached_tokens: input that the backend probably has cached.
        time_usd: value of the expected seconds; `risk_usd`: of a failure's, and its cost, times its chance.
        delay_usd: value of the seconds that others there wait longer for it.
        shares_usd, limits_usd: what shares and limits add, negative where they draw requests in.
    """

    backend: str
    pool: str
    free: bool
    fit: bool
    ttft_s: float
    tpot_s: float
    output_tokens: float
    cached_tokens: float
    cost_usd: float
    time_usd: float
    risk_usd: float
    delay_usd: float
    shares_usd: float
    limits_usd: float
    total_usd: float


def explained(now_s: float, request: RequestState, chooser: Chooser) -> list[Explained]:
    """Every candidate, the cheapest first."""
    value = request.workload_class.value_of_time_usd_per_s
    i, o = float(request.input_tokens), request.expected_output_tokens
    chooser.look_up(request)
    rows: list[Explained] = []
    for backend in request.candidates.backends:
        free = backend.free(now_s)
        cached = request.cached_tokens(backend)
        cost_usd = backend.cost_usd(i, o, cached)
        ttft_s, tpot_s = backend.latency(i, o, cached)
        time_usd = value * (ttft_s + (o - 1.0) * tpot_s)
        score_usd, delay_usd = backend.score_usd(i, o, value, cached), backend.delay_usd(i, o, cached)
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
                cached,
                cost_usd,
                time_usd,
                score_usd - cost_usd - time_usd - delay_usd,
                delay_usd,
                shares_usd,
                limits_usd,
                score_usd + shares_usd + limits_usd,
            )
        )
    return sorted(rows, key=lambda row: (not row.fit, row.total_usd))
