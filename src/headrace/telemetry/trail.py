"""Trails: what is kept of one request and its attempts until its access log line and its spans have been written.

There is one only where somebody wants it: of a request what its line says, of each attempt only where it is traced. It
holds names, times and counts; of what was said only the end of a traced
answer, until its finish reason has been read. Times are seconds on the gateway's clock, as of `ended_s`, whose wall
time is `ended_unix_s`.
"""

from __future__ import annotations

import msgspec

from headrace.telemetry.trace_context import TraceContext

Tokens = tuple[int, int, int]  # input, output, and of the input those found in a cache


NONE: Tokens = 0, 0, 0


class AttemptTrail(msgspec.Struct, eq=False, gc=False):
    """One attempt of a traced request.

    Attributes:
        provider: the dialect that the backend speaks; `address`, `port`: of its URL.
        outcome: `completed`, a failure's kind, or `cancelled`; empty: it has not ended.
        score_usd, cost_usd, outside_score_usd, expected_output_tokens: of the decision.
        ending: the last bytes of its answer, where it is traced.
    """

    backend: str
    pool: str
    provider: str
    address: str
    port: int
    reason: str
    started_s: float
    score_usd: float
    cost_usd: float
    expected_output_tokens: float
    outside_score_usd: float | None = None
    span_id: int = 0
    first_token_s: float | None = None
    ended_s: float = 0.0
    outcome: str = ""
    tokens: Tokens | None = None
    spent_usd: float = 0.0
    ending: bytes = b""


class Trail(msgspec.Struct, eq=False):
    """One request.

    Attributes:
        path: as its client wrote it.
        backend: of the attempt that was dispatched last; `dispatched`: how many were.
        tokens, spent_usd: of all attempts.
        attempts: those of a traced request.
        request_id: as its client sees it in `x-headrace-request-id`.
        status: of the answer; 0: the client was gone before it had one.
        outcome: how it ended; `refused`: it never became a request.
        rejected: why it was turned away; empty: it was not.
        context: its trace; None: it is not traced.
    """

    request_id: str
    api: str
    path: bytes
    arrived_s: float
    tenant: str = ""
    workload_class: str = ""
    model: str = ""
    max_output_tokens: int | None = None
    context: TraceContext | None = None
    backend: str = ""
    dispatched: int = 0
    tokens: Tokens = NONE
    spent_usd: float = 0
    attempts: tuple[AttemptTrail, ...] = ()
    first_token_s: float | None = None
    ended_s: float = 0.0
    ended_unix_s: float = 0.0
    status: int = 0
    outcome: str = ""
    rejected: str = ""

    def unix_s(self, at_s: float) -> float:
        """Wall time of a moment of it."""
        return self.ended_unix_s - (self.ended_s - at_s)
