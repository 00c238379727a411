"""`[limits]` of a fleet file: what the engine and the gateway allow, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.config.document import Count, NotNegative, Positive, Table
from headrace.config.faults import Faults
from headrace.fleet import ImageUrls, Limits


class LimitsTable(Table, frozen=True, kw_only=True):
    """`[limits]`: every setting has the default of `headrace.fleet.Limits`.

    Attributes:
        retry_burst: retries that may be spent at once, beyond `retry_budget`.
        breaker_cooldown_max_s: what the cooldown grows to.
        backoff_cap_s: what the wait before such a try grows to.
    """

    queue_depth: Annotated[int, Meta(ge=0)] | None = None
    queue_bytes: Count | None = None
    queue_timeout_s: Positive | None = None
    overload_s: Positive | None = None
    slot_wait_fraction: Positive | None = None
    reserve_quota: bool | None = None
    right_size: Annotated[float, Meta(ge=0, lt=1)] | None = None
    first_byte_timeout_s: Positive | None = None
    answer_timeout_s: Positive | None = None
    max_attempts: Count | None = None
    retry_budget: NotNegative | None = None
    retry_burst: Annotated[int, Meta(ge=0)] | None = None
    breaker_failures: Count | None = None
    outlier_error_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    outlier_ttft_ratio: Annotated[float, Meta(gt=1)] | None = None
    domain_window_s: Positive | None = None
    breaker_cooldown_s: Positive | None = None
    breaker_cooldown_max_s: Positive | None = None
    backoff_base_s: Positive | None = None
    backoff_cap_s: Positive | None = None
    rescue: bool | None = None
    hedge_budget: NotNegative | None = None
    hedge_quantile: Annotated[float, Meta(gt=0, lt=1)] | None = None
    prefix_index_entries: Annotated[int, Meta(ge=0)] | None = None
    max_body_bytes: Count | None = None
    max_head_bytes: Count | None = None
    max_header_lines: Count | None = None
    max_messages: Count | None = None
    max_tools: Count | None = None
    image_urls: ImageUrls | None = None
    head_timeout_s: Positive | None = None
    keep_alive_timeout_s: Positive | None = None
    write_timeout_s: Positive | None = None
    sweep_interval_s: Positive | None = None
    max_connections: Count | None = None
    max_connections_per_address: Count | None = None
    stall_timeout_s: Positive | None = None
    min_tokens_per_s: NotNegative | None = None
    rescue_max_bytes: Annotated[int, Meta(ge=0)] | None = None
    drain_delay_s: NotNegative | None = None
    drain_timeout_s: Positive | None = None
    default_max_output_tokens: Count | None = None
    stored_responses: Annotated[int, Meta(ge=0)] | None = None
    stored_response_bytes: Count | None = None
    websocket_lanes: Count | None = None
    websocket_queue: Annotated[int, Meta(ge=0)] | None = None
    websocket_lifetime_s: Positive | None = None
    websocket_idle_timeout_s: Positive | None = None


def limits(raw: Mapping[str, object], faults: Faults) -> Limits:
    """The table, or its defaults where there is none."""
    table = faults.table(raw.get("limits", {}), LimitsTable, "limits")
    given = {} if table is None else msgspec.structs.asdict(table)
    return Limits(**{key: value for key, value in given.items() if value is not None})
