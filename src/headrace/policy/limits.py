"""Every priced limit of a fleet, for the chooser: none where none is declared."""

from __future__ import annotations

from headrace.fleet import Fleet
from headrace.policy.kv_price import KvPrice
from headrace.policy.limit import Best, LimitView
from headrace.policy.pricing import BackendState
from headrace.policy.slo_price import SloPrice
from headrace.policy.state import AttemptState, RequestState


class PricedLimits:
    """The limits that prices keep besides the shares."""

    def __init__(self, kv: tuple[KvPrice, ...], slo: tuple[SloPrice, ...]) -> None:
        self._kv = kv
        self._slo = slo
        self._all: tuple[KvPrice | SloPrice, ...] = (*kv, *slo)

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add every limit's price to the cheapest candidate of each pool."""
        for limit in self._all:
            bests = limit.surcharged(bests, request)
        return bests

    def booked(self, now_s: float) -> None:
        """An attempt was dispatched."""
        for kv in self._kv:
            kv.changed(now_s)

    def ended(self, now_s: float, attempt: AttemptState, output_tokens: float, completed: bool) -> None:
        """An attempt is over."""
        for kv in self._kv:
            kv.changed(now_s)
        if completed:
            for slo in self._slo:
                slo.completed(now_s, attempt, output_tokens)

    def lost(self, request: RequestState) -> None:
        """A request was rejected or has failed."""
        for slo in self._slo:
            slo.lost(request)

    def views(self) -> list[LimitView]:
        """Every limit now."""
        return [limit.view() for limit in self._all]


def priced_limits(fleet: Fleet, backends: tuple[BackendState, ...]) -> PricedLimits | None:
    """The limits that the fleet file declares: pools with `max_kv_fraction`, classes with a priced SLO; None: none."""
    kv = tuple(
        KvPrice(pool.name, backends, pool.max_kv_fraction)
        for pool in fleet.pools.values()
        if pool.max_kv_fraction is not None
    )
    slo = tuple(SloPrice(each) for each in fleet.classes.values() if each.slo.priced)
    return PricedLimits(kv, slo) if kv or slo else None
