"""Prefill and decode apart: two stations and a link (disaggregation).

A job is prefilled at one station, which also yields its first token. Then its KV goes over the link, and the other
station decodes the rest, undisturbed by prefills:

    transfer_s = link_latency_s + input tokens * kv_bytes_per_token / link_bytes_per_s

The link takes one transfer at a time, in order of prefill. Room at the decode station is taken when the KV is there. A
job that the decode station preempts by recompute is prefilled again there, as vLLM does.

What is seen of a job lags by the overhead that it has where it is prefilled (`SpeedCurve.overhead_s`: its input tokens
and the jobs that run there), the tokens that the other station decodes too.

Law: with a link of no cost, the first token comes as from the prefill station alone, and no token of a job is earlier
than the decode station alone could make it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.errors import InvariantError, ModelRangeError
from headrace.fleet import KvCache
from headrace.modelserver.clock import TokenClock
from headrace.modelserver.kv import KvBlocks
from headrace.modelserver.paged import PagedServer
from headrace.modelserver.pages import PagedSequence
from headrace.modelserver.replicas import ReplicatedServer
from headrace.modelserver.sequence import Outbox, Stage, check_time
from headrace.modelserver.sequence import Sequence as Tracked
from headrace.modelserver.server import Job, Milestone, ModelServer, Report
from headrace.perf.speed import SpeedCurve


class PrefillServer(PagedServer):
    """A paged server that reports when a job's KV can go: at once. When its token is seen, `token_due_s` says."""

    def __init__(self, curve: SpeedCurve, settings: KvCache) -> None:
        super().__init__(curve, settings)
        self._clock = TokenClock(0.0)

    def _report(self, sequence: PagedSequence, milestone: Milestone) -> None:
        self._outbox.add(self._clock.at_s, sequence, milestone)


class DecodeServer(ModelServer, Protocol):
    """A model server that also takes jobs that were prefilled elsewhere."""

    def receive(self, now_s: float, job: Job, lag_s: float) -> None:
        """Accept a job whose KV and first token are there, and whose tokens are seen `lag_s` late."""


class DecodeReplicas(ReplicatedServer[DecodeServer]):
    """Several replicas as one decode station."""

    def receive(self, now_s: float, job: Job, lag_s: float) -> None:
        """Hand the job to the replica with the fewest; it stays there."""
        self._hand_over(now_s, job, lambda server: server.receive(now_s, job, lag_s))


@dataclass(frozen=True, slots=True)
class Link:
    """What KV goes over from prefill to decode.

    Attributes:
        kv_bytes_per_token: what a context token takes.
    """

    bytes_per_s: float
    kv_bytes_per_token: float
    latency_s: float = 0.0

    def transfer_s(self, tokens: int) -> float:
        """Seconds that the KV of so many context tokens needs."""
        return self.latency_s + tokens * self.kv_bytes_per_token / self.bytes_per_s


class _Split(Tracked):
    """A job on its way through both stations."""

    __slots__ = ("job", "sent")

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(job, number)
        self.job = job
        self.sent = False  # the decode station has it


