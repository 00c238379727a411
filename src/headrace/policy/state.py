"""What the engine remembers of a request and of its live attempt."""

from __future__ import annotations

import msgspec

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
        tried: bit mask of the backends tried, and of the `unfit` ones, by index.
        unfit: bit mask of the backends that cannot serve it.
        attempt: the live attempt; None while it waits in the queue.
        queued_s: when it entered the queue; None while it is not there.
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
    unfit: int = 0
    attempts: int = 0
    attempt: AttemptState | None = None
    queued_s: float | None = None
    prompt: Prompt | None = None
    hits: dict[int, int] | None = None

    def shun(self, mask: int) -> None:
        """The backends of this bit mask cannot serve it."""
        self.unfit |= mask
        self.tried |= mask

    def cached_tokens(self, backend: Candidate) -> float:
        """Input tokens that `backend` is expected to find in its prefix cache."""
        return 0.0 if self.hits is None else self.hits.get(backend.index, 0) * backend.hit_factor


class AttemptState(msgspec.Struct, eq=False):
    """An attempt between its `Dispatch` and its end.

    Attributes:
        ttft_s, tpot_s: as expected at its dispatch.
        prefill_s, kv_tokens: what it was dispatched with, to be given back.
        probe: it decides whether a half-open breaker closes.
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
    probe: bool
    first_token_s: float | None = None
    waits: bool = True
