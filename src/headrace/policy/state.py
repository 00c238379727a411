"""What the engine remembers of a request and of its live attempt."""

from __future__ import annotations

from math import inf

import msgspec

from headrace.policy.breaker import Probe
from headrace.policy.picker import Candidate
from headrace.policy.prefix import Prompt
from headrace.policy.pricing import BackendState
from headrace.policy.routing import Candidates
from headrace.workload import WorkloadClass


class RequestState(msgspec.Struct, eq=False):
    """A request between `Arrived` and `End`.

    Attributes:
        candidates: the backends that its route allows.
        work: what it counts for in each share, by index, at its predicted length.
        streamed: whether its first byte comes with its first token, not with its last.
        tried: bit mask of the backends tried, by index.
        attempt: the live attempt; None while it waits in the queue.
        attempts: dispatched so far; `refusals`: of those, how many a backend did not take because it was full.
        queued_s: when it entered the queue; None while it is not there. `due_s`: when it will have waited too long.
        prompt: what it says of its prompt's beginning; None: nothing.
        hits: input tokens that each backend probably has cached, by index, when a backend was last
            chosen and before its `hit_factor`; None: nobody looked.
    """

    request_id: int
    workload_class: WorkloadClass
    tenant: str
    input_tokens: int
    expected_output_tokens: float
    candidates: Candidates
    work: tuple[float, ...]
    streamed: bool
    arrived_s: float
    tried: int = 0
    attempts: int = 0
    attempt: AttemptState | None = None
    queued_s: float | None = None
    prompt: Prompt | None = None
    hits: dict[int, int] | None = None
    refusals: int = 0
    due_s: float = inf

    @property
    def tries(self) -> int:
        """Attempts that a backend took."""
        return self.attempts - self.refusals

    def refused_by(self, backend: BackendState) -> None:
        """Its last attempt was turned away by a healthy backend that is full: it may ask there again."""
        self.refusals += 1
        self.tried &= ~(1 << backend.index)

    def cached_tokens(self, backend: Candidate) -> float:
        """Input tokens that `backend` is expected to find in its prefix cache."""
        return 0.0 if self.hits is None else self.hits.get(backend.index, 0) * backend.hit_factor


class AttemptState(msgspec.Struct, eq=False):
    """An attempt between its `Dispatch` and its end.

    Attributes:
        ttft_s, tpot_s: as expected at its dispatch.
        prefill_s, kv_tokens: what it was dispatched with, to be given back.
        probe: what its answer decides of its backend's breaker.
        first_token_s: when that came.
        waits: it is live and has no first token.
    """

    attempt_id: int
    request: RequestState
    backend: BackendState
    dispatched_s: float
    ttft_s: float
    tpot_s: float
    prefill_s: float
    kv_tokens: float
    probe: Probe
    first_token_s: float | None = None
    waits: bool = True
