"""Calibrations: the speed of a deployment as it was fitted to measurements of a live endpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """A fitted number with its 80 % interval; `n` is 0 where it is stated or assumed and not fitted."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted; the meaning of each coefficient is that of `perf.SpeedCurve`.

    Attributes:
        source: where it comes from: the calibration file.
        steps: (batch, seconds of a decode step without context), by batch; between them a step is linear in the batch.
        measured_batch: the largest concurrency that was measured; up to `max_batch` steps are extrapolated.
        chunk_tokens: prefill tokens in one step, at most.
    """

    name: str
    source: str
    endpoint: str
    measured: str
    ttft_overhead_s: Measured
    prefill_fixed_s: Measured
    prefill_s_per_token: Measured
    prefill_s_per_token_squared: Measured
    kv_s_per_token: Measured
    steps: tuple[tuple[int, Measured], ...]
    max_batch: int
    measured_batch: int
    chunk_tokens: int
