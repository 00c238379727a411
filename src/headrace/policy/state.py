"""What the engine remembers of a request and of its live attempts."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from headrace.policy.breaker import Probe
from headrace.policy.event import Arrived
from headrace.policy.lateness import Lateness
from headrace.policy.picker import Candidate
from headrace.policy.prefix import Prompt
from headrace.policy.pricing import BackendState
from headrace.policy.routing import Candidates
from headrace.workload import WorkloadClass

if TYPE_CHECKING:
    from headrace.policy.waiting import TenantLine


class RequestState:
    """A request between `Arrived` and `End`.

    Attributes:
        arrival: the event that it came by.
        candidates: the backends that its route allows.
        work: what it counts for in each share, by index, at its predicted length.
        streamed: whether its first byte comes with its first token, not with its last.
        tried: bit mask of the backends tried, and of the `unfit` ones, by index.
        unfit: bit mask of the backends that cannot serve it.
        attempt: the live attempt; None while it waits in the queue. `hedge`: a second one beside it.
        lateness: how late first tokens of its class come; None: there will be no second attempt.
        attempts: dispatched so far; `refusals`: of those, how many are no tries: a backend was
            full and did not take it, or ended at a lowered ceiling.
        delivered_tokens: of its answer, those that the client has from attempts that broke off: they are in
            `input_tokens` now. `resumes`: what is dispatched next goes on from there.
        apart: bit mask of the backends that fail with the one that broke off its answer: it rather goes elsewhere.
        passing: bit mask of the backends that failed it in a way that may pass.
        backs_off_s: until when it waits before one of them is asked again; None while it does not.
        queued_s: when it entered the queue; None while it is not there. `due_s`: when it will have waited too long.
        prompt: what it says of its prompt's beginning; None: nothing.
        max_output_tokens: the client's ceiling on the output that is still to come; None: it gave none.
        lowered_tokens: ceiling on the output of its next attempt, lower than the client's, on the backends of the bit
            mask `lowered_at`. capped: it has reached it, and goes on.
        held_bytes: what it holds in memory while it waits.
        line: where it waits; None: nowhere. `density`: what a second of its work is worth, in USD, while it waits.
        hits: input tokens that each backend probably has cached, by index, when a backend was last
            chosen and before its `hit_factor`; None: nobody looked.
    """

    __slots__ = (
        "apart",
        "arrival",
        "arrived_s",
        "attempt",
        "attempts",
        "backs_off_s",
        "candidates",
        "capped",
        "delivered_tokens",
        "density",
        "due_s",
        "expected_output_tokens",
        "hedge",
        "held_bytes",
        "hits",
        "input_tokens",
        "lateness",
        "line",
        "lowered_at",
        "lowered_tokens",
        "max_output_tokens",
        "passing",
        "prompt",
        "queued_s",
        "refusals",
        "request_id",
        "resumes",
        "streamed",
        "tenant",
        "tried",
        "unfit",
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
        candidates: Candidates,
        work: tuple[float, ...],
        streamed: bool,
        arrived_s: float,
    ) -> None:
        self.request_id = request_id
        self.workload_class = workload_class
        self.tenant = tenant
        self.input_tokens = input_tokens
        self.expected_output_tokens = expected_output_tokens
        self.candidates = candidates
        self.work = work
        self.streamed = streamed
        self.arrived_s = arrived_s
        self.arrival: Arrived | None = None
        self.tried = 0
        self.unfit = 0
        self.attempts = 0
        self.attempt: AttemptState | None = None
        self.hedge: AttemptState | None = None
        self.lateness: Lateness | None = None
        self.queued_s: float | None = None
        self.prompt: Prompt | None = None
        self.hits: dict[int, int] | None = None
        self.refusals = 0
        self.resumes = False
        self.delivered_tokens = 0
        self.passing = 0
        self.apart = 0
        self.backs_off_s: float | None = None
        self.due_s: float = inf
        self.max_output_tokens: int | None = None
        self.lowered_at = 0
        self.lowered_tokens = 0
        self.capped = False
        self.held_bytes = 0
        self.line: TenantLine | None = None
        self.density = 0.0

    @property
    def tries(self) -> int:
        """Attempts that a backend took."""
        return self.attempts - self.refusals

    def not_failed_by(self, backend: BackendState) -> None:
        """Its last attempt was no try: its backend was full, or gave all it was asked for. It may be asked again."""
        self.refusals += 1
        self.tried &= ~(1 << backend.index)

    @property
    def deadline_s(self) -> float:
        """By when it should have ended."""
        return self.arrived_s + self.workload_class.timeout_s

    def late(self, now_s: float) -> int:
        """The backends that could not end it by its deadline, if they began now, as a bit mask."""
        return self.candidates.later_than(self.deadline_s, now_s, self.input_tokens, self.expected_output_tokens)

    def ceiling_at(self, backends: int) -> int | None:
        """The ceiling on output of an attempt on the backends of a bit mask; None: the client gave none."""
        return self.lowered_tokens if self.lowered_at & backends else self.max_output_tokens

    def resume(self, output_tokens: int, capped: bool) -> None:
        """So many more tokens of its answer have reached the client: what comes next reads them and goes on.

        Args:
            capped: because it had reached a lowered ceiling.
        """
        self.resumes, self.capped, self.lowered_at = True, capped, 0
        self.delivered_tokens += output_tokens
        self.input_tokens += output_tokens
        self.expected_output_tokens = max(self.expected_output_tokens - output_tokens, 1.0)
        if self.max_output_tokens is not None:
            self.max_output_tokens = max(self.max_output_tokens - output_tokens, 1)

    def failed_by(self, backend: BackendState, passes: bool) -> None:
        """Its last attempt failed; whether the backend may do better a moment later."""
        if passes:
            self.passing |= 1 << backend.index
        else:
            self.passing &= ~(1 << backend.index)

    def shun(self, mask: int) -> None:
        """The backends of this bit mask cannot serve it."""
        self.unfit |= mask
        self.tried |= mask
        self.passing &= ~mask

    def cached_tokens(self, backend: Candidate) -> float:
        """Input tokens that `backend` is expected to find in its prefix cache."""
        return 0.0 if self.hits is None else self.hits.get(backend.index, 0) * backend.hit_factor


class AttemptState:
    """An attempt between its `Dispatch` and its end.

    Attributes:
        ttft_s, tpot_s: as expected at its dispatch.
        prefill_s, kv_tokens: what it was dispatched with, to be given back.
        probe: what its answer decides of its backend's breaker.
        first_token_s: when that came.
        waits: it is live and has no first token.
    """

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
        "waits",
    )

    def __init__(
        self,
        attempt_id: int,
        request: RequestState,
        backend: BackendState,
        dispatched_s: float,
        ttft_s: float,
        tpot_s: float,
        prefill_s: float,
        kv_tokens: float,
        probe: Probe,
        first_token_s: float | None = None,
    ) -> None:
        self.attempt_id = attempt_id
        self.request = request
        self.backend = backend
        self.dispatched_s = dispatched_s
        self.ttft_s = ttft_s
        self.tpot_s = tpot_s
        self.prefill_s = prefill_s
        self.kv_tokens = kv_tokens
        self.probe = probe
        self.first_token_s = first_token_s
        self.waits = True
