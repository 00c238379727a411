"""What all model servers share: a job on its way, and the reports that are decided but not yet due."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import Generic, TypeVar

from headrace.errors import InvariantError, ModelRangeError
from headrace.modelserver.kv import KvBlocks
from headrace.modelserver.server import Job, Milestone, Report


class Stage(IntEnum):
    """Where a job is. It only moves down this list, but for a preemption, which takes it back to WAITING."""

    WAITING = 0
    PREFILL = 1
    DECODE = 2
    DELIVERY = 3  # computed; its last reports are not due yet
    ENDED = 4


class Sequence:
    """A job and what a server knows of it.

    Attributes:
        number: order of submission; breaks ties.
        blocks: KV blocks that it holds while in PREFILL and DECODE: room for input and output, reserved up front.
        prefilled: input tokens done.
        first_mark: reading of the server's token clock at its first token; its token n comes n - 1 later.
        first_due_s: when that token is delivered; None before.
        cached_tokens: input tokens that were found in a prefix cache.
        lag_s: by how much its tokens are seen later than they are computed.
        dropped: aborted; whatever still refers to it must pass it over.
    """

    __slots__ = (
        "blocks",
        "cached_tokens",
        "dropped",
        "first_due_s",
        "first_mark",
        "input_tokens",
        "job_id",
        "lag_s",
        "number",
        "output_tokens",
        "prefilled",
        "stage",
    )

    def __init__(self, job: Job, number: int) -> None:
        if job.input_tokens < 1 or job.output_tokens < 1:
            raise ModelRangeError(
                f"job {job.job_id}: {job.input_tokens} input and {job.output_tokens} output tokens; "
                "a model server needs at least 1 of each"
            )
        self.job_id = job.job_id
        self.number = number
        self.input_tokens = job.input_tokens
        self.output_tokens = job.output_tokens
        self.blocks = KvBlocks.blocks_for(job.input_tokens + job.output_tokens)
        self.prefilled = 0
        self.cached_tokens = 0
        self.first_mark = 0.0
        self.first_due_s: float | None = None
        self.lag_s = 0.0
        self.stage = Stage.WAITING
        self.dropped = False

    def tokens_certain(self, now_s: float) -> int | None:
        """Tokens delivered by `now_s` where no clock need be asked: before the first and after the last; else None."""
        if self.first_due_s is None or self.first_due_s > now_s:
            return 0
        return self.output_tokens if self.stage is Stage.ENDED else None


S = TypeVar("S", bound=Sequence)


class Outbox(Generic[S]):
    """The jobs that a server knows, and their reports until they are due.

    A report may be decided before it is due: a batching server may settle a step before it ends, and a
    server delivers what it computed a fixed latency later. Until then the job may still be aborted.
    An ended job can be asked about until the next `release`, so that a driver can place its last tokens.
    """

    def __init__(self, sequence: Callable[[Job, int], S]) -> None:
        """
        Args:
            sequence: makes what the server keeps of a job, from the job and its number.
        """
        self._sequence = sequence
        self._jobs: dict[int, S] = {}
        self._ended: dict[int, S] = {}
        self._heap: list[tuple[float, int, S, Milestone]] = []
        self._reported = 0
        self._submitted = 0

    def register(self, job: Job, kv: KvBlocks) -> S:
        """Enter a new job. Raises ModelRangeError if it can never fit, InvariantError if its id is in use."""
        if job.job_id in self._jobs:
            raise InvariantError(f"job {job.job_id} was submitted twice: give every job its own id")
        self._submitted += 1
        sequence = self._sequence(job, self._submitted)
        if not kv.could_ever_hold(sequence.blocks):
            raise ModelRangeError(
                f"job {job.job_id}: {job.input_tokens} + {job.output_tokens} tokens need {sequence.blocks} KV blocks, "
                f"the replica has {kv.total}; send it to a deployment with more memory"
            )
        self._jobs[job.job_id] = sequence
        return sequence

    def drop(self, job_id: int) -> S | None:
        """Forget a job that has not ended, and its reports; None if there is none."""
        sequence = self._jobs.pop(job_id, None)
        if sequence is not None:
            sequence.dropped = True
        return sequence

    def find(self, job_id: int) -> S | None:
        """The job, if it has not ended or ended in the last `release`."""
        return self._jobs.get(job_id) or self._ended.get(job_id)

    def add(self, due_s: float, sequence: S, milestone: Milestone) -> None:
        """Report `milestone` at `due_s`."""
        self._reported += 1
        heappush(self._heap, (due_s, self._reported, sequence, milestone))

    def next_s(self) -> float | None:
        """When the first report is due; None without one."""
        heap = self._heap
        while heap and heap[0][2].dropped:
            heappop(heap)
        return heap[0][0] if heap else None

    def release(self, now_s: float) -> list[Report]:
        """The reports due by `now_s`, in order."""
        if self._ended:
            self._ended = {}
        heap = self._heap
        reports: list[Report] = []
        while heap and heap[0][0] <= now_s:
            due_s, _, sequence, milestone = heappop(heap)
            if sequence.dropped:
                continue
            reports.append(Report(due_s, sequence.job_id, milestone, sequence.cached_tokens))
            if milestone is Milestone.FINISHED:
                sequence.stage = Stage.ENDED
                self._ended[sequence.job_id] = self._jobs.pop(sequence.job_id)
        return reports


def check_time(now_s: float, last_s: float) -> None:
    """Raise InvariantError if time went back."""
    if now_s < last_s:
        raise InvariantError(f"model server: time went back from {last_s!r} to {now_s!r} s")
