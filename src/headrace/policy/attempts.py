"""The table of live attempts, and what begins and ends with one: the load of its backend, the books, the signals."""

from __future__ import annotations

from typing import Final

from headrace.policy.action import Cancel, Dispatch, DispatchReason
from headrace.policy.choice import Choice, Chooser
from headrace.policy.signals import SignalBoard
from headrace.policy.state import AttemptState, RequestState

HEDGE: Final = DispatchReason.HEDGE  # a member is looked up through its enum's metaclass, which every request would pay


class Attempts:
    """Every attempt between its `Dispatch` and its end.

    Attributes:
        live: those attempts, by id.
    """

    __slots__ = ("_board", "_chooser", "_listens", "_next_id", "live")

    def __init__(self, chooser: Chooser, board: SignalBoard, first_id: int = 1) -> None:
        self.live: dict[int, AttemptState] = {}
        self._chooser = chooser
        self._board = board
        self._listens = board.listens
        self._next_id = first_id

    def begin(
        self, now_s: float, request: RequestState, choice: Choice, reason: DispatchReason
    ) -> tuple[AttemptState, Dispatch]:
        """Make an attempt where `choice` says, and book it at its predicted size."""
        attempt_id = self._next_id
        self._next_id = attempt_id + 1
        backend, score_usd, outside, outside_score_usd = choice
        input_tokens, output_tokens = request.input_tokens, request.expected_output_tokens
        cached = outside_cached = 0.0
        if request.hits:
            cached = request.cached_tokens(backend)
            outside_cached = 0.0 if outside is None else request.cached_tokens(outside)
        ttft_s, tpot_s = backend.latency(input_tokens, output_tokens, cached)
        prefill_s, kv_tokens = backend.prefill_s(input_tokens, cached), input_tokens + output_tokens
        probe = backend.took(prefill_s, kv_tokens, request.workload_class.value_of_time_usd_per_s)
        if self._listens:
            self._board.dispatched(now_s, backend, prefill_s, kv_tokens)
        attempt = AttemptState(attempt_id, request, backend, now_s, ttft_s, tpot_s, prefill_s, kv_tokens, probe)
        if reason is HEDGE:
            request.hedge = attempt
        else:
            request.attempt = attempt
        request.attempts += 1
        request.tried |= 1 << backend.index
        request.queued_s = None
        self.live[attempt_id] = attempt
        self._chooser.book(now_s, request, attempt)
        return attempt, Dispatch(
            request.request_id,
            attempt_id,
            backend.name,
            score_usd,
            backend.cost_usd(input_tokens, output_tokens, cached),
            output_tokens,
            outside_score_usd,
            None if outside is None else outside.cost_usd(input_tokens, output_tokens, outside_cached),
            reason,
            request.lowered_tokens if request.lowered_at >> backend.index & 1 else None,
        )

    def cancel(self, now_s: float, attempt: AttemptState, output_tokens: int = 0) -> Cancel:
        """Stop an attempt that is of no use any more and of which so much came; its backend is not to blame."""
        attempt.backend.breaker.released(attempt.probe)
        began = attempt.first_token_s is not None
        self.end(now_s, attempt, attempt.request.input_tokens if began else 0, output_tokens)
        return Cancel(attempt.attempt_id)

    def end(
        self,
        now_s: float,
        attempt: AttemptState,
        used_input: float,
        used_output: float,
        completed: bool = False,
        cached_input: int = 0,
    ) -> None:
        """End an attempt: give back what it held, and true up what it was booked for."""
        request, backend = attempt.request, attempt.backend
        del self.live[attempt.attempt_id]
        if request.hedge is None:
            request.attempt = None
        elif request.hedge is attempt:
            request.hedge = None
        else:
            request.attempt, request.hedge = request.hedge, None
        value_usd_per_s = request.workload_class.value_of_time_usd_per_s
        backend.gave_back(attempt.prefill_s if attempt.waits else 0.0, attempt.kv_tokens, value_usd_per_s)
        attempt.waits = False
        if self._listens:
            self._board.released(now_s, backend)
        self._chooser.ended(now_s, attempt, used_input, used_output, completed, cached_input)
