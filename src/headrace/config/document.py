"""The fleet file as typed tables: one struct per table, unknown settings refused.

These structs mirror the file, `build` turns them into the objects of `headrace.fleet`. Money and time carry their
unit in the setting's name. Ranges that one value alone decides are stated here; everything else is in `build` and
`headrace.fleet.check`.
"""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.fleet import Attention, Memory, Per

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
NotNegativeCount = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables of the fleet file."""


class ModelTable(Table, frozen=True, kw_only=True):
    """`[models.NAME]` in full; an empty table takes the model of that name from the catalog. See `fleet.Model`.

    Attributes:
        active_parameters: those that one token touches.
        layers: of the decoder.
        hidden_size: width of the residual stream.
        attention_heads: heads of queries per layer.
        context_tokens: most tokens of a context.
        vocabulary: entries of the embedding.
        source: where the figures come from.
        sliding_window_tokens: tokens of KV that such layers keep.
        attention: how keys and values are cached.
        value_head_size: of a value; None: as `head_size`.
        linear_key_heads, linear_value_heads, linear_head_size: of a linear-attention layer.
        linear_conv_tokens: last tokens that its convolution keeps.
        linear_state_bits: precision of its state.
        expert_ffn_size: width of one expert.
    """

    parameters: Positive
    active_parameters: Positive
    weight_bytes: Positive
    native_weight_bits: Count
    layers: Count
    hidden_size: Count
    attention_heads: Count
    kv_heads: Count
    head_size: Count
    context_tokens: Count
    vocabulary: Count
    source: Text
    experts: Count = 1
    active_experts: Count = 1
    expert_weight_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.0
    sliding_window_layers: NotNegativeCount = 0
    sliding_window_tokens: NotNegativeCount = 0
    sliding_window_kv_heads: Count | None = None
    sliding_window_head_size: Count | None = None
    family: Text | None = None
    attention: Attention = Attention.GQA
    kv_lora_rank: Count | None = None
    query_lora_rank: Count | None = None
    rope_head_size: Count | None = None
    value_head_size: Count | None = None
    gated_attention: bool = False
    linear_attention_layers: NotNegativeCount = 0
    linear_key_heads: Count | None = None
    linear_value_heads: Count | None = None
    linear_head_size: Count | None = None
    linear_conv_tokens: Count | None = None
    linear_state_bits: Count | None = None
    sparse_attention_tokens: Count | None = None
    sparse_index_bytes: Count | None = None
    ffn_size: Count | None = None
    ffn_matrices: Annotated[int, Meta(ge=2, le=3)] = 3
    dense_ffn_layers: NotNegativeCount = 0
    expert_ffn_size: Count | None = None
    shared_experts: NotNegativeCount = 0
    shared_expert_ffn_size: Count | None = None
    tied_embeddings: bool = False
    mtp_layers: NotNegativeCount | None = None
    aliases: tuple[Text, ...] = ()
    unverified: tuple[Text, ...] = ()


class AcceleratorTable(Table, frozen=True, kw_only=True):
    """`[accelerators.NAME]`: a chip of one's own: the catalog's `like`, with the figures given here instead.

    Attributes:
        like: a catalog name; every figure that is not given is taken from it.
        speed_as: the catalog name whose speed coefficients hold; None: those of `like`.
        memory: `external` or `sram`, as the chip of the speed coefficients serves.
        source: where the figures come from.
        vendor: who makes it.
        memory_kind: what it is called (`HBM3`).
        flops_int8: dense peak integer operations/s.
        all_in_w: data-centre power per chip, the figure for power planning.
        price_basis: the terms of that price.
    """

    like: Text
    source: Text
    speed_as: Text | None = None
    vendor: Text | None = None
    memory: Memory | None = None
    memory_kind: Text | None = None
    memory_bytes: Positive | None = None
    memory_bandwidth_bytes_per_s: Positive | None = None
    sram_bytes: Positive | None = None
    second_tier_memory_bytes: Positive | None = None
    flops_bf16: Positive | None = None
    flops_fp8: Positive | None = None
    flops_fp4: Positive | None = None
    flops_int8: Positive | None = None
    scale_up_bandwidth_bytes_per_s: Positive | None = None
    scale_up_domain_chips: Count | None = None
    tdp_w: Positive | None = None
    all_in_w: Positive | None = None
    price_usd_per_h: NotNegative | None = None
    price_basis: str | None = None
    availability: Text | None = None


class PerTokenTable(Table, frozen=True, kw_only=True, tag_field="type", tag="per_token"):
    """`[pools.NAME.price]` with `type = "per_token"`: list prices in USD per million tokens.

    Attributes:
        input_usd_per_mtok: USD per million input tokens.
        output_usd_per_mtok: USD per million output tokens.
    """

    input_usd_per_mtok: NotNegative
    output_usd_per_mtok: NotNegative
    cached_input_usd_per_mtok: NotNegative | None = None


class HourlyTable(Table, frozen=True, kw_only=True, tag_field="type", tag="hourly"):
    """`[pools.NAME.price]` with `type = "hourly"`: capacity paid by the hour; a request adds its energy.

    Attributes:
        usd_per_accelerator_hour: what one accelerator costs, used or not.
        electricity_usd_per_kwh: what a request's energy costs.
    """

    usd_per_accelerator_hour: NotNegative
    electricity_usd_per_kwh: NotNegative
    pue: Annotated[float, Meta(ge=1)] = 1.0


class BackendTable(Table, frozen=True, kw_only=True):
    """`[[pools.NAME.backends]]`.

    Attributes:
        name: its name in answers, metrics and records; no two of a fleet have the same.
    """

    name: Text
    url: Text
    api_key_env: Text | None = None
    api_key_file: Text | None = None
    max_in_flight: int = 256
    emulated: bool = False
    dialect: Text = "openai-compatible"
    token_command: tuple[Text, ...] = ()
    token_refresh_s: Positive = 1800.0
    aws_region: Text | None = None
    lacks: tuple[Text, ...] = ()
    link_local: bool = False
    ca_file: Text | None = None
    client_certificate_file: Text | None = None
    client_key_file: Text | None = None
    served_model_name: Text | None = None


class PoolTable(Table, frozen=True, kw_only=True):
    """`[pools.NAME]`.

    Attributes:
        deployment: a name of `[deployments]`.
        price: what its use costs: `type = "per_token"` or `type = "hourly"`.
        backends: where it answers.
        served_model_name: what its backends call its model, where they say nothing else.
    """

    deployment: Text
    price: PerTokenTable | HourlyTable
    backends: list[BackendTable] = []
    max_kv_fraction: Annotated[float, Meta(gt=0, le=1)] | None = None
    kv_starting_price_usd: NotNegative = 0.0
    assumed_w: Positive | None = None
    domain: Text | None = None
    served_model_name: Text | None = None


class SloTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME.slo]`."""

    ttft_s: Positive | None = None
    tpot_s: Positive | None = None
    attainment: float = 0.95
    priced: bool = False
    starting_price_usd: NotNegative = 0.0


class MatchTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME.match]`: any rule that matches is enough."""

    headers: dict[str, str] = {}
    api_key_envs: list[Text] = []
    paths: list[Text] = []
    model_aliases: list[Text] = []
    clients: list[Text] = []


class ClassTable(Table, frozen=True, kw_only=True):
    """`[classes.NAME]`. The value of time has no default: it is the point of a class.

    Attributes:
        slo: what its users expect.
        match: which requests are of it.
    """

    value_of_time_usd_per_s: NotNegative
    timeout_s: Positive = 600.0
    ttft_timeout_s: Positive | None = None
    expected_output_tokens: Positive = 256.0
    slo: SloTable = SloTable()
    match: MatchTable = MatchTable()


class ShareTable(Table, frozen=True, kw_only=True):
    """`[shares.NAME]`. `of` has no default: the answers differ by more than 70 times.

    Attributes:
        pools: the pools that are to get it.
        of: what it is a fraction of: requests, output_tokens, compute, spend or power.
    """

    pools: list[Text]
    target: float
    of: Text
    reference: Text | None = None
    report_only: bool = False
    starting_price_usd: float = 0.0


class CommitmentTable(Table, frozen=True, kw_only=True, rename={"from_date": "from"}):
    """`[commitments.NAME]`: take-or-pay. One of `usd`, `accelerator_hours` and `tokens` says what is promised.

    Attributes:
        pools: the pools whose use counts.
        per: the period.
        usd, accelerator_hours, tokens: what is promised for each period; tokens are input and output together.
        from: the day (UTC) on which the first period begins; None: hours and days begin on the hour and at midnight.
    """

    pools: list[Text]
    per: Per
    usd: Positive | None = None
    accelerator_hours: Positive | None = None
    tokens: Positive | None = None
    from_date: datetime.date | None = None
    starting_price_usd: Annotated[float, Meta(le=0)] = 0.0


class BudgetTable(Table, frozen=True, kw_only=True, rename={"from_date": "from"}):
    """`[budgets.NAME]`: most USD per period, for pools, classes, or classes on pools; see `fleet.Budget`.

    Attributes:
        usd: most USD in a period.
        per: the period.
        from: the day (UTC) on which the first period begins, as for commitments.
    """

    usd: Positive
    per: Per
    pools: list[Text] = []
    classes: list[Text] = []
    hard: bool = False
    from_date: datetime.date | None = None
    starting_price_usd: NotNegative = 0.0


class RouteTable(Table, frozen=True, kw_only=True):
    """`[[routes]]`: the first whose conditions all hold; a condition left out holds always.

    Attributes:
        pools: the pools that may answer.
        model: the model that is asked for.
        tenant: whose request it is.
        workload_class: the class that it is of.
    """

    pools: list[Text]
    model: Text | None = None
    tenant: Text | None = None
    workload_class: Text | None = None


class SignalsTable(Table, frozen=True, kw_only=True):
    """`[signals]`: backends publish their load; every setting has the default of `headrace.fleet.Signals`."""

    interval_s: Annotated[float, Meta(ge=0.01)] | None = None
    delay_s: NotNegative | None = None
    max_age_s: Positive | None = None


TOP_LEVEL = (
    "schema",
    "default_class",
    "policy",
    "models",
    "accelerators",
    "deployments",
    "pools",
    "classes",
    "shares",
    "commitments",
    "budgets",
    "routes",
    "limits",
    "ledger",
    "signals",
    "peers",
    "telemetry",
    "tenants",
    "tls",
    "admin",
    "aliases",
    "fallbacks",
)
