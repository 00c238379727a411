"""Deployments: a model on a count of accelerators, or a service known by what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.fleet.accelerator import Accelerator
from headrace.fleet.calibration import Calibration
from headrace.fleet.kv_cache import KvCache
from headrace.fleet.model import Model
from headrace.fleet.quota import Quantiles, Quota
from headrace.fleet.replicas import Replicas
from headrace.fleet.spare import Spares
from headrace.fleet.split import Split


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Observed speed of a service, independent of load.

    TTFT = `ttft_s` + input tokens / `input_tokens_per_s`; TPOT = `tpot_s`.

    Attributes:
        batch: sequences that share one decode step; a token's share of the work is `tpot_s / batch`.
        cache_ttl_s: how long the service's prefix cache remembers after the last use; None: it has none.
        ttft_quantiles: how `ttft_s` scatters from request to request, in seconds; None: not at all.
        tpot_quantiles: how `tpot_s` does.
    """

    ttft_s: float
    input_tokens_per_s: float
    tpot_s: float
    batch: int = 1
    cache_ttl_s: float | None = None
    ttft_quantiles: Quantiles | None = None
    tpot_quantiles: Quantiles | None = None


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding as deployed: a draft proposes tokens, and the model checks all of them in one pass.

    Attributes:
        acceptance: chance that a drafted token is accepted, 0 to 1; it depends on the traffic, so measure it.
        draft_tokens: tokens drafted for one pass.
        draft_cost: time of one draft step, as a fraction of a decode step of the model.
    """

    acceptance: float
    draft_tokens: int
    draft_cost: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """Model x accelerator x count: the unit whose speed is predicted.

    Its speed comes from `calibrated` (fitted to a probe) if that is set, from `observed` (measured from outside, and
    then without an accelerator), or from the speed model of its `accelerator`.

    Attributes:
        count: accelerators of one replica, all of them used together.
        weight_bits: precision of the bulk of the weights as deployed.
        max_batch: most sequences decoded together; on Neuron the batch that the graph is compiled for.
        software: model server whose speed is meant (`vllm`, `sglang`, `trtllm`); None: any.
        attention_ranks: groups of accelerators that hold different sequences (attention data parallelism).
        expert_parallel: experts are spread whole over the accelerators, not sharded.
        release: the software that drives the accelerator, as a date (`2024-10`); None: the newest known.
        speculation: the model server drafts tokens and checks several in one pass: as declared, or (True) as the
            coefficients of the chip know it.
        kv_cache: how a batching model server manages its KV cache; None: it reserves, and shares nothing.
        quota: rate limits of each backend of an observed service; None: none.
        replicas: how many replicas stand behind one backend; None: one.
        split: prefill and decode on replicas of their own; None: together.
        spares: what stands by for a lost accelerator; None: what a loss means is not said.
    """

    name: str
    model: Model
    accelerator: Accelerator | None = None
    count: int = 1
    weight_bits: int | None = None
    max_batch: int = 128
    software: str | None = None
    attention_ranks: int = 1
    expert_parallel: bool = False
    observed: OperatingPoint | None = None
    release: str | None = None
    speculation: Speculation | bool = False
    calibrated: Calibration | None = None
    kv_cache: KvCache | None = None
    quota: Quota | None = None
    replicas: Replicas | None = None
    split: Split | None = None
    spares: Spares | None = None

    @property
    def finds_prefixes(self) -> bool:
        """Whether it keeps what prompts have in common, as declared or observed."""
        kept = self.kv_cache is not None and self.kv_cache.prefix_cache
        return kept or (self.observed is not None and self.observed.cache_ttl_s is not None)

    @property
    def decoding_replicas(self) -> int:
        """Replicas behind one backend that decode, at least."""
        if self.split is not None:
            return self.split.decode_replicas
        return 1 if self.replicas is None else self.replicas.min_replicas
