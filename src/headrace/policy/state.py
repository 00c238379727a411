"""What the engine remembers of a request and of its live attempt."""

from __future__ import annotations

from headrace.policy.pricing import BackendState
from headrace.workload import WorkloadClass


class RequestState:
    """A request between `Arrived` and `End`.

    Attributes:
        candidates: backends that its route allows.
        tried: bit mask of the backends tried, by index.
        attempt: the live attempt; None while it waits in the queue.
        queued_s: when it entered the queue; None while it is not there.
        work: what it counts for in each share, by index, at its predicted length.
        streamed: whether its first byte comes with its first token, not with its last.
    """

    __slots__ = (
        "attempt",
        "attempts",
        "candidates",
        "expected_output_tokens",
        "input_tokens",
        "queued_s",
        "request_id",
        "streamed",
        "tenant",
        "tried",
        "work",
        "workload_class",
    )

    def __init__(
        self,
        request_id: int,
        workload_class: WorkloadClass,
        tenant: str,
        input_tokens: int,
        expected_output_tokens: float,
        candidates: tuple[BackendState, ...],
        work: tuple[float, ...],
        streamed: bool,
    ) -> None:
        self.request_id = request_id
        self.workload_class = workload_class
        self.tenant = tenant
        self.input_tokens = input_tokens
        self.expected_output_tokens = expected_output_tokens
        self.candidates = candidates
        self.work = work
        self.streamed = streamed
        self.tried = 0
        self.attempts = 0
        self.attempt: AttemptState | None = None
        self.queued_s: float | None = None


class AttemptState:
    """An attempt between its `Dispatch` and its end."""

    __slots__ = (
        "attempt_id",
        "backend",
        "dispatched_s",
        "first_token_s",
        "kv_tokens",
        "prefill_s",
        "probe",
        "request",
        "tpot_s",
        "ttft_s",
    )

    def __init__(
        self, attempt_id: int, request: RequestState, backend: BackendState, now_s: float, ttft_s: float, tpot_s: float
    ) -> None:
        self.attempt_id = attempt_id
        self.request = request
        self.backend = backend
        self.dispatched_s = now_s
        self.ttft_s = ttft_s
        self.tpot_s = tpot_s
        self.first_token_s: float | None = None
        self.prefill_s = backend.prefill_s(request.input_tokens)
        self.kv_tokens = request.input_tokens + request.expected_output_tokens
        self.probe = backend.took(self.prefill_s, self.kv_tokens)
