"""A service known by its observed speed only: every job runs as if alone.

A provider's queues and batches cannot be seen from outside; what was observed already contains them. TTFT is
`curve.ttft_s(input)`, every further token comes `curve.tpot_s()` later. Nothing ever waits and no memory is counted:
`kv_tokens` is what the running jobs hold, without a limit.

What else is known of a provider is optional, and costs nothing where it is not given (`ProviderTerms`): rate limits,
by which a job may be turned away (`quota.py`); a prefix cache with a TTL, whose hits are not prefilled again
(`session_cache.py`); and quantiles of the fixed part of TTFT and of TPOT, from which each job draws its own, in order
of submission, from a stream of random numbers that is given: the same jobs and the same stream, the same times.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from headrace.errors import CapacityError, ModelRangeError
from headrace.fleet import Quantiles, Quota
from headrace.modelserver.kv import KvBlocks
from headrace.modelserver.quota import QuotaGate
from headrace.modelserver.sequence import Outbox, Sequence, Stage, check_time
from headrace.modelserver.server import Job, Milestone, Report
from headrace.modelserver.session_cache import SessionCache
from headrace.perf.speed import SpeedCurve


@dataclass(frozen=True, slots=True)
class ProviderTerms:
    """What is known of a provider beyond one speed.

    Attributes:
        cache_ttl_s: how long its prefix cache remembers after the last use; None: it has none.
        ttft: quantiles of the fixed part of TTFT, in seconds; None: always the curve's.
        tpot: quantiles of TPOT, in seconds; None: always the curve's.
    """

    quota: Quota | None = None
    cache_ttl_s: float | None = None
    ttft: Quantiles | None = None
    tpot: Quantiles | None = None


class HostedSequence(Sequence):
    """A job at a provider: its own time per token, and what its quota reserved."""

    __slots__ = ("reserved", "token_s")

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(job, number)
        self.token_s = 0.0
        self.reserved = 0


class HostedServer:
    """Implements `ModelServer` for one service.

    Attributes:
        gate: its rate limits; None: there are none.
    """

    def __init__(
        self,
        curve: SpeedCurve,
        terms: ProviderTerms | None = None,
        draw: Random | None = None,
        gate: QuotaGate | None = None,
    ) -> None:
        """
        Args:
            draw: where latencies are drawn from; needed where `terms` has quantiles.
            gate: of a quota that it shares with others; None: one of its own, as `terms` say.
        """
        terms = terms or ProviderTerms()
        self._curve = curve
        self._terms = terms
        self._draw = draw or Random(0)
        self.gate = QuotaGate(terms.quota) if gate is None and terms.quota is not None else gate
        self._cache = None if terms.cache_ttl_s is None else SessionCache(terms.cache_ttl_s)
        self._token_s = curve.tpot_s()
        self._unlimited = KvBlocks(None)
        self._outbox = Outbox(HostedSequence)
        self._ends: list[tuple[float, int, HostedSequence]] = []
        self._running = 0
        self._kv_tokens = 0
        self._now_s = 0.0
        self._ended_busy_s = 0.0
        self._busy_since_s: float | None = None

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it starts at once, or is turned away (QuotaExceeded, CapacityError, ModelRangeError)."""
        self._run(now_s)
        sequence = self._outbox.register(job, self._unlimited)
        if self.gate is not None:
            try:
                sequence.reserved = self.gate.reserve(now_s, job, self._running)
            except (CapacityError, ModelRangeError):
                self._outbox.drop(job.job_id)
                raise
        first_s = now_s + self._first_after_s(now_s, sequence, job)
        sequence.first_due_s = first_s
        sequence.token_s = self._token_s if self._terms.tpot is None else self._terms.tpot.at(self._draw.random())
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
            self._true_up(now_s, sequence, self._tokens_by(now_s, sequence))

    def grant(self, now_s: float, fraction: float, pace: float) -> None:
        """Grant `fraction` of every declared rate limit from now on; see `QuotaGate.grant`."""
        if self.gate is not None:
            self.gate.grant(now_s, fraction, pace)

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
        return self._tokens_by(now_s, sequence)

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

    def _first_after_s(self, now_s: float, sequence: HostedSequence, job: Job) -> float:
        """Seconds from submission to first token; notes what the provider's cache has, and what it will have."""
        curve, cache, ttft = self._curve, self._cache, self._terms.ttft
        if cache is not None:
            sequence.cached_tokens = cache.found_tokens(now_s, job)
            if self.gate is not None:
                sequence.reserved -= self.gate.cached(now_s, sequence.cached_tokens)
        fixed_s = curve.ttft_overhead_s if ttft is None else ttft.at(self._draw.random())
        first_s = fixed_s + curve.prefill_s(job.input_tokens - sequence.cached_tokens)
        if cache is not None:
            cache.enter(now_s, now_s + first_s, job)
        return first_s

    def _true_up(self, now_s: float, sequence: HostedSequence, output_tokens: int) -> None:
        if self.gate is not None:
            outside = 0 if self._terms.quota is None or self._terms.quota.count_cached else sequence.cached_tokens
            self.gate.true_up(now_s, sequence.reserved, sequence.input_tokens - outside + output_tokens)

    def _tokens_by(self, now_s: float, sequence: HostedSequence) -> int:
        certain = sequence.tokens_certain(now_s)
        if certain is not None:
            return certain
        last = tokens = sequence.output_tokens
        if sequence.token_s > 0.0:
            tokens = min(int((now_s - self._due_s(sequence, 1)) / sequence.token_s) + 1, last)
        while tokens < last and self._due_s(sequence, tokens + 1) <= now_s:
            tokens += 1
        while tokens > 1 and self._due_s(sequence, tokens) > now_s:
            tokens -= 1
        return tokens

    def _due_s(self, sequence: HostedSequence, token: int) -> float:
        return (sequence.first_due_s or 0.0) + (token - 1) * sequence.token_s

    def _run(self, now_s: float) -> None:
        check_time(now_s, self._now_s)
        ends = self._ends
        while ends and ends[0][0] <= now_s:
            end_s, _, sequence = heappop(ends)
            if not sequence.dropped:
                sequence.stage = Stage.DELIVERY
                self._count(end_s, sequence, -1)
                self._true_up(end_s, sequence, sequence.output_tokens)
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
