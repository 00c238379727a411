"""`[deployments]` of a fleet file and the tables in it: what a model runs on, and how it is served."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.config.document import Count, NotNegative, NotNegativeCount, Positive, Table, Text
from headrace.fleet import KvPolicy, Preemption


class QuantilesTable(Table, frozen=True, kw_only=True):
    """Quantiles by name, as many as are known: `{ p50 = 0.2, p99 = 1.1 }`.

    Attributes:
        p1, p5, p10, p25, p50, p75, p90, p95, p99: the value that so many percent of all are not above.
    """

    p1: NotNegative | None = None
    p5: NotNegative | None = None
    p10: NotNegative | None = None
    p25: NotNegative | None = None
    p50: NotNegative | None = None
    p75: NotNegative | None = None
    p90: NotNegative | None = None
    p95: NotNegative | None = None
    p99: NotNegative | None = None


class ObservedTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.observed]`: speed as it was measured from outside; see `fleet.OperatingPoint`.

    Attributes:
        ttft_s: time to first token of an empty prompt.
        input_tokens_per_s: speed of the prefill.
        tpot_s: time per output token.
        ttft_quantiles_s, tpot_quantiles_s: how these scatter from request to request; None: not at all.
    """

    ttft_s: NotNegative
    input_tokens_per_s: Positive
    tpot_s: Positive
    batch: Count = 1
    cache_ttl_s: Positive | None = None
    ttft_quantiles_s: QuantilesTable | None = None
    tpot_quantiles_s: QuantilesTable | None = None


class KvCacheTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.kv_cache]`: see `fleet.KvCache`.

    Attributes:
        policy: `reserve` keeps room for input and output, so nothing is preempted; `grow` takes it as it is used.
        preemption: what becomes of preempted KV: prefilled again, or held in host memory.
    """

    policy: KvPolicy = KvPolicy.RESERVE
    preemption: Preemption = Preemption.RECOMPUTE
    watermark: Annotated[float, Meta(ge=0, lt=1)] = 0.01
    prefix_cache: bool = False
    swap_bytes: NotNegative = 0.0
    swap_bytes_per_s: NotNegative = 0.0


class QuotaTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.quota]`: rate limits of an observed service; see `fleet.Quota`."""

    requests_per_minute: Positive | None = None
    requests_per_day: Positive | None = None
    tokens_per_minute: Positive | None = None
    tokens_per_day: Positive | None = None
    assumed_output_tokens: NotNegativeCount = 0
    true_up: bool = True
    count_cached: bool = True
    max_in_flight: Count | None = None
    name: Text | None = None
    reserve_output: bool | None = None
    at_once: bool = False


class ReplicasTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.replicas]`: see `fleet.Replicas`; `max_replicas` left out is `min_replicas`.

    Attributes:
        min_replicas: replicas that there are at least.
        max_replicas: at most; None: as `min_replicas`, and nothing is scaled.
    """

    min_replicas: Count = 1
    max_replicas: Count | None = None
    target_in_flight: Positive | None = None
    start_s: NotNegative = 0.0
    interval_s: Positive = 15.0
    scale_down_delay_s: NotNegative = 300.0


class SplitTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.split]`: see `fleet.Split`.

    Attributes:
        prefill_replicas: replicas that only prefill.
        decode_replicas: replicas that only decode.
    """

    prefill_replicas: Count
    decode_replicas: Count
    link_bytes_per_s: Positive
    link_latency_s: NotNegative = 0.0


class SparesTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.spares]`: see `fleet.Spares`; how long it takes has no default."""

    count: NotNegativeCount = 0
    recover_s: NotNegative
    repair_s: NotNegative


class SpeculationTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME.speculation]`: a draft as it was measured. See `fleet.Speculation`."""

    acceptance: Annotated[float, Meta(ge=0, le=1)]
    draft_tokens: Annotated[int, Meta(ge=0, le=64)]
    draft_cost: NotNegative


class DeploymentTable(Table, frozen=True, kw_only=True):
    """`[deployments.NAME]`: a model on accelerators (`accelerator`, `count`), or a service (`observed`, `calibrated`).

    Attributes:
        calibrated: file that `headrace calibrate` wrote, relative to the fleet file; goes with an accelerator or alone.
        model: a name of `[models]`.
        accelerator: a name of `[accelerators]` or of the catalog; None: it is a service.
        observed: the speed of a service, as measured.
    """

    model: Text
    accelerator: Text | None = None
    count: Count = 1
    weight_bits: Annotated[int, Meta(ge=1, le=32)] | None = None
    max_batch: Annotated[int, Meta(ge=1, le=65536)] = 128
    software: Text | None = None
    attention_ranks: Count = 1
    expert_parallel: bool = False
    observed: ObservedTable | None = None
    release: Annotated[str, Meta(pattern=r"^20\d\d(-\d\d)?$")] | None = None
    speculation: SpeculationTable | bool = False
    calibrated: Text | None = None
    kv_cache: KvCacheTable | None = None
    quota: QuotaTable | None = None
    replicas: ReplicasTable | None = None
    split: SplitTable | None = None
    spares: SparesTable | None = None
