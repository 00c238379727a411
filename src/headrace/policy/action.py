"""Actions: everything that a policy engine can want done. The driver carries them out in order."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

EARLY_S: Final = 0.001  # a timer may fire so much before its time: loops count milliseconds


class Outcome(StrEnum):
    """How a request ended. Every request ends exactly once."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RejectReason(StrEnum):
    """Why a request was turned away."""

    NO_ROUTE = "no_route"  # no pool serves this model
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    SHED = "shed"  # it would have waited longer than it may
    NO_BACKEND = "no_backend"  # every candidate is down, or all retries are used up
    BUDGET_SPENT = "budget_spent"  # a hard budget has no room for it on any candidate that is up
    UNFIT = "unfit"  # no candidate can give what the request asks for


class DispatchReason(StrEnum):
    """Why an attempt is made."""

    FIRST = "first"
    RETRY = "retry"  # an attempt before it failed, and nothing of it reached the client
    HEDGE = "hedge"  # the attempt before it is late, and lives: the first of both to answer wins
    RESCUE = "rescue"  # an attempt before it failed, and this one goes on from what the client has
    CONTINUED = "continued"  # an attempt before it reached a lowered ceiling, and this one goes on from there


class Action(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Base of all actions."""


class Dispatch(Action, frozen=True, gc=False, tag=True, array_like=True):
    """Try `request_id` on `backend`: the decision, with its reason in USD.

    Attributes:
        score_usd: priced outcome of the chosen backend; lower is better.
        outside_score_usd: best score outside the steered share's pools, without the share's price; None without one.
        cost_usd: expected marginal cost here; `outside_cost_usd`: on that best outside backend.
        expected_output_tokens: the prediction that the scores used.
        reason: why it is made.
        max_output_tokens: a ceiling on its output that is lower than the client's; None: as the client said.
    """

    request_id: int
    attempt_id: int
    backend: str
    score_usd: float
    cost_usd: float
    expected_output_tokens: float
    outside_score_usd: float | None = None
    outside_cost_usd: float | None = None
    reason: DispatchReason = DispatchReason.FIRST
    max_output_tokens: int | None = None


class Cancel(Action, frozen=True, gc=False, tag=True, array_like=True):
    """Stop an attempt: close its connection and free what it holds."""

    attempt_id: int


class SetTimer(Action, frozen=True, gc=False, tag=True, array_like=True):
    """Send `TimerFired(timer_id)` at `at_s` or soon after, and at most `EARLY_S` before: else it is passed over."""

    timer_id: int
    at_s: float


class Enqueue(Action, frozen=True, gc=False, tag=True, array_like=True):
    """Hold the request: every candidate is full now, or is to be left alone for a moment."""

    request_id: int


class Reject(Action, frozen=True, gc=False, tag=True, array_like=True):
    """Tell the client no, and when to ask again. An `End` follows."""

    request_id: int
    reason: RejectReason
    retry_after_s: float


class End(Action, frozen=True, gc=False, tag=True, array_like=True):
    """The request has ended, in this way and for good."""

    request_id: int
    outcome: Outcome


AnyAction = Dispatch | Cancel | SetTimer | Enqueue | Reject | End
