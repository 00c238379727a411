"""Speed curves: what the speed model says of a deployment, as the numbers that model servers and prices use.

A curve is computed once per deployment; nothing on a hot path asks the speed model itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from headrace.errors import ModelRangeError


class Serving(StrEnum):
    """How a deployment serves: which model server simulates it."""

    BATCHING = "batching"  # external memory: continuous batching
    DATAFLOW = "dataflow"  # SRAM: a pipeline with the weights resident
    HOSTED = "hosted"  # a service known by its observed speed only


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """Speed of one replica.

    Prefill of T tokens takes `prefill_fixed_s + prefill_s_per_token * T + prefill_s_per_token_squared * T**2`. One
    decode step of B sequences that hold K context tokens together takes `step_s[B] + kv_s_per_token * K`; under
    continuous batching a prefill is carried by a step (`step_s[0]` if there is no sequence to decode). What a client
    sees comes later than that, by `ttft_overhead_s + ttft_overhead_s_per_token * T + ttft_overhead_s_per_sequence * N`
    with N jobs running where its prefill is done, its own included, and all T tokens, those of a prefix hit too: they
    are received and read like any others.

    Attributes:
        step_s: indexed by batch, 0 to `max_batch`. For dataflow and hosted it is constant up to `depth`.
        chunk_tokens: prefill tokens mixed into one step, at most (batching).
        ttft_overhead_s, ttft_overhead_s_per_token, ttft_overhead_s_per_sequence: of front ends, tokenizers, schedulers,
            launches: they delay what is seen of a job and occupy nobody; the last two under continuous batching only.
        depth: sequences in flight that cost no speed (dataflow: pipeline depth).
        kv_capacity_tokens: context tokens that fit beside the weights; None: unknown, unlimited (hosted).
        power_w: electrical power of the replica when busy; None where the catalog has no figure.
        prefill_fixed_s: time that a prefill takes whatever its length, during which nothing else runs.
        tokens_per_pass: tokens that a sequence gets of one pass over the weights; above 1 with speculation. `step_s`
            is per token and has it in already.

    Raises:
        ModelRangeError: an overhead per token or per sequence, and no continuous batching.
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
    prefill_fixed_s: float = 0.0
    tokens_per_pass: float = 1.0
    ttft_overhead_s_per_token: float = 0.0
    ttft_overhead_s_per_sequence: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what the model server of this curve would leave out."""
        parts = (self.ttft_overhead_s_per_token, self.ttft_overhead_s_per_sequence)
        if self.serving is not Serving.BATCHING and any(parts):
            raise ModelRangeError(
                f"a {self.serving} curve with a TTFT overhead per token or per sequence {parts}: only continuous "
                "batching has them; put the first into prefill_s_per_token, leave the second out"
            )

    def spread(self, replicas: int) -> SpeedCurve:
        """The same through a balancer over so many replicas: each has its part of the sequences and their context."""
        if replicas == 1:
            return self
        last = self.max_batch * replicas
        return replace(
            self,
            step_s=tuple(self.step_s[-(-batch // replicas)] for batch in range(last + 1)),
            kv_s_per_token=self.kv_s_per_token / replicas,
            max_batch=last,
            depth=self.depth * replicas,
            kv_capacity_tokens=None if self.kv_capacity_tokens is None else self.kv_capacity_tokens * replicas,
            power_w=None if self.power_w is None else self.power_w * replicas,
            ttft_overhead_s_per_sequence=self.ttft_overhead_s_per_sequence / replicas,
        )

    def prefill_s(self, input_tokens: float) -> float:
        """Seconds that `input_tokens` take to prefill, without the step that carries them; 0 for none."""
        if input_tokens <= 0:
            return 0.0
        per_token_s = self.prefill_s_per_token + self.prefill_s_per_token_squared * input_tokens
        return self.prefill_fixed_s + input_tokens * per_token_s

    def chunk_s(self, done: int, tokens: int) -> float:
        """Seconds that a chunk of `tokens` adds to a step, after `done` tokens of the same prefill."""
        return tokens * (self.prefill_s_per_token + self.prefill_s_per_token_squared * (2 * done + tokens))

    def overhead_s(self, input_tokens: float, jobs: int = 1) -> float:
        """Seconds by which a client sees a job's tokens later than they are computed, with `jobs` running."""
        return (
            self.ttft_overhead_s
            + self.ttft_overhead_s_per_token * input_tokens
            + self.ttft_overhead_s_per_sequence * jobs
        )

    def ttft_s(self, input_tokens: float) -> float:
        """Uncontended time to first token."""
        carrier_s = self.step_s[0] if self.serving is Serving.BATCHING else 0.0
        return self.overhead_s(input_tokens) + carrier_s + self.prefill_s(input_tokens)

    def tpot_s(self, batch: int = 1, context_tokens: float = 0.0) -> float:
        """Time per output token with `batch` sequences in flight, each holding `context_tokens`."""
        held = min(max(batch, 1), self.max_batch)
        return self.step_s[held] + self.kv_s_per_token * held * context_tokens
