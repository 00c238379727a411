"""Prefill and decode on replicas of their own (disaggregation)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """Two groups of replicas behind one backend, each replica with all accelerators of the deployment's `count`.

    Attributes:
        link_bytes_per_s: bandwidth for KV from the prefill group to the decode group, all together.
        link_latency_s: what each transfer takes besides.
    """

    prefill_replicas: int
    decode_replicas: int
    link_bytes_per_s: float
    link_latency_s: float = 0.0