class SplitServer:
    """Implements `ModelServer` for one prefill station and one decode station.

    Raises:
        ModelRangeError: the link has no bandwidth.
    """

    def __init__(
        self,
        prefill: ReplicatedServer[PrefillServer],
        decode: DecodeReplicas,
        link: Link,
        decode_kv_tokens: int | None,
    ) -> None:
        """
        Args:
            decode_kv_tokens: context tokens that one replica of the decode station holds; None: no limit.
        """
        if link.bytes_per_s <= 0.0:
            raise ModelRangeError(f"split: a link of {link.bytes_per_s} bytes/s moves no KV")
        self._prefill, self._decode, self._link = prefill, decode, link
        self._capacity = KvBlocks(decode_kv_tokens)
        self._outbox = Outbox(_Split)
        self._transfers: deque[tuple[float, _Split]] = deque()
        self._link_free_s = 0.0
        self._now_s = 0.0

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job. Raises ModelRangeError if it can never fit one of the stations."""
        self._run(now_s)
        self._outbox.register(job, self._capacity)
        first = Job(job.job_id, job.input_tokens, 1, job.prefix, job.prefix_block_tokens)
        try:
            self._prefill.submit(now_s, first)
        except ModelRangeError:
            self._outbox.drop(job.job_id)
            raise

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job wherever it is; a transfer that has begun still takes its time."""
        self._run(now_s)
        if self._outbox.drop(job_id) is not None:
            self._prefill.abort(now_s, job_id)
            self._decode.abort(now_s, job_id)

    def next_s(self) -> float | None:
        """When `advance` next reports something or moves a job on; None when nothing runs."""
        times = [self._outbox.next_s(), self._prefill.next_s(), self._decode.next_s()]
        times += [at_s for at_s, _ in self._transfers][:1]
        return min((at_s for at_s in times if at_s is not None), default=None)

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        return self._outbox.release(now_s)

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        split = self._outbox.find(job_id)
        if split is None:
            return 0
        certain = split.tokens_certain(now_s)
        if certain is not None:
            return certain
        return max(1, self._decode.produced(now_s, job_id)) if split.sent else 1

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; None if its station cannot say yet, or forgot."""
        split = self._outbox.find(job_id)
        if split is None or not 1 <= token <= split.output_tokens:
            return None
        if token == 1 or split.first_due_s is None:
            return split.first_due_s
        return self._decode.token_due_s(job_id, token) if split.sent else None

    @property
    def running(self) -> int:
        """Jobs being prefilled, transferred or decoded."""
        return self._prefill.running + len(self._transfers) + self._decode.running

    @property
    def waiting(self) -> int:
        """Jobs that wait at a station."""
        return self._prefill.waiting + self._decode.waiting

    @property
    def busy_s(self) -> float:
        """Busy seconds of both stations together."""
        return self._prefill.busy_s + self._decode.busy_s

    @property
    def kv_tokens(self) -> int:
        """Context tokens held at both stations."""
        return self._prefill.kv_tokens + self._decode.kv_tokens

    def replica_s(self, now_s: float) -> float:
        """Seconds of the replicas of both stations up to `now_s`."""
        self._run(now_s)
        return self._prefill.replica_s(now_s) + self._decode.replica_s(now_s)

    def _run(self, now_s: float) -> None:
        """Everything up to `now_s`, in order of time: prefills that end, and KV that arrives."""
        check_time(now_s, self._now_s)
        while (at_s := self._next_move_s()) is not None and at_s <= now_s:
            self._prefilled(self._prefill.advance(at_s))
            self._arrived(at_s)
        self._prefilled(self._prefill.advance(now_s))
        self._decoded(self._decode.advance(now_s))
        self._now_s = now_s

    def _next_move_s(self) -> float | None:
        times = [self._prefill.next_s(), *[at_s for at_s, _ in self._transfers][:1]]
        return min((at_s for at_s in times if at_s is not None), default=None)

    def _prefilled(self, reports: Sequence[Report]) -> None:
        for report in reports:
            split = self._outbox.find(report.job_id)
            if split is None or report.milestone is Milestone.FIRST_TOKEN:
                continue
            split.cached_tokens = report.cached_input_tokens
            due_s = split.first_due_s = self._first_due_s(report.job_id)
            split.lag_s = due_s - report.at_s
            split.stage = Stage.DECODE
            self._outbox.add(due_s, split, Milestone.FIRST_TOKEN)
            if split.output_tokens == 1:
                split.stage = Stage.DELIVERY
                self._outbox.add(due_s, split, Milestone.FINISHED)
            else:
                self._link_free_s = max(self._link_free_s, report.at_s) + self._link.transfer_s(split.input_tokens)
                self._transfers.append((self._link_free_s, split))

    def _first_due_s(self, job_id: int) -> float:
        """When the first token of a job that was prefilled just now is seen."""
        due_s = self._prefill.token_due_s(job_id, 1)
        if due_s is None:
            raise InvariantError(f"split: job {job_id} was prefilled and has no first token")
        return due_s

    def _arrived(self, now_s: float) -> None:
        while self._transfers and self._transfers[0][0] <= now_s:
            _, split = self._transfers.popleft()
            if not split.dropped:
                self._decoded(self._decode.advance(now_s))
                split.sent = True
                self._decode.receive(now_s, split.job, split.lag_s)

    def _decoded(self, reports: Sequence[Report]) -> None:
        for report in reports:
            split = self._outbox.find(report.job_id)
            if split is not None and report.milestone is Milestone.FINISHED:
                self._outbox.add(report.at_s, split, Milestone.FINISHED)
