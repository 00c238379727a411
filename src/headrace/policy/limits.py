"""Every priced limit of a fleet, for the chooser: none where none is declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.cost import MarginalCost, marginal_cost, period_rates
from headrace.fleet import Commitment, Fleet
from headrace.metrics import PoolRates, WorkRate
from headrace.perf import speed_curve
from headrace.policy.budget_price import BudgetPrice
from headrace.policy.commitment_price import CommitmentPrice
from headrace.policy.event import PeriodResumed
from headrace.policy.kv_price import KvPrice
from headrace.policy.limit import Best, LimitView
from headrace.policy.pace import Pace, PacedPrice
from headrace.policy.pricing import BackendState
from headrace.policy.quota import Quotas
from headrace.policy.quota_price import QuotaPrice
from headrace.policy.slo_price import SloPrice
from headrace.policy.state import AttemptState, RequestState


class PricedLimits:
    """The limits that prices keep besides the shares, and hard budgets, which every policy keeps."""

    def __init__(
        self,
        kv: tuple[KvPrice, ...],
        slo: tuple[SloPrice, ...],
        paced: tuple[PacedPrice, ...],
        quotas: tuple[QuotaPrice, ...],
        steers: bool,
    ) -> None:
        """
        Args:
            steers: prices choose; else nobody pays, and hard budgets only refuse.
        """
        self._kv = kv
        self._slo = slo
        self._paced = paced
        self._quotas = quotas
        self._hard = tuple(each for each in paced if isinstance(each, BudgetPrice) and each.hard)
        self._priced: tuple[KvPrice | SloPrice | PacedPrice | QuotaPrice, ...]
        self._priced = (*kv, *slo, *paced, *quotas) if steers else ()

    def inherit(self, before: PricedLimits) -> None:
        """Take over the prices of the same limits, and what their periods have used."""
        known = {each.path: each for each in before._paced}
        for paced in self._paced:
            if paced.path in known:
                paced.inherit(known[paced.path])
        kv_known = {each.pool: each for each in before._kv}
        for kv in self._kv:
            if kv.pool in kv_known:
                kv.lambda_usd_per_token_s = kv_known[kv.pool].lambda_usd_per_token_s
        slo_known = {each.name: each for each in before._slo}
        for slo in self._slo:
            if slo.name in slo_known:
                slo.lambda_usd_per_miss = slo_known[slo.name].lambda_usd_per_miss

    def affordable(self, now_s: float, request: RequestState, bests: list[Best]) -> list[Best]:
        """The candidates that no hard budget refuses, at the time of a choice."""
        for paced in self._paced:
            paced.passed(now_s)
        for quota in self._quotas:
            quota.passed(now_s)
        for budget in self._hard:
            bests = [best for best in bests if not budget.refuses(request, best[3])]
        return bests

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add every limit's price to the cheapest candidate of each pool."""
        for limit in self._priced:
            bests = limit.surcharged(bests, request)
        return bests

    def refused_s(self, now_s: float, request: RequestState) -> float | None:
        """Seconds until the first candidate that is up is within every hard budget again; None: one is now."""
        waits: list[float] = []
        for backend in request.candidates.untried(request.tried):
            if backend.up(now_s):
                over = [each.pace.left_s(now_s) for each in self._hard if each.refuses(request, backend)]
                if not over:
                    return None
                waits.append(max(over))
        return max(min(waits), 1.0) if waits else None

    def miss_usd(self, request: RequestState) -> float:
        """Price of a miss of the request's class; 0 where it has none."""
        return sum(slo.lambda_usd_per_miss for slo in self._slo if slo.name == request.workload_class.name)

    def booked(self, now_s: float, request: RequestState, attempt: AttemptState) -> None:
        """An attempt was dispatched."""
        for kv in self._kv:
            kv.changed(now_s)
        for paced in self._paced:
            paced.booked(request, attempt)

    def ended(self, now_s: float, attempt: AttemptState, used: tuple[float, float, float], completed: bool) -> None:
        """An attempt is over; `used`: input tokens, output tokens, cached input tokens."""
        for kv in self._kv:
            kv.changed(now_s)
        for paced in self._paced:
            paced.passed(now_s)
            paced.ended(attempt, *used)
        if completed:
            for slo in self._slo:
                slo.completed(now_s, attempt, used[1])

    def lost(self, request: RequestState) -> None:
        """A request was rejected or has failed."""
        for slo in self._slo:
            slo.lost(request)

    def resumed(self, now_s: float, event: PeriodResumed) -> None:
        """The driver says how far the period of a commitment or budget is."""
        for paced in self._paced:
            if paced.path == event.limit:
                paced.pace.resume(now_s, event.elapsed_s, event.used)

    def used_elsewhere(self, now_s: float, used: Mapping[str, float]) -> None:
        """Other engines say what they used of commitments and budgets, by path; of those not named, nothing."""
        for paced in self._paced:
            paced.used_elsewhere(now_s, used.get(paced.path, 0.0))

    def used(self) -> tuple[tuple[str, float], ...]:
        """What this engine used of each in the present period, by path."""
        return tuple((paced.path, paced.pace.used - paced.pace.elsewhere) for paced in self._paced)

    def views(self, now_s: float) -> list[LimitView]:
        """Every limit now."""
        held = [kv.view() for kv in self._kv] + [slo.view() for slo in self._slo]
        held += [paced.view(now_s) for paced in self._paced]
        return held + [quota.view(now_s) for quota in self._quotas]


