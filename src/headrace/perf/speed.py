"""Speed curves: what the speed model says of a deployment, as the numbers that model servers and prices use.

A curve is computed once per deployment; nothing on a hot path asks the speed model itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Serving(StrEnum):
    """How a deployment serves: which model server simulates it."""

    BATCHING = "batching"  # external memory: continuous batching
    DATAFLOW = "dataflow"  # SRAM: a pipeline with the weights resident
    HOSTED = "hosted"  # a service known by its observed speed only


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """Speed of one replica.

    Prefill of T tokens alone takes `prefill_sequence_s + prefill_s_per_token * T + prefill_s_per_token_squared * T**2`;
    the first token comes `ttft_overhead_s` later. One decode step of B sequences that hold K context tokens together
    takes `step_s[B] + kv_s_per_token * K` (`step_s[0]` is the fixed part of a step that only prefills).

    Attributes:
        step_s: indexed by batch, 0 to `max_batch`. For dataflow and hosted it is constant up to `depth`.
        chunk_tokens: prefill tokens mixed into one step, at most (batching).
        depth: sequences in flight that cost no speed (dataflow: pipeline depth).
        kv_capacity_tokens: context tokens that fit beside the weights; None: unknown, unlimited (hosted).
        power_w: electrical power of the replica when busy; None where the catalog has no figure.
        prefill_sequence_s: what each prompt adds to the step that completes it, whatever its length: its first token's
            logits and sampling (batching). Unlike `ttft_overhead_s` it keeps the chip busy, and others waiting.
    """

    serving: Serving
    ttft_overhead_s: float
    prefill_s_per_token: float
    prefill_s_per_token_squared: float
    step_s: tuple[float, ...]
    kv_s_per_token: float
    max_batch: int
    chunk_tokens: int
    depth: int
    kv_capacity_tokens: int | None
    power_w: float | None
    prefill_sequence_s: float = 0.0

    def prefill_s(self, input_tokens: float) -> float:
        """Seconds to prefill `input_tokens` alone, without the fixed overhead."""
        per_token = self.prefill_s_per_token + self.prefill_s_per_token_squared * input_tokens
        return self.prefill_sequence_s + input_tokens * per_token

    def ttft_s(self, input_tokens: float) -> float:
        """Uncontended time to first token."""
        return self.ttft_overhead_s + self.prefill_s(input_tokens)

    def tpot_s(self, batch: int = 1, context_tokens: float = 0.0) -> float:
        """Time per output token with `batch` sequences in flight, each holding `context_tokens`."""
        held = min(max(batch, 1), self.max_batch)
        return self.step_s[held] + self.kv_s_per_token * held * context_tokens
