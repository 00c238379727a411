"""How a model server manages its KV cache: what a job reserves, who is preempted, and whether prefixes are shared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KvPolicy(StrEnum):
    """What a job must find free before it is admitted."""

    RESERVE = "reserve"  # room for its input and its whole output: nothing is ever preempted
    GROW = "grow"  # room for its input; blocks are added as it decodes (vLLM, SGLang)


class Preemption(StrEnum):
    """What happens to the KV of a job that has to give way."""

    RECOMPUTE = "recompute"  # dropped; input and output so far are prefilled again
    SWAP = "swap"  # copied to host memory and back


@dataclass(frozen=True, slots=True)
class KvCache:
    """KV cache settings of a deployment whose model server batches.

    Attributes:
        watermark: fraction of all blocks that an admission leaves free (`grow`), so that it is not preempted at once.
        prefix_cache: input that an earlier job had in common is not computed again.
        swap_bytes: host memory for swapped KV, per replica.
        swap_bytes_per_s: host link, per replica and direction; must be given for `swap`.
    """

    policy: KvPolicy = KvPolicy.RESERVE
    preemption: Preemption = Preemption.RECOMPUTE
    watermark: float = 0.01
    prefix_cache: bool = False
    swap_bytes: float = 0.0
    swap_bytes_per_s: float = 0.0