def priced_limits(
    fleet: Fleet, backends: tuple[BackendState, ...], steers: bool, quotas: Quotas | None
) -> PricedLimits | None:
    """The limits that the fleet file declares; None: none.

    Args:
        steers: prices choose; else hard budgets are all that is kept.
        quotas: what providers let us take.
    """
    rates = period_rates(fleet)
    paced: tuple[PacedPrice, ...] = tuple(
        BudgetPrice(budget, _by_backend(rates[f"budgets.{budget.name}"], backends), steers)
        for budget in fleet.budgets.values()
        if steers or budget.hard
    )
    if not steers:
        return PricedLimits((), (), paced, (), False) if paced else None
    kv = tuple(
        KvPrice(pool.name, backends, pool.max_kv_fraction, pool.kv_starting_price_usd)
        for pool in fleet.pools.values()
        if pool.max_kv_fraction is not None
    )
    slo = tuple(SloPrice(each) for each in fleet.classes.values() if each.slo.priced)
    committed = (_commitment(fleet, each, rates, backends) for each in fleet.commitments.values())
    paced = (*committed, *paced)
    scarce = () if quotas is None else tuple(QuotaPrice(account) for account in quotas.accounts)
    return PricedLimits(kv, slo, paced, scarce, True) if kv or slo or paced or scarce else None


def _commitment(
    fleet: Fleet, each: Commitment, rates: Mapping[str, PoolRates], backends: tuple[BackendState, ...]
) -> CommitmentPrice:
    path = f"commitments.{each.name}"
    costs = ((fleet.pools[name], rate) for name, rate in rates[path].items())
    dearest = max(_dearest(marginal_cost(pool, speed_curve(pool.deployment)), rate) for pool, rate in costs)
    return CommitmentPrice(
        path,
        str(each.unit),
        Pace(each.amount, each.per.seconds),
        _by_backend(rates[path], backends),
        starting_price_usd=each.starting_price_usd,
        dearest_usd_per_unit=dearest,
    )


def _dearest(cost: MarginalCost, rate: WorkRate) -> float:
    """Most that a unit of use can cost, of input or of output."""
    pairs: Iterable[tuple[float, float]] = (
        (cost.usd_per_input_token, rate.per_input_token),
        (cost.usd_per_output_token, rate.per_output_token),
    )
    return max((usd / use for usd, use in pairs if use > 0.0), default=0.0)


def _by_backend(rates: PoolRates, backends: tuple[BackendState, ...]) -> tuple[WorkRate | None, ...]:
    return tuple(rates.get(backend.pool) for backend in backends)
