"""What every model server is: a pure state machine in continuous time.

A driver submits jobs, asks when something will next happen (`next_s`), and advances the server to that time. The
simulator does so in virtual time, the emulator in real time. The rule that keeps both cheap: **fast-forward**. Between
two changes of the batch every sequence moves by one token a step, so the time of the next change has a closed form;
the cost of a run grows with requests, never with tokens.

Laws (tests/modelserver): KV tokens allocated + free = total; every job finishes or is aborted exactly once; time never
goes back; a job's first token comes before its last.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import msgspec


class Job(msgspec.Struct, frozen=True, gc=False):
    """One attempt as the model server sees it: it alone knows the true output length (at least 1).

    Attributes:
        prefix: hashes of the input's blocks, from its start; equal hashes mean that all input up to there is equal.
            A last, partial block may have one too; it is never shared.
        prefix_block_tokens: tokens of one such block; a multiple of the KV block. 0 without hashes.
        max_output_tokens: the client's ceiling, where it sent one: what a provider's quota reserves.
    """

    job_id: int
    input_tokens: int
    output_tokens: int
    prefix: Sequence[int] = ()
    prefix_block_tokens: int = 0
    max_output_tokens: int | None = None


class Milestone(IntEnum):
    """What a server reports of a job."""

    FIRST_TOKEN = 0
    FINISHED = 1


class Report(msgspec.Struct, frozen=True, gc=False):
    """`milestone` of job `job_id` was reached at `at_s`; `cached_input_tokens` of its input were not computed again."""

    at_s: float
    job_id: int
    milestone: Milestone
    cached_input_tokens: int = 0


class ModelServer(Protocol):
    """A simulated model server. All times are absolute seconds on the driver's clock; `now_s` never decreases."""

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job; it waits until there is room.

        Raises:
            ModelRangeError: it can never fit.
            QuotaExceeded: a provider turns it away (429) and says when to come back.
            CapacityError: a provider is full (503).
            BackendError: it cannot be reached.
        """

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job and free what it holds. Unknown or ended jobs are ignored."""

    def next_s(self) -> float | None:
        """When to `advance` next, if nothing is submitted or aborted until then: never after the next report is due.

        A server may ask for it earlier: one whose jobs are reported differently late, at most once for each change of
        its batch; one that preempts, where it decides anew. None: there is nothing to come.
        """

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has produced by `now_s` (0 before its first token). Call after `advance(now_s)`."""

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due if nothing else changes; None if the job is not decoding."""

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""

    @property
    def waiting(self) -> int:
        """Jobs that wait for room."""

    @property
    def busy_s(self) -> float:
        """Seconds with at least one running job, up to the last `advance`."""

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs have reserved."""
