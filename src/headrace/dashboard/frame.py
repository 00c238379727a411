"""A frame: what the page, `headrace top` and whoever else reads the feed are told of one second.

Schema 1: fields are added, never renamed. Fractions are 0 to 1, times seconds, money USD; what is undefined is null.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.dashboard.history import Point
from headrace.dashboard.seen import Seen

SCHEMA: Final = 1


class ShareNow(msgspec.Struct, frozen=True, kw_only=True):
    """One share.

    Attributes:
        band: how far from the target a window may be, as a fraction (half a percentage point).
        realized: in the last five minutes, of attempts that completed; realized_total: of all work booked since the
            start, as the engine counts.
    """

    name: str
    of: str
    pools: tuple[str, ...]
    steered: bool
    target: float
    band: float
    realized: float | None
    realized_total: float | None
    lambda_usd_per_unit: float


class Money(msgspec.Struct, frozen=True):
    """USD per hour, at the pace of the last five minutes.

    Attributes:
        marginal: what requests add, at the tokens that backends counted; expected: the same as decisions expected it.
        outside: the same requests on the best backends outside the steered share's pools; null without a share.
        saving: outside - expected. value: that and the waiting time saved, at its price.
        held: hours of pools that are paid in any case; unused: the part of these in which nothing ran.
    """

    window_s: float
    marginal_usd_per_h: float
    expected_usd_per_h: float
    outside_usd_per_h: float | None
    saving_usd_per_h: float | None
    value_usd_per_h: float | None
    held_usd_per_h: float
    unused_usd_per_h: float


class ClassNow(msgspec.Struct, frozen=True, kw_only=True):
    """One workload class. Quantiles are of the last five minutes, of `ttfts` and `tpots` requests."""

    name: str
    value_of_time_usd_per_s: float
    requests_per_s: float
    attainment: float | None
    attainment_target: float
    judged: int
    ttft_slo_s: float | None
    tpot_slo_s: float | None
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    ttfts: int
    tpot_p50_s: float | None
    tpot_p99_s: float | None
    tpots: int
    ended: dict[str, int]


class FlowNow(msgspec.Struct, frozen=True):
    """Attempts of a class on a pool, in the last minute."""

    workload_class: str
    pool: str
    attempts_per_s: float
    output_tokens_per_s: float


class BackendNow(msgspec.Struct, frozen=True, kw_only=True):
    """One backend, as the engine sees it. latest signals by name."""

    name: str
    breaker: str
    drained: bool
    in_flight: int
    max_in_flight: int
    failure_rate: float
    ttft_factor: float
    tpot_factor: float
    signals: dict[str, float]


class PoolNow(msgspec.Struct, frozen=True, kw_only=True):
    """One pool.

    Attributes:
        kv: fraction of its KV room that its attempts are expected to hold; null: unknown.
        tokens_per_s_user: of one answer, measured in the last five minutes over `tpots` answers; predicted: by the
            speed model at the load of this moment, without what was learnt since (`tpot_factor`).
        busy: fraction of its replicas' time that was used; null: time is not what is bought.
        quota_left: of the scarcest limit of its quotas; null: it has none.
    """

    name: str
    accelerator: str
    accelerators: int
    memory: str
    memory_kind: str
    in_share: bool
    in_flight: int
    max_in_flight: int
    kv: float | None
    requests_per_s: float
    output_tokens_per_s: float
    tokens_per_s_user: float | None
    predicted_tokens_per_s_user: float
    tpots: int
    busy: float | None
    held_usd_per_h: float
    quota_left: float | None
    backends: list[BackendNow]


class LimitNow(msgspec.Struct, frozen=True, kw_only=True):
    """What has a price: a share or a limit. `binds`: its price is not 0."""

    name: str
    unit: str
    bound: float
    use: float | None
    lambda_usd_per_unit: float
    binds: bool


class PromiseNow(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment or a budget, in its present period.

    Attributes:
        pace: what would be used by now at an even pace. elapsed: fraction of the period.
        projected: what the period will have used at this pace; null: too early to say.
        over: what the projection misses the amount by: unused of a commitment, too much of a budget; 0: neither.
    """

    kind: str
    name: str
    unit: str
    per: str
    amount: float
    used: float
    pace: float
    elapsed: float
    projected: float | None
    over: float | None


class Frame(msgspec.Struct, frozen=True):
    """One second.

    Attributes:
        alerts: what somebody should look at, the worst first: (`bad` or `warn`, text).
        requests: ended since the start, by outcome; attempts: by outcome.
        missed: live requests that are not in `live`.
        rescues: answers that broke off, by what became of them.
    """

    schema: int
    at_unix_s: float
    up_s: float
    version: str
    policy: str
    emulated: bool
    workers: int
    workers_up: int
    requests_live: int
    attempts_live: int
    queued: int
    client_connections: int
    requests: dict[str, int]
    attempts: dict[str, int]
    rescues: dict[str, int]
    alerts: list[tuple[str, str]]
    covers_s: float
    shares: list[ShareNow]
    money: Money
    classes: list[ClassNow]
    flows: list[FlowNow]
    pools: list[PoolNow]
    limits: list[LimitNow]
    promises: list[PromiseNow]
    point: Point
    live: list[Seen]
    ended: list[Seen]
    missed: int
