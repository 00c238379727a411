"""Records: what is kept of every ended request and of every ended attempt."""

from __future__ import annotations

import msgspec


class RequestRecord(msgspec.Struct, frozen=True, gc=False):
    """One ended request. Times in seconds since the start of the run; latencies as the client saw them.

    Attributes:
        outcome: completed, rejected, failed or cancelled.
        ttft_s, e2e_s: None where they are undefined (a rejected request has neither).
        tpot_s: (last token time - first token time) / (output tokens - 1); None below two tokens.
    """

    workload_class: str
    outcome: str
    arrival_s: float
    input_tokens: int
    output_tokens: int
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    cost_usd: float


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One ended attempt, with what it really used (a failed one counts what it used).

    Attributes:
        eligible_pools: pools that routes, capacity and up/down state allowed at `dispatch_s`: what an independent
            feasibility check may assign it to.
        down_pools: pools that its route has and that were down then.
        cached_input_tokens: of `input_tokens`, those that the backend found in its prefix cache.
        workload_class: of its request; only budgets ask.
        reason: why it was made; see `policy.DispatchReason`.
    """

    pool: str
    dispatch_s: float
    end_s: float
    input_tokens: int
    output_tokens: int
    cost_usd: float
    eligible_pools: tuple[str, ...]
    cached_input_tokens: int = 0
    workload_class: str = ""
    reason: str = "first"
    down_pools: tuple[str, ...] = ()
