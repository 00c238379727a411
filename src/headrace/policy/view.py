"""Views: what the engine shows of itself, as plain values that encode to JSON."""

from __future__ import annotations

import msgspec

from headrace.policy.limit import LimitView
from headrace.policy.prices import ReportedShare, ShareController
from headrace.policy.pricing import BackendState


class SignalView(msgspec.Struct, frozen=True):
    """A measured value and the time it was true."""

    value: float
    as_of_s: float


class BackendView(msgspec.Struct, frozen=True):
    """One backend as the engine sees it now. `ttft_factor` and `tpot_factor` are observed over predicted, and
    `hit_factor` is cached input tokens as reported over those predicted.
    """

    name: str
    pool: str
    breaker: str
    drained: bool
    in_flight: int
    max_in_flight: int
    expected_kv_tokens: float
    prefill_backlog_s: float
    ttft_factor: float
    tpot_factor: float
    failure_rate: float
    hit_factor: float
    signals: dict[str, SignalView]

    @staticmethod
    def of(backend: BackendState, now_s: float) -> BackendView:
        """The view of a backend's state."""
        return BackendView(
            name=backend.name,
            pool=backend.pool,
            breaker=backend.breaker.state(now_s).value,
            drained=backend.drained,
            in_flight=backend.in_flight,
            max_in_flight=backend.limit,
            expected_kv_tokens=backend.kv_tokens,
            prefill_backlog_s=backend.prefill_backlog_s,
            ttft_factor=backend.ttft_factor,
            tpot_factor=backend.tpot_factor,
            failure_rate=backend.failure_rate,
            hit_factor=backend.hit_factor,
            signals={name: SignalView(*held) for name, held in sorted(backend.signals.items())},
        )


class ShareView(msgspec.Struct, frozen=True):
    """One share now: its price (lambda) and what was realized of the `work` booked so far. What steers it is None if
    nothing does.
    """

    name: str
    steered: bool
    target: float
    realized: float | None
    lambda_usd_per_unit: float
    level_usd_per_unit: float | None = None
    debt: float | None = None
    debt_low: float | None = None
    debt_high: float | None = None
    work: float = 0.0

    @staticmethod
    def of(share: ReportedShare) -> ShareView:
        """The view of a share."""
        if not isinstance(share, ShareController):
            return ShareView(share.name, False, share.target, share.realized(), 0.0, work=share.booked_total)
        windows = share.windows
        return ShareView(
            name=share.name,
            steered=True,
            target=share.target,
            realized=share.realized(),
            lambda_usd_per_unit=share.price_usd_per_unit(),
            level_usd_per_unit=share.level_usd_per_unit,
            debt=share.debt,
            debt_low=windows.centre - windows.half_width,
            debt_high=windows.centre + windows.half_width,
            work=share.booked_total,
        )


class EngineView(msgspec.Struct, frozen=True):
    """The whole engine now."""

    now_s: float
    policy: str
    requests_live: int
    queued: int
    retries_left: float
    backends: list[BackendView]
    shares: list[ShareView]
    limits: list[LimitView] = []
