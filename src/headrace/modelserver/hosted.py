"""A service known by its observed speed only: every job runs as if alone.

A provider's queues and batches cannot be seen from outside; what was observed already contains them. TTFT is
`curve.ttft_s(input)`, every further token comes `curve.tpot_s()` later. Nothing ever waits and no memory is counted:
`kv_tokens` is what the running jobs hold, without a limit. (Quotas are the provider's own limit; not modelled yet.)
"""

from __future__ import annotations

from heapq import heappop, heappush

from headrace.modelserver.kv import KvBlocks
from headrace.modelserver.sequence import Outbox, Sequence, Stage, check_time
from headrace.modelserver.server import Job, Milestone, Report
from headrace.perf.speed import SpeedCurve


class HostedServer:
    """Implements `ModelServer` for one service."""

    def __init__(self, curve: SpeedCurve) -> None:
        self._curve = curve
        self._token_s = curve.tpot_s()
        self._unlimited = KvBlocks(None)
        self._outbox = Outbox(Sequence)
        self._ends: list[tuple[float, int, Sequence]] = []
        self._running = 0
        self._kv_tokens = 0
        self._now_s = 0.0
        self._ended_busy_s = 0.0
        self._busy_since_s: float | None = None

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it starts at once."""
        self._run(now_s)
        sequence = self._outbox.register(job, self._unlimited)
        first_s = now_s + self._curve.ttft_s(job.input_tokens)
        sequence.first_due_s = first_s
        sequence.stage = Stage.DECODE
        self._outbox.add(first_s, sequence, Milestone.FIRST_TOKEN)
        end_s = self._due_s(sequence, job.output_tokens)
        self._outbox.add(end_s, sequence, Milestone.FINISHED)
        heappush(self._ends, (end_s, sequence.number, sequence))
        self._count(now_s, sequence, +1)

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job. Unknown or ended jobs are ignored."""
        self._run(now_s)
        sequence = self._outbox.drop(job_id)
        if sequence is not None and sequence.stage is Stage.DECODE:
            self._count(now_s, sequence, -1)

    def next_s(self) -> float | None:
        """When `advance` will next have something to report; None when nothing runs."""
        return self._outbox.next_s()

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        return self._outbox.release(now_s)

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        sequence = self._outbox.find(job_id)
        if sequence is None:
            return 0
        certain = sequence.tokens_certain(now_s)
        if certain is not None:
            return certain
        last = tokens = sequence.output_tokens
        if self._token_s > 0.0:
            tokens = min(int((now_s - self._due_s(sequence, 1)) / self._token_s) + 1, last)
        while tokens < last and self._due_s(sequence, tokens + 1) <= now_s:
            tokens += 1
        while tokens > 1 and self._due_s(sequence, tokens) > now_s:
            tokens -= 1
        return tokens

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; None if the job is unknown or has no such token."""
        sequence = self._outbox.find(job_id)
        if sequence is None or not 1 <= token <= sequence.output_tokens:
            return None
        return self._due_s(sequence, token)

    @property
    def running(self) -> int:
        """Jobs submitted and not ended."""
        return self._running

    @property
    def waiting(self) -> int:
        """Always 0."""
        return 0

    @property
    def busy_s(self) -> float:
        """Seconds with at least one running job, up to the last call."""
        if self._busy_since_s is None:
            return self._ended_busy_s
        return self._ended_busy_s + self._now_s - self._busy_since_s

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs hold."""
        return self._kv_tokens

    def _due_s(self, sequence: Sequence, token: int) -> float:
        return (sequence.first_due_s or 0.0) + (token - 1) * self._token_s

    def _run(self, now_s: float) -> None:
        check_time(now_s, self._now_s)
        ends = self._ends
        while ends and ends[0][0] <= now_s:
            end_s, _, sequence = heappop(ends)
            if not sequence.dropped:
                sequence.stage = Stage.DELIVERY
                self._count(end_s, sequence, -1)
        self._now_s = now_s

    def _count(self, at_s: float, sequence: Sequence, change: int) -> None:
        """Count a job in or out."""
        self._running += change
        self._kv_tokens += change * (sequence.input_tokens + sequence.output_tokens)
        if self._running and self._busy_since_s is None:
            self._busy_since_s = at_s
        elif not self._running and self._busy_since_s is not None:
            self._ended_busy_s += at_s - self._busy_since_s
            self._busy_since_s = None
