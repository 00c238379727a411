"""Time guards of answers on their way: one that stops coming, or crawls, has failed, and another backend goes on.

Before its first token an answer is guarded by the engine (`first_byte_timeout_s`, `answer_timeout_s`).
"""

from __future__ import annotations

from headrace.fleet import Limits
from headrace.gateway.attempt import Attempt
from headrace.gateway.pace import Pace
from headrace.policy import FailureKind


def guarded(attempt: Attempt, limits: Limits, passed_s: float) -> FailureKind | None:
    """How an answer has failed; None: it has not. A client that reads slowly is no fault of its backend.

    Args:
        passed_s: since it was asked last.
    """
    answer = attempt.answer
    if answer is None or attempt.held_back:
        attempt.pace = None
        return None
    if answer.quiet(passed_s) >= limits.stall_timeout_s:
        return FailureKind.STALLED
    if not limits.min_tokens_per_s or not attempt.committed:
        return None
    tokens = answer.spoken_tokens()
    if tokens is None:
        return None
    if attempt.pace is None:
        attempt.pace = Pace(tokens)
        return None
    return FailureKind.SLOW if attempt.pace.below(limits.min_tokens_per_s, tokens, passed_s) else None
